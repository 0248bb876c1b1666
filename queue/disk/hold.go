package disk

import (
	"slices"
	"sync"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// holdMax is how many deliveries, destinations, keys or segments are processed at most
// while the lock is held once, so that no call waits long for it. Longer work is done
// in turns, with other calls in between.
const holdMax = 512

// lock is the spool's. Tests and benchmarks may watch how long it is held.
type lock struct {
	mutex sync.Mutex
	watch interface {
		locked()
		unlocked()
	}
}

func (l *lock) Lock() {
	l.mutex.Lock()
	if l.watch != nil {
		l.watch.locked()
	}
}

func (l *lock) Unlock() {
	if l.watch != nil {
		l.watch.unlocked()
	}
	l.mutex.Unlock()
}

// hold counts the work done while the lock is held. The zero value with a spool is for
// callers that already hold the lock.
type hold struct {
	s *Spool
	n int
}

// hold takes the lock; who has called it calls Unlock in the end.
func (s *Spool) hold() *hold {
	s.mu.Lock()
	return &hold{s: s}
}

// step is called before each so many entries, where all is as others may find it: the
// lock is given up and taken again if there were too many since it was taken.
func (h *hold) step(n int) {
	if h.n > 0 && h.n+n > holdMax {
		h.s.mu.Unlock()
		h.s.mu.Lock()
		h.n = 0
	}
	h.n += n
}

// end gives the lock up.
func (h *hold) end() { h.s.mu.Unlock() }

// slots returns the deliveries of a message.
func (s *Spool) slots(number uint64) (list []index.Slot) {
	for from, more := uint32(0), true; more; more = from > 0 {
		if from > 0 {
			list = slices.Grow(list, 2*holdMax) // rather than while the lock is held
		}
		s.mu.Lock()
		list, from = s.index.Slots(list, number, from, holdMax)
		s.mu.Unlock()
	}
	return list
}
