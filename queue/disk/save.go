package disk

import (
	"time"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// sync saves the log so far. It cannot if the end of the log is in pieces, which mend
// writes again: what the file has is not all that was answered.
func (s *Spool) sync() error {
	if s.torn {
		return writeError(s.tornBy)
	}
	g := s.current
	if g == nil || !s.unsaved { // the unsaved part may be a tail, which finishTail saves
		return nil
	}
	return s.syncFile(g)
}

// syncFile saves a segment, unless the device has failed: the result of a later sync
// would mean nothing.
func (s *Spool) syncFile(g *segment) error {
	if err := s.failed(); err != nil {
		return err
	}
	err := g.file.Sync()
	if err != nil && !vfs.IsFull(err) {
		return s.fail(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.torn, s.tornBy, s.unsaved = true, err, true
		return writeError(err)
	}
	s.nowSaved(g)
	return nil
}

// nowSaved is for when all of a segment is saved. The lock is held.
func (s *Spool) nowSaved(g *segment) {
	g.saved, s.unsaved = uint32(g.size), false
	clear(s.kept)
	s.kept = s.kept[:0]
}

// saveBatch saves what was written. If there turns out to be no room for it, some of
// the batch is left out.
func (s *Spool) saveBatch(b *batch) {
	err := s.sync()
	for vfs.IsFull(err) {
		more := s.relent(b, err)
		if !more {
			b.fail(err)
		}
		if err = s.mend(b); !more {
			break
		}
	}
	if err != nil {
		b.fail(err)
	}
}

// takeDead returns the contents that nothing refers to any more, if that is saved. The
// lock is held.
func (s *Spool) takeDead() []uint64 {
	if s.unsaved || s.failure != nil {
		return nil
	}
	dead := s.deadContents
	s.deadContents = nil
	return dead
}

// deleteContents deletes the files of contents. One that is being read stays where
// the system does not delete such files, until the log is saved again; if there is
// another reason, until the next Open.
func (s *Spool) deleteContents(list []uint64) {
	for _, number := range list {
		err := s.fs.Remove(fileName(contentPrefix, number))
		if vfs.IsInUse(err) {
			s.mu.Lock()
			s.deadContents = append(s.deadContents, number)
			s.mu.Unlock()
			continue
		}
		s.given.Add(1)
	}
}

// markSaved appends a record that says how much of the log is saved, so that damage
// there can be distinguished from what a power cut tore. The record is not needed for
// anything else.
func (s *Spool) markSaved() {
	g := s.current
	if g == nil {
		return
	}
	f := record.Frame{Kind: record.KindSaved, Flags: record.First | record.Last, Mark: g.saved}
	_, _ = g.file.WriteAt(f.Append(nil, g.salt, g.size), g.size)
}

// fail remembers that the device failed and returns the error that says so.
func (s *Spool) fail(cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		s.failure = failure(cause)
		s.failing.Store(true)
		s.changes.Add() // for those who wait
	}
	return s.failure
}

func (s *Spool) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// saveDelay is how long written records may stay unsaved if nothing else causes a sync.
// With the time of the device it is less than a second.
const saveDelay = 500 * time.Millisecond

// saveSoon ensures that what is written now is saved within a second. The lock is held.
func (s *Spool) saveSoon() {
	if s.byHand || s.saving || s.closed {
		return
	}
	s.saving = true
	s.background.Add(1)
	s.saver = time.AfterFunc(saveDelay, func() {
		defer s.background.Done()
		s.mu.Lock()
		s.saving = false
		s.mu.Unlock()
		_ = s.save() // a failure shows in every later call
	})
}

// save has everything written so far saved.
func (s *Spool) save() error {
	s.mu.Lock()
	if !s.unsaved {
		defer s.mu.Unlock()
		return s.failure
	}
	t := &ticket{durable: true, class: ending}
	s.line.enqueue(t)
	s.mu.Unlock()
	return s.wait(t)
}
