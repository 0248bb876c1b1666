//go:build linux

package bench

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/internal/peers"
)

// account is a control group of processes, for their use of the processor. Their
// children belong to it from birth; a parent's own figures would lack those it
// never waits for, and Exim has many.
type account struct {
	dir string
	v2  bool
}

// openAccount makes a control group for the processes of a candidate.
func openAccount(t *testing.T, pids ...int) *account {
	t.Helper()
	a, err := findAccounts()
	if err != nil {
		t.Fatalf("the use of the processor cannot be measured: %v", err)
	}
	a.dir, err = os.MkdirTemp(a.dir, "nexthop-bench") //nolint:usetesting // control groups are made where they are mounted
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		peers.Eventually(t, "the end of the candidate's processes", func() bool {
			err := os.Remove(a.dir)
			return err == nil || errors.Is(err, os.ErrNotExist)
		})
	})
	for _, pid := range pids {
		if err := os.WriteFile(filepath.Join(a.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// findAccounts finds where control groups that count time can be made, of either
// version.
func findAccounts() (*account, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	var found *account
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		if f[2] == "cgroup" && strings.Contains(","+f[3]+",", ",cpuacct,") {
			return &account{dir: f[1]}, nil
		}
		if f[2] == "cgroup2" {
			found = &account{dir: f[1], v2: true}
		}
	}
	if found == nil {
		return nil, errors.New("no control groups are mounted")
	}
	return found, nil
}

// used is the time its processes have used so far, those that have ended
// included.
func (a *account) used(t *testing.T) time.Duration {
	t.Helper()
	name, unit := "cpuacct.usage", time.Nanosecond
	if a.v2 {
		name, unit = "cpu.stat", time.Microsecond
	}
	text, err := os.ReadFile(filepath.Join(a.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	number := strings.TrimSpace(string(text))
	if a.v2 {
		number, _, _ = strings.Cut(strings.TrimPrefix(number, "usage_usec "), "\n")
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(n) * unit
}
