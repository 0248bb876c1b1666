package disk

import (
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// line has the tickets that wait to be written, in batches. It has a lock of its own,
// so that writers need not wait for the index.
type line struct {
	mu      sync.Mutex
	batches []*batch
	leading bool // a caller writes the first batch, or is about to
	gather  gather
}

// maxBatch is how much goes into one write at most, unless one group is longer.
const maxBatch = 8 << 20

// enqueue puts a ticket in line. The caller then calls wait.
func (l *line) enqueue(t *ticket) *batch {
	size := int64(0)
	for i := range t.frames {
		flags := record.Flags(0)
		if i == 0 {
			flags |= record.First
		}
		if i == len(t.frames)-1 {
			flags |= record.Last
		}
		f := &t.frames[i].Frame
		f.Flags = flags
		size += f.Len()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.batches)
	if n == 0 || l.batches[n-1].bytes+size > maxBatch {
		l.batches = append(l.batches, &batch{
			tickets: make([]*ticket, 0, l.gather.expected),
			written: make(chan struct{}),
			done:    make(chan struct{}, 1),
		})
		n++
	}
	b := l.batches[n-1]
	t.durable = t.durable || t.ordered && b.durable
	b.tickets = append(b.tickets, t)
	b.bytes += size
	b.durable = b.durable || t.durable
	t.batch = b
	l.elect()
	return b
}

// elect gives the lead to the first batch, unless a caller already has it or the batch
// should wait for others. The lock is held.
func (l *line) elect() {
	if l.leading || len(l.batches) == 0 {
		return
	}
	b := l.batches[0]
	if b.durable && len(l.batches) == 1 && l.gather.waits(len(b.tickets), l.hurry) {
		return
	}
	l.leading = true
	b.done <- struct{}{}
}

// hurry has the first batch wait no longer.
func (l *line) hurry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gather.giveUp()
	l.elect()
}

// leave takes the first batch out of line.
func (l *line) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batches = l.batches[1:]
}

// next hands the lead on, when a batch is done that took the device so long to
// save, zero where it need not be saved.
func (l *line) next(b *batch, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leading = false
	if took > 0 {
		l.gather.expect(b, l.batches, took)
	}
	l.elect()
}
