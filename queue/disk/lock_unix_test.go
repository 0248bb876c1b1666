//go:build linux || darwin

package disk

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestLockFileIsDeleted has a person delete the file of the lock while the spool
// is open.
func TestLockFileIsDeleted(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	must(t, err)
	must(t, os.Remove(filepath.Join(dir, lockName)))
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("Open of an open spool = %v, want ErrLocked", err)
	}
	if _, err := Check(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("Check of an open spool = %v, want ErrLocked", err)
	}
	must(t, s.Close())
	s, err = Open(dir, Options{})
	must(t, err)
	must(t, s.Close())
}
