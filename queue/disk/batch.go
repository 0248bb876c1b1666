package disk

import (
	"time"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// ticket is a group of frames on its way into the log.
type ticket struct {
	frames  []frame
	durable bool // to be saved before whoever wrote it goes on
	ordered bool // to be applied after those that came before
	changes bool // to be told to those who wait for more mail

	// apply changes the index as the frames say, which begin at these offsets
	// of the segment. It is called in the order of the log, with the lock held,
	// once the frames are written, and saved if they must be.
	apply func(g *segment, at []uint32)

	batch *batch
	draft *draft // to be used again once the ticket is done, if that went well
	at    []uint32

	oneAt [2]uint32 // at and frames of most
	room  [2]frame
}

func newTicket() *ticket { return new(ticket).init() }

func (t *ticket) init() *ticket {
	t.at, t.frames = t.oneAt[:0], t.room[:0]
	return t
}

// frame is a record of a group. Where home is not zero, the record is a
// Delivery whose message's record is that many frames further on.
type frame struct {
	record.Frame
	home int
}

// batch is the tickets that one write and one sync put on the disk.
type batch struct {
	tickets []*ticket
	bytes   int64
	durable bool
	written chan struct{} // closed when what need not be saved is done
	done    chan struct{} // closed when everything is; whoever takes its one element writes the batch
	failed  error         // of the write; valid once written
	err     error         // of the write or the sync; valid once done
}

// wait returns when the ticket is done. One of those who wait for a batch
// writes it for all of them, so that the spool needs no goroutine of its own.
func (s *Spool) wait(t *ticket) error { return s.await(t.batch, t.durable) }

// await is wait for who cannot ask the ticket any more.
func (s *Spool) await(b *batch, durable bool) error {
	if !durable {
		select {
		case _, lead := <-b.done:
			if lead {
				s.commit(b)
			}
		case <-b.written:
		}
		return b.failed
	}
	if _, lead := <-b.done; lead {
		s.commit(b)
	}
	return b.err
}

// commit writes the first batch in line and hands the lead on. Whoever waits is
// woken before the index has what was written, so that they prepare what they
// write next meanwhile: the lock is held until it has.
func (s *Spool) commit(b *batch) {
	s.line.leave()
	b.failed = s.write(b)
	s.mu.Lock()
	close(b.written)
	s.apply(b, false)
	s.mu.Unlock()
	b.err = b.failed
	took := time.Duration(0)
	if b.err == nil && b.durable {
		begun := time.Now()
		b.err = s.sync()
		took = time.Since(begun)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(b.done)
	s.line.next(b, took)
	s.apply(b, true)
	s.recycle(b)
	if b.err == nil && s.current != nil {
		s.applied = s.current.where(uint32(s.current.size))
	}
	if s.unsaved {
		s.saveSoon()
	}
	s.startMaintenance()
}

// apply applies the batch's tickets that had to be saved, or the others, unless
// that failed. The lock is held.
func (s *Spool) apply(b *batch, durable bool) {
	if b.failed != nil || durable && b.err != nil {
		return
	}
	changes := false
	for _, t := range b.tickets {
		if t.durable == durable && t.apply != nil {
			t.apply(s.current, t.at)
			changes = changes || t.changes
		}
	}
	if changes {
		s.changes.Add()
	}
}
