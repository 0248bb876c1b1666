package vfs

import (
	"errors"
	"os"
	"testing"
)

// TestNoBlocksSetAside tells a file system that cannot from other errors.
func TestNoBlocksSetAside(t *testing.T) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := os.OpenFile("/proc/self/comm", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := allocate(w, 1); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("blocks for a file of a system that has none: %v, want ErrUnsupported", err)
	}
	if err := allocate(f, 1); err == nil || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("blocks for a file that is only read: %v", err)
	}
}
