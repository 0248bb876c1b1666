package disk

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// The errors of a spool, in addition to those of package queue.
var (
	// ErrLocked: another process, or another Spool of this one, has the
	// directory open.
	ErrLocked = errors.New("disk: the spool is in use")

	// ErrNoLock: the file system cannot lock files, so another process could open the
	// directory at the same time.
	ErrNoLock = errors.New("disk: the file system cannot lock files")

	// ErrNewer: a file was written by a newer version of the format.
	ErrNewer = errors.New("disk: the spool was written by a newer version")

	// ErrDeleted: another program has deleted the file to which mail is added, or the whole
	// directory. Put returns this error until the spool is opened again, because the
	// message would be lost when the process ends. Deliver what is in the queue first.
	ErrDeleted = errors.New("disk: the files of the spool have been deleted")

	// ErrFailed: the device failed to save data, so it is not known what it holds. Every
	// call returns this error until the spool is opened again. It wraps queue.ErrFailed
	// and the cause.
	ErrFailed = fmt.Errorf("disk: the device failed; the spool must be opened again: %w", queue.ErrFailed)
)

// takeLock takes the directory's lock.
func takeLock(fs vfs.FS, write bool) (io.Closer, error) {
	lock, err := fs.Lock(lockName, write)
	switch {
	case errors.Is(err, vfs.ErrLocked):
		return nil, ErrLocked
	case errors.Is(err, vfs.ErrNoLock):
		return nil, fmt.Errorf("%w: %w", ErrNoLock, err)
	}
	return lock, err
}

// lockPause is the time between attempts to take the lock.
const lockPause = 20 * time.Millisecond

// awaitLock takes the directory's lock to write, and waits for it for as long as it may.
func awaitLock(fs vfs.FS, wait time.Duration) (io.Closer, error) {
	for began := time.Now(); ; {
		lock, err := takeLock(fs, true)
		left := wait - time.Since(began)
		if !errors.Is(err, ErrLocked) || left <= 0 {
			return lock, err
		}
		<-time.After(min(lockPause, left))
	}
}

// openError is why a spool was not opened, with its directory.
type openError struct {
	dir string
	err error
}

// Error names the package once.
func (e *openError) Error() string {
	return "disk: open " + e.dir + ": " + strings.TrimPrefix(e.err.Error(), "disk: ")
}

func (e *openError) Unwrap() error { return e.err }

// failure is ErrFailed with its cause.
func failure(cause error) error { return fmt.Errorf("%w: %w", ErrFailed, cause) }

// errSlots says that no more segments can be distinguished.
var errSlots = fmt.Errorf("%w: too many segments", queue.ErrFull)

// writeError says ErrFull of an error that means it.
func writeError(err error) error {
	if vfs.IsFull(err) {
		return fmt.Errorf("%w: %w", queue.ErrFull, err)
	}
	return err
}

// errByName is what Flush says to a selection that it cannot find.
var errByName = fmt.Errorf("disk: flush by more than names: %w", errors.ErrUnsupported)

// readError says ErrDamaged of an error that means it.
func readError(err error) error {
	if isDamage(err) {
		return fmt.Errorf("%w: %w", queue.ErrDamaged, err)
	}
	return err
}

// isDamage reports whether an error says that stored data has changed, or that the
// device cannot read it.
func isDamage(err error) bool { return errors.Is(err, record.ErrDamaged) || vfs.IsUnreadable(err) }
