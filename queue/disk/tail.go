package disk

import (
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// saveTail cuts off what follows the last record of the newest segment, writes
// what was not known to be saved once more, and saves it.
func (s *Spool) saveTail(u *usage) error {
	if len(u.numbers) == 0 {
		return nil
	}
	g := s.segments.byNumber[u.numbers[len(u.numbers)-1]]
	s.applied = g.where(uint32(g.size))
	t, ok := u.tails[g.number]
	if !ok {
		return nil
	}
	w, err := s.files.another(func() (vfs.File, error) {
		return s.fs.Open(fileName(segmentPrefix, g.number), true)
	})
	if err != nil {
		return err
	}
	defer w.Close()
	if err := rewrite(w, min(int64(g.saved), t.end), t.end); err != nil {
		return writeError(err)
	}
	if g.size > t.end {
		if err := w.Truncate(t.end); err != nil {
			return writeError(err)
		}
	}
	if err := w.Sync(); err != nil {
		return err
	}
	g.size, g.saved = t.end, max(g.saved, uint32(t.whole))
	s.applied = g.where(uint32(g.size))
	return nil
}

// rewrite writes a range of a file as it is.
func rewrite(f vfs.File, from, to int64) error {
	buf := make([]byte, max(0, min(writeSize, to-from)))
	for from < to {
		n := min(int64(len(buf)), to-from)
		if _, err := f.ReadAt(buf[:n], from); err != nil {
			return err
		}
		if _, err := f.WriteAt(buf[:n], from); err != nil {
			return err
		}
		from += n
	}
	return nil
}

// clean deletes what nothing speaks of. Contents stay where there is damage,
// since what spoke of them may have been lost.
func (s *Spool) clean(f *found) error {
	for _, name := range f.leftovers {
		_ = s.fs.Remove(name)
	}
	for n := range f.sizes {
		if s.segments.byNumber[n] == nil {
			_ = s.fs.Remove(fileName(segmentPrefix, n))
		}
	}
	for _, n := range f.contents {
		if !s.index.Has(n) && len(s.problems) == 0 {
			_ = s.fs.Remove(fileName(contentPrefix, n))
		}
	}
	return s.fs.SyncDir()
}
