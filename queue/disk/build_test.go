package disk

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestBuildsElsewhere builds the spool for the systems it runs on, and its tests
// for most.
func TestBuildsElsewhere(t *testing.T) {
	tools := map[string][]string{"vet": {"linux/amd64", "darwin/arm64", "windows/amd64"}}
	if long() {
		tools["vet"] = append(tools["vet"], "freebsd/amd64", "linux/386", "linux/arm", "illumos/amd64")
		tools["build"] = []string{"openbsd/amd64", "netbsd/amd64", "dragonfly/amd64", "solaris/amd64", "aix/ppc64"}
	}
	for tool, list := range tools {
		for _, system := range list {
			cmd := exec.Command("go", tool, "./...")
			goos, arch, _ := strings.Cut(system, "/")
			cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+arch, "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("go %s for %s: %v\n%s", tool, system, err, out)
			}
		}
	}
}
