package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnit: systemd takes the unit file, and calls the service well confined.
func TestUnit(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("nexthop-sendmail.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "nexthop-sendmail.service")
	installed := strings.Replace(string(text), "ExecStart=/usr/local/lib/nexthop/sendmail -bd\n", "ExecStart="+os.Getenv(binary)+" -bd\n", 1)
	if installed == string(text) {
		t.Error("the program is not where the service says")
	}
	if err := os.WriteFile(unit, []byte(installed), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", "--man=no", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", unit).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
	users, err := filepath.Abs("nexthop-sendmail.conf")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-sysusers", "--dry-run", users).CombinedOutput(); err != nil {
		t.Errorf("systemd-sysusers: %v\n%s", err, out)
	}
}
