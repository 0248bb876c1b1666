package disk

import (
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// ticket is a group of frames on its way into the log.
type ticket struct {
	frames  []frame
	durable bool // must be saved before the caller continues
	ordered bool // to be applied after those that came before
	changes bool // waiters for more mail must be told
	class   class
	makes   int64 // only makes this much room
	made    bool
	turns   bool // a segment is to begin
	fills   bool // enlarges the reserve as far as possible

	// apply changes the index as the frames say, which begin at these offsets of the
	// segment. It is called in the order of the log, with the lock held, once the
	// frames are written, and saved if they must be. If the batch is long, it releases
	// the lock between entries.
	apply func(h *hold, g *segment, at []uint32)
	more  []joined // groups that have become part of this one

	batch *batch
	draft *draft // to be used again once the ticket is done, if that went well
	at    []uint32

	oneAt [2]uint32 // at and frames of most
	room  [2]frame
}

// joined is how a group is applied whose frames stand in another from one on.
type joined struct {
	apply func(h *hold, g *segment, at []uint32)
	from  int
}

// join adds the frames of another ticket, which none has joined, to the group.
func (t *ticket) join(other *ticket) {
	t.more = append(t.more, joined{other.apply, len(t.frames)})
	t.frames = append(t.frames, other.frames...)
}

func newTicket() *ticket { return new(ticket).init() }

func (t *ticket) init() *ticket {
	t.at, t.frames = t.oneAt[:0], t.room[:0]
	return t
}

// frame is a record of a group. If home is not zero, the record is a Delivery whose
// message's record is that many frames further on.
type frame struct {
	record.Frame
	home int
}

// batch is the tickets that one write and one sync put on the disk.
type batch struct {
	tickets []*ticket
	bytes   int64
	durable bool
	saving  bool           // written, and applied where that is all
	written chan struct{}  // closed when what need not be saved is done
	done    chan struct{}  // closed when the batch is done; the caller that takes its one element writes the batch
	failed  [classes]error // of the write; valid once written
	err     [classes]error // of the write or the sync; valid once done
}

// open reports whether a ticket is still to be written, or to be saved.
func (b *batch) open(t *ticket) bool { return t.durable || !b.saving }

// has reports whether there are tickets of a class that are still open.
func (b *batch) has(c class) bool {
	return slices.ContainsFunc(b.tickets, func(t *ticket) bool { return t.class == c && b.open(t) })
}

// durables are the tickets that are to be saved.
func (b *batch) durables() (list []*ticket) {
	for _, t := range b.tickets {
		if t.durable {
			list = append(list, t)
		}
	}
	return list
}

// refuse leaves the tickets of a class out that are still open.
func (b *batch) refuse(c class, err error) {
	b.err[c] = err
	b.tickets = slices.DeleteFunc(b.tickets, func(t *ticket) bool {
		if t.class != c || !b.open(t) {
			return false
		}
		b.bytes -= t.bytes()
		return true
	})
}

// fail leaves all out that are left.
func (b *batch) fail(err error) {
	for c := range classes {
		if b.err[c] == nil {
			b.refuse(c, err)
		}
	}
}

func (t *ticket) bytes() (n int64) {
	for i := range t.frames {
		n += t.frames[i].Len()
	}
	return n
}

// wait returns when the ticket is done. One of the callers that wait for a batch writes
// it for all of them, so that the spool needs no goroutine for that.
func (s *Spool) wait(t *ticket) error { return s.await(t.batch, t.class, t.durable) }

// await is wait for who cannot ask the ticket any more.
func (s *Spool) await(b *batch, c class, durable bool) error {
	if !durable {
		select {
		case _, lead := <-b.done:
			if lead {
				s.commit(b)
			}
		case <-b.written:
		}
		return b.failed[c]
	}
	if _, lead := <-b.done; lead {
		s.commit(b)
	}
	return b.err[c]
}

// commit writes the first batch in line and passes the lead on. The waiting callers are
// woken before the index has changed, so that they can prepare their next writes; the
// lock is held until then.
func (s *Spool) commit(b *batch) {
	s.line.leave()
	s.write(b)
	b.failed = b.err
	s.mu.Lock()
	s.apply(b, false, func() { close(b.written) })
	s.retain(b)
	b.saving = true
	s.mu.Unlock()
	took := time.Duration(0)
	if b.durable || s.saveEarly() {
		begun := time.Now()
		s.saveBatch(b)
		took = time.Since(begun)
	}
	s.mu.Lock()
	s.apply(b, true, func() {
		close(b.done)
		s.line.next(b, took)
	})
	if s.current != nil && !s.torn && s.failure == nil {
		s.applied = s.current.where(uint32(s.current.size))
	}
	if s.unsaved {
		s.saveSoon()
	}
	dead := s.takeDead()
	s.startMaintenance()
	s.mu.Unlock()
	s.recycle(b)
	s.deleteContents(dead)
}

// saveEarly reports whether unsaved records must be saved ahead of time, because there
// may turn out to be no room for them.
func (s *Spool) saveEarly() bool {
	g := s.current
	return s.short.Load() && g != nil && g.size > int64(g.saved)+minRoom
}

// apply applies the batch's tickets that had to be saved, or the others, and wakes those
// who wait for them: first, if it takes one hold of the lock, which is held, and
// else when it is done.
func (s *Spool) apply(b *batch, durable bool, wake func()) {
	entries := 0
	for _, t := range b.tickets {
		entries += len(t.frames)
	}
	if entries <= holdMax {
		wake()
	}
	changes := false
	h := &hold{s: s}
	for _, t := range b.tickets {
		if t.durable != durable {
			continue
		}
		if t.apply != nil {
			h.step(1)
			t.apply(h, s.current, t.at)
		}
		for _, j := range t.more {
			h.step(1)
			j.apply(h, s.current, t.at[j.from:])
		}
		changes = changes || t.changes
	}
	if changes {
		s.changes.Add()
	}
	if entries > holdMax {
		wake()
	}
}

// retain keeps the tickets that were not to be saved, until they are. The lock is
// held.
func (s *Spool) retain(b *batch) {
	for _, t := range b.tickets {
		if !t.durable && len(t.frames) > 0 {
			s.kept = append(s.kept, t)
		}
	}
}
