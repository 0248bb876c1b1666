package disk

import (
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// tail is how the newest segment ends.
type tail struct {
	segment *segment
	list    int64 // where a segment ends that has only its list
	says    int64 // where the last complete group ends that says something
	end     int64 // where the fill records after it end
	bad     bool  // some of the segment cannot be read, or is damaged: it stays as it is
}

// saveTail ensures that the end of the log is on the disk as recovery read it, and
// nothing else: after a failed sync, or if a process died before its sync, data that
// can be read there need not be on the disk. What is not known to be saved is written
// again, to a new file, so that a power cut meanwhile does no harm. Torn data and
// incomplete groups are left out.
//
// If there is no room for that, finishTail writes it in place, and if there is no room
// for that either, the first write tries again.
func (s *Spool) saveTail(t *tail) error {
	g := t.segment
	if t.end < min(int64(g.saved), g.size) {
		// Damage stays, with the record that it was saved: otherwise the next opening
		// would take it for torn, and the rest of its group would be lost.
		t.end, t.bad = g.size, true
	}
	cut := g.size > t.end
	g.size = t.end
	s.applied = g.where(uint32(g.size))
	var err error
	switch {
	case t.bad:
		err = s.rewriteTail(t)
	case t.says > int64(g.saved):
		if err = s.copyTail(t); err == nil {
			g.saved = uint32(t.end)
		}
	case cut:
		err = s.inPlace(t, func(f vfs.File) error { return f.Truncate(t.end) })
	}
	if vfs.IsFull(err) {
		s.tail, s.unsaved, err = t, true, nil
	}
	return err
}

// finishTail is for what saveTail had no room to do.
func (s *Spool) finishTail() error {
	if s.tail == nil {
		return nil
	}
	if err := s.rewriteTail(s.tail); err != nil {
		return writeError(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tail.segment.saved = uint32(s.tail.end)
	s.tail, s.unsaved = nil, false
	return nil
}

// inPlace changes a segment's file, and saves it.
func (s *Spool) inPlace(t *tail, do func(vfs.File) error) error {
	f, err := s.files.another(func() (vfs.File, error) { return s.fs.Open(t.segment.file.name, true) })
	if err != nil {
		return err
	}
	defer f.Close()
	if err := do(f); err != nil {
		return err
	}
	return f.Sync()
}

// rewriteTail writes the end of a segment in place. It leaves damaged parts as they
// are: they may be readable another time, and the damage stays known.
func (s *Spool) rewriteTail(t *tail) error {
	return s.inPlace(t, func(f vfs.File) error {
		if t.bad {
			return t.again(f)
		}
		if err := t.write(f); err != nil {
			return err
		}
		return f.Truncate(t.end)
	})
}

// copyTail writes the segment to another file, which takes its place.
func (s *Spool) copyTail(t *tail) error {
	name := t.segment.file.name
	_ = s.fs.Remove(name + newSuffix) // of an opening that was cut off
	f, err := s.files.another(func() (vfs.File, error) { return s.fs.Create(name + newSuffix) })
	if err != nil {
		return err
	}
	err = copyRange(f, t.segment.file, 0, t.begin())
	if err == nil {
		err = t.write(f)
	}
	if err == nil {
		err = f.Sync()
	}
	_ = f.Close()
	if err != nil {
		_ = s.fs.Remove(name + newSuffix)
		return err
	}
	_ = t.segment.file.Close()
	t.segment.file = s.files.file(name)
	if err := s.fs.Rename(name+newSuffix, name); err != nil {
		return err
	}
	return s.fs.SyncDir() // before anything is deleted that it does not need
}

// begin is how far the segment is known to be saved.
func (t *tail) begin() int64 {
	return min(max(int64(t.segment.saved), record.HeaderSize), t.end)
}

// write writes what follows the saved part: the complete groups, and fill records in
// place of everything else.
func (t *tail) write(to vfs.File) error {
	g := t.segment
	pos := t.begin()
	groups := g.groups(pos)
	for groups.Next() {
		if !groups.Whole() {
			continue
		}
		if err := t.fill(to, pos, groups.From()); err != nil {
			return err
		}
		if err := copyRange(to, g.file, groups.From(), groups.To()); err != nil {
			return err
		}
		pos = groups.To()
	}
	return groups.Err()
}

// again writes the complete groups once more, over themselves. One that cannot be
// written, because it shares a block with something unreadable, stays as it is.
func (t *tail) again(f vfs.File) error {
	groups := t.segment.groups(t.begin())
	for groups.Next() {
		if !groups.Whole() {
			continue
		}
		if err := copyRange(f, t.segment.file, groups.From(), groups.To()); vfs.IsFull(err) {
			return err
		}
	}
	return groups.Err()
}

// fill fills a range with fill records.
func (t *tail) fill(to vfs.File, from, end int64) error {
	for from < end {
		n := min(writeSize, end-from)
		if left := end - from - n; left > 0 && left < record.FrameSize {
			n -= record.FrameSize
		}
		b := make([]byte, n)
		if n >= record.FrameSize {
			b = record.AppendFill(b[:0], t.segment.salt, from, t.segment.saved, int(n))
		}
		if _, err := to.WriteAt(b, from); err != nil {
			return err
		}
		from += n
	}
	return nil
}

// copyRange copies a range of a file to the same place of another, or of itself.
func copyRange(to, from vfs.File, at, end int64) error {
	buf := make([]byte, max(0, min(writeSize, end-at)))
	for at < end {
		n := min(int64(len(buf)), end-at)
		if _, err := from.ReadAt(buf[:n], at); err != nil {
			return err
		}
		if _, err := to.WriteAt(buf[:n], at); err != nil {
			return err
		}
		at += n
	}
	return nil
}
