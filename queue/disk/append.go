package disk

import (
	"errors"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// Files of keys and of outcomes grow at their end. Each part that is appended begins a sector
// and is saved before the log may go that has the same. After it, a record says that it is
// saved; that record is not saved itself. All of a file is saved before the next is made.

// isOfTheFile reports whether an error of appendTo concerns one file, as one of a file that may
// not be written to does. Another file then takes what was to be appended: the log, which has
// it, must not wait for ever.
func isOfTheFile(err error) bool {
	return err != nil && !errors.Is(err, queue.ErrFull) && !vfs.IsExhausted(err) && !errors.Is(err, ErrFailed)
}

// appendTo appends to a file from an offset on, and saves it. If that is zero, it makes the
// file.
func (s *Spool) appendTo(name string, salt uint64, begin int64, buf []byte) error {
	fresh := begin == 0
	open := func() (vfs.File, error) { return s.fs.Open(name, true) }
	if fresh {
		_ = s.fs.Remove(name) // of a try that failed
		open = func() (vfs.File, error) { return s.fs.Create(name) }
	}
	f, err := s.files.another(open)
	if err != nil {
		return writeError(err)
	}
	defer f.Close()
	if err := f.Truncate(begin); err != nil { // what a power cut may have left
		return writeError(err)
	}
	if _, err := f.WriteAt(buf, begin); err != nil {
		_ = errors.Join(f.Truncate(begin), f.Sync()) // else it would be damage in a file before the last
		return writeError(err)
	}
	err = f.Sync()
	if err == nil && fresh {
		err = s.fs.SyncDir()
	}
	if vfs.IsFull(err) { // it is written again from where it was
		_ = f.Truncate(begin)
		return writeError(err)
	}
	if err != nil {
		return s.fail(err)
	}
	s.markEnd(f, salt, begin+int64(len(buf)))
	return nil
}

// markEnd appends a record that says that the file is saved up to there, unless room is
// short. Nothing depends on it but what the next Open has to do, and what it takes for
// damage.
func (s *Spool) markEnd(f vfs.File, salt uint64, end int64) {
	if s.short.Load() {
		return
	}
	r := record.Frame{Kind: record.KindSaved, Flags: record.First | record.Last, Mark: uint32(end)}
	_, _ = f.WriteAt(r.Append(nil, salt, end), end)
}

// fillFile fills the file up to a multiple of the sector, as the log does.
func (s *Spool) fillFile(b []byte, salt uint64, pos, saved int64) []byte {
	if end := s.filled(pos); end > pos {
		b = record.AppendFill(b, salt, pos, uint32(saved), int(end-pos))
	}
	return b
}

// appended is a file as it was read.
type appended struct {
	name       string
	salt       uint64
	saved      int64 // how far it is known to be saved
	end        int64
	unreadable bool // some of it
	torn       bool // what is behind its end: a power cut has left that
}

// damagedFile notes a file whose beginning is damaged. It returns false if a power cut may have
// left it so, before it was ever saved.
func (s *Spool) damagedFile(name string, err error, torn bool) bool {
	damaged := !torn || vfs.IsUnreadable(err)
	if damaged {
		s.problem(name, -1, err)
	}
	return damaged
}

// nameGaps names the gaps of a file that are damage. All of a file before the last was saved,
// but for the record at its end that says so.
func (s *Spool) nameGaps(a *appended, gaps []record.Gap, size int64, isLast bool) {
	saved := a.saved
	if !isLast {
		saved = max(saved, size-record.FrameSize)
	}
	for _, gap := range gaps {
		a.unreadable = a.unreadable || gap.Err != nil
		a.torn = gap.From >= a.end // the last one tells
		if err := damageOf(gap, saved); err != nil {
			s.problem(a.name, gap.From, err)
		}
	}
}

// saveEnd has the end of the last file of its kind saved, and returns where it ends then:
// after a failed sync, data that can be read need not be on the device, and the log that
// also has it may be deleted.
//
// If the end was saved after all, the log may have gone. So it is not written over, as long
// as there is room for a copy of the file: a power cut could leave a sector in pieces.
//
// What a power cut has left behind the end is cut off: it would be damage in a file before
// the last.
func (s *Spool) saveEnd(a *appended) (end int64, err error) {
	torn := a.torn && !a.unreadable
	if a.end <= a.saved && a.end == s.filled(a.end) && !torn {
		return a.end, nil
	}
	if !a.unreadable {
		if end, err = s.copyFile(a); !vfs.IsFull(err) {
			return end, err
		}
	}
	f, err := s.files.another(func() (vfs.File, error) { return s.fs.Open(a.name, true) })
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if torn {
		err = f.Truncate(a.end)
	}
	if err == nil {
		err = copyRange(f, f, a.saved, a.end)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil && torn && a.end == s.filled(a.end) { // as behind other parts, in a sector of its own
		s.markEnd(f, a.salt, a.end)
	}
	if vfs.IsFull(err) {
		err = nil
	}
	return a.end, err
}

// copyFile has a copy take the place of a file.
func (s *Spool) copyFile(a *appended) (end int64, err error) {
	end, err = s.writeCopy(a)
	if err == nil {
		err = s.fs.Rename(a.name+newSuffix, a.name)
	}
	if err != nil {
		_ = s.fs.Remove(a.name + newSuffix)
		return 0, err
	}
	if err := s.fs.SyncDir(); vfs.IsFull(err) {
		return end, nil
	} else if err != nil {
		return 0, err
	}
	f, err := s.files.another(func() (vfs.File, error) { return s.fs.Open(a.name, true) })
	if err != nil {
		return 0, err
	}
	defer f.Close()
	s.markEnd(f, a.salt, end)
	return end, nil
}

// writeCopy writes and saves the copy, which ends with a filled sector.
func (s *Spool) writeCopy(a *appended) (end int64, err error) {
	_ = s.fs.Remove(a.name + newSuffix) // of an opening that was cut off
	from, err := s.files.another(func() (vfs.File, error) { return s.fs.Open(a.name, false) })
	if err != nil {
		return 0, err
	}
	defer from.Close()
	to, err := s.files.another(func() (vfs.File, error) { return s.fs.Create(a.name + newSuffix) })
	if err != nil {
		return 0, err
	}
	defer to.Close()
	if err := copyRange(to, from, 0, a.end); err != nil {
		return 0, err
	}
	fill := s.fillFile(nil, a.salt, a.end, a.saved)
	if _, err := to.WriteAt(fill, a.end); err != nil {
		return 0, err
	}
	return a.end + int64(len(fill)), to.Sync()
}
