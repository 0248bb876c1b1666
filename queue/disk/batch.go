package disk

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// ticket is a group of frames on its way into the log.
type ticket struct {
	frames  []frame
	durable bool // to be saved before whoever wrote it goes on

	// apply changes the index as the frames say, which begin at these offsets
	// of the segment. It is called in the order of the log, with the lock held,
	// once the frames are written, and saved if they must be.
	apply func(g *segment, at []uint32)

	batch *batch
	at    []uint32

	oneAt [2]uint32 // at and frames of most
	room  [2]frame
}

func newTicket() *ticket {
	t := new(ticket)
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
	waiting atomic.Int32 // how many tickets
	bytes   int64
	durable bool
	lead    chan struct{} // whoever takes the one element writes the batch
	written chan struct{} // closed when what need not be saved is done
	done    chan struct{} // closed when everything is
	failed  error         // of the write; valid once written
	err     error         // of the write or the sync; valid once done
}

// maxBatch is how much goes into one write at most, unless one group is longer.
const maxBatch = 8 << 20

// enqueue puts a ticket in line. The lock is held; the caller then calls wait.
func (s *Spool) enqueue(t *ticket) {
	size := int64(0)
	for i := range t.frames {
		f := &t.frames[i].Frame
		f.Flags = 0
		if i == 0 {
			f.Flags |= record.First
		}
		if i == len(t.frames)-1 {
			f.Flags |= record.Last
		}
		size += f.Len()
	}
	n := len(s.queue)
	if n == 0 || s.queue[n-1].bytes+size > maxBatch && len(s.queue[n-1].tickets) > 0 {
		s.queue = append(s.queue, &batch{
			lead:    make(chan struct{}, 1),
			written: make(chan struct{}),
			done:    make(chan struct{}),
		})
		n++
	}
	b := s.queue[n-1]
	b.tickets = append(b.tickets, t)
	b.waiting.Add(1)
	b.bytes += size
	b.durable = b.durable || t.durable
	t.batch = b
	if !s.leading {
		s.leading = true
		s.queue[0].lead <- struct{}{}
	}
}

// wait returns when the ticket is done. One of those who wait for a batch
// writes it for all of them, so that the spool needs no goroutine of its own.
func (s *Spool) wait(t *ticket) error {
	b := t.batch
	end := b.written
	if t.durable {
		end = b.done
	}
	select {
	case <-b.lead:
		s.commit(b)
	case <-end:
	}
	if t.durable {
		return b.err
	}
	return b.failed
}

// commit writes the first batch in line and hands the lead on.
func (s *Spool) commit(b *batch) {
	s.gather(b)
	b.failed = s.write(b)
	if b.failed == nil {
		s.apply(b, false)
	}
	close(b.written)
	b.err = b.failed
	if b.err == nil && b.durable {
		begun := time.Now()
		b.err = s.sync()
		s.syncTime = time.Since(begun)
		if b.err == nil {
			s.apply(b, true)
		}
	}
	close(b.done)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.err == nil && s.current != nil {
		s.applied = s.current.where(uint32(s.current.size))
	}
	if s.unsaved {
		s.saveSoon()
	}
	s.leading, s.expected = len(s.queue) > 0, len(b.tickets)
	if s.leading {
		s.expected += len(s.queue[0].tickets)
		s.queue[0].lead <- struct{}{}
	}
	s.startMaintenance()
}

// gather waits for the others that are about to write, and takes the batch out
// of line. Those whom the last batch has just woken come again in a moment,
// more often than not, and share this sync if it waits for them. It waits for as
// many as there were, while they keep coming, and for a part of what a sync
// takes at most.
func (s *Spool) gather(b *batch) {
	begun := time.Now()
	pause, most := min(s.syncTime/16, maxPause), min(s.syncTime/2, maxGather)
	last, seen := begun, int32(0)
	for turns := 0; turns < maxTurns; turns++ {
		n, now := b.waiting.Load(), time.Now()
		if n > seen {
			seen, last, turns = n, now, 0
		}
		if int(n) >= s.expected || now.Sub(last) >= pause || now.Sub(begun) >= most {
			break
		}
		runtime.Gosched()
	}
	s.mu.Lock()
	s.queue = s.queue[1:]
	s.mu.Unlock()
}

// How long gather waits at most since the last ticket came, in time and in
// turns, for where the clock stands still, and in all.
const (
	maxPause  = 100 * time.Microsecond
	maxTurns  = 1000
	maxGather = 2 * time.Millisecond
)

// apply applies the batch's tickets that had to be saved, or the others.
func (s *Spool) apply(b *batch, durable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range b.tickets {
		if t.durable == durable && t.apply != nil {
			t.apply(s.current, t.at)
		}
	}
}
