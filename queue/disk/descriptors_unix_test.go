//go:build linux || darwin

package disk

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// childDir is the variable that tells a child process which directory to use.
const childDir = "NEXTHOP_DISK_CHILD_DIR"

// limitDescriptors limits how many the process may have, until the function is
// called or the process ends.
func limitDescriptors(t *testing.T, n uint64) (undo func()) {
	t.Helper()
	var old syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old))
	few := old
	few.Cur = n
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few))
	return func() { must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old)) }
}

// inChild runs the test again in a process of its own, where a limit of the process
// harms no other test. It reports false there.
func inChild(t *testing.T, dir string) (parent bool) {
	t.Helper()
	if os.Getenv(childDir) != "" {
		return false
	}
	c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	c.Env = append(os.Environ(), childDir+"="+dir)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return true
}

// TestTwoHundredOpenings has a spool with a segment for each of 200 openings: a
// process with 64 descriptors opens it and delivers all.
func TestTwoHundredOpenings(t *testing.T) {
	const openings = 200
	dir := os.Getenv(childDir)
	if dir == "" {
		dir = t.TempDir()
		for range openings {
			s, err := openByHand(vfs.OS(dir), Options{}) // merges nothing
			must(t, err)
			mustPut(t, s)
			must(t, s.Close())
		}
		if n := segmentFiles(t, vfs.OS(dir)); n != openings {
			t.Fatalf("%d segments", n)
		}
	}
	if inChild(t, dir) {
		return
	}
	limitDescriptors(t, 64)
	s, err := Open(dir, Options{})
	must(t, err)
	page, err := s.List(t.Context(), queue.ListOptions{Max: 1000})
	must(t, err)
	if len(page.Entries) != openings {
		t.Errorf("%d messages, want %d", len(page.Entries), openings)
	}
	deliverAll(t, s)
	for range openings / queue.DefaultMax {
		deliverAll(t, s)
	}
	if left, err := s.Total(t.Context()); err != nil || left.Messages > 0 {
		t.Errorf("after all was delivered: %+v, %v", left, err)
	}
	must(t, s.Close())
	if _, err := Check(dir); err != nil {
		t.Error(err)
	}
}

// TestOutOfDescriptors is TestNoDescriptor with the limit of a process.
func TestOutOfDescriptors(t *testing.T) {
	if inChild(t, t.TempDir()) {
		return
	}
	dir := os.Getenv(childDir)
	s, err := Open(dir, Options{LargeContent: 1000, SegmentSize: 4 << 10})
	must(t, err)
	defer s.Close()
	mustPut(t, s)
	before := limitDescriptors(t, 64)
	for left := range 3 {
		var list []*os.File
		for {
			f, err := os.Open(os.DevNull)
			if err != nil {
				break
			}
			list = append(list, f)
		}
		for _, f := range list[len(list)-left:] {
			_ = f.Close()
		}
		if _, err := putSize(s, "a.example", 5000); err != nil && !vfs.IsExhausted(err) {
			t.Errorf("with %d descriptors, Put of a large content = %v", left, err)
		}
		for range 30 {
			if _, err := putSize(s, "a.example", 500); err != nil {
				t.Errorf("with %d descriptors, Put = %v", left, err)
			}
		}
		for _, f := range list[:len(list)-left] {
			_ = f.Close()
		}
		if _, err := putSize(s, "a.example", 5000); err != nil {
			t.Errorf("with all descriptors back, Put = %v", err)
		}
	}
	before()
}
