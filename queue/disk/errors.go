package disk

import (
	"errors"
	"fmt"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// The errors of a spool beside those of package queue.
var (
	// ErrLocked: another process, or another Spool of this one, has the
	// directory open.
	ErrLocked = errors.New("disk: the spool is in use")

	// ErrNewer: a file was written by a newer version of the format.
	ErrNewer = errors.New("disk: the spool was written by a newer version")

	// ErrFailed: the device failed to save what it was given, so that nobody
	// knows what it holds. The spool takes nothing more and hands nothing out
	// until it is opened again. The error wraps queue.ErrFailed, and the cause too.
	ErrFailed = fmt.Errorf("disk: the device failed; the spool must be opened again: %w", queue.ErrFailed)
)

// failure is ErrFailed with its cause.
func failure(cause error) error { return fmt.Errorf("%w: %w", ErrFailed, cause) }

// writeError says ErrFull of an error that means it.
func writeError(err error) error {
	if vfs.IsFull(err) {
		return fmt.Errorf("%w: %w", queue.ErrFull, err)
	}
	return err
}

// readError says ErrDamaged of an error that means it.
func readError(err error) error {
	if errors.Is(err, record.ErrDamaged) {
		return fmt.Errorf("%w: %w", queue.ErrDamaged, err)
	}
	return err
}
