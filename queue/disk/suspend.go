package disk

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// Suspensions are in a separate file, which is written again at every change: there are
// few of them, they change seldom, and they do not depend on the order of the log.

// Suspend remembers suspensions.
func (s *Spool) Suspend(ctx context.Context, now time.Time, list ...queue.Suspension) error {
	_, err := s.suspend(ctx, func(have queue.SuspensionSet) (queue.SuspensionSet, int, error) {
		after, err := have.With(now, list...)
		return after, len(list), err
	})
	return err
}

// Resume ends suspensions.
func (s *Spool) Resume(ctx context.Context, now time.Time, list ...queue.Subject) (int, error) {
	return s.suspend(ctx, func(have queue.SuspensionSet) (queue.SuspensionSet, int, error) {
		after, had := have.Without(now, list...)
		return after, had, nil
	})
}

// Suspensions returns the suspensions in force.
func (s *Spool) Suspensions(ctx context.Context, now time.Time) ([]queue.Suspension, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.end()
	s.mu.Lock()
	list := s.suspended.At(now)
	over := len(list) < len(s.suspended)
	s.mu.Unlock()
	if over {
		return s.endSuspensions(now), nil
	}
	return slices.Clone(list), nil
}

// endSuspensions ends those whose time has come, and returns the others. It is stored if it
// can be: a clock that is put back after the spool is opened again finds them over. If it
// cannot be, they are over for this process.
func (s *Spool) endSuspensions(now time.Time) []queue.Suspension {
	s.suspending.Lock()
	defer s.suspending.Unlock()
	s.mu.Lock()
	s.suspended = s.suspended.At(now)
	list := s.suspended
	s.mu.Unlock()
	_ = s.writeSuspended(list)
	return slices.Clone(list)
}

// suspend changes the suspensions, unless there is nothing to change.
func (s *Spool) suspend(
	ctx context.Context, change func(queue.SuspensionSet) (queue.SuspensionSet, int, error),
) (changed int, err error) {
	if err := s.begin(ctx); err != nil {
		return 0, err
	}
	defer s.end()
	s.suspending.Lock()
	defer s.suspending.Unlock()
	s.mu.Lock()
	have := s.suspended
	s.mu.Unlock()
	after, changed, err := change(have)
	if err != nil || changed == 0 && len(after) == len(have) {
		return 0, err
	}
	if err := s.writeSuspended(after); err != nil {
		return 0, err
	}
	s.mu.Lock()
	s.suspended = after
	s.mu.Unlock()
	s.changes.Add()
	return changed, nil
}

// writeSuspended writes a file that takes the place of the one before. If there is no room,
// some of the reserve is used. As with a checkpoint, everything is then written again.
func (s *Spool) writeSuspended(set queue.SuspensionSet) error {
	number := s.suspendedFile + 1
	data := suspendedData(number, set)
	if err := s.withRoom(func() error { return s.placeSuspended(number, data) }, int64(len(data))); err != nil {
		return writeError(err)
	}
	_ = s.fs.Remove(fileName(suspendedPrefix, s.suspendedFile))
	s.suspendedFile = number
	return nil
}

// placeSuspended writes a file of suspensions under another name, and renames it.
func (s *Spool) placeSuspended(number uint64, data []byte) error {
	name := fileName(suspendedPrefix, number)
	err := s.writeNew(name+newSuffix, data)
	if err == nil {
		err = s.fs.Rename(name+newSuffix, name)
	}
	if err != nil {
		_ = s.fs.Remove(name + newSuffix)
		return err
	}
	if err := s.fs.SyncDir(); err != nil {
		if !vfs.IsFull(err) {
			return s.fail(err) // it may be there after all, and be the one that counts
		}
		_ = s.fs.Remove(name)
		return err
	}
	return nil
}

// writeNew writes a file and saves it.
func (s *Spool) writeNew(name string, data []byte) error {
	_ = s.fs.Remove(name) // of a try that failed
	f, err := s.files.another(func() (vfs.File, error) { return s.fs.Create(name) })
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	return f.Sync()
}

// suspendedData is the file of a set.
func suspendedData(number uint64, set queue.SuspensionSet) []byte {
	var salt [8]byte
	_, _ = rand.Read(salt[:])
	h := record.FileHeader{Kind: record.SuspendedFile, Number: number, Salt: binary.LittleEndian.Uint64(salt[:])}
	buf := h.Append(nil)
	for i := range set {
		frame := record.Frame{Kind: record.KindSuspension, Flags: record.First | record.Last}
		frame.Head = record.AppendSuspension(nil, &set[i])
		buf = frame.Append(buf, h.Salt, int64(len(buf)))
	}
	end := record.Frame{Kind: record.KindSaved, Flags: record.First | record.Last}
	return end.Append(buf, h.Salt, int64(len(buf)))
}

// loadSuspended reads the newest of the files, whose numbers are in ascending order. If
// it is damaged, that is reported, and what can be read of it counts.
func (s *Spool) loadSuspended(numbers []uint64, readOnly bool) error {
	for _, number := range slices.Backward(numbers) {
		name := fileName(suspendedPrefix, number)
		set, err := s.readSuspended(name, number)
		if errors.Is(err, record.ErrNewer) {
			return fmt.Errorf("%w: %s: %w", ErrNewer, name, err)
		}
		if err != nil && !isDamage(err) {
			return err
		}
		if err != nil {
			s.problem(name, -1, err)
		}
		s.suspendedFile = number // the next one takes the place of those after it
		if err != nil && len(set) == 0 {
			continue // the one before may still be there
		}
		s.suspended = set
		break
	}
	if readOnly {
		return nil
	}
	for _, number := range numbers {
		if number < s.suspendedFile {
			_ = s.fs.Remove(fileName(suspendedPrefix, number))
		}
	}
	return nil
}

func (s *Spool) readSuspended(name string, number uint64) (set queue.SuspensionSet, err error) {
	f, err := s.files.another(func() (vfs.File, error) { return s.fs.Open(name, false) })
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	h, err := record.ReadHeader(f, record.SuspendedFile)
	if err != nil {
		return nil, err
	}
	scan := record.NewScanner(f, size, h.Salt, record.HeaderSize)
	whole := false
	for scan.Next() {
		switch frame := scan.Frame(); frame.Kind {
		case record.KindSuspension:
			one, err := record.ParseSuspension(frame.Head)
			if err != nil {
				return set, err
			}
			set = append(set, one)
		case record.KindSaved:
			whole = true
		}
	}
	if scan.Err() != nil {
		return set, scan.Err()
	}
	if len(scan.Gaps()) > 0 || !whole || h.Number != number {
		return set, record.ErrDamaged
	}
	return set, nil
}
