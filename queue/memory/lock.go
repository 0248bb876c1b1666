package memory

import "sync"

// holdMax is how many deliveries, destinations or leases are processed at most while
// the lock is held once, if their number depends on the queue or on the arguments of a
// call.
const holdMax = 512

// lock is the queue's. Tests may watch when it is given up.
type lock struct {
	sync.Mutex
	watch func()
}

// Unlock gives it up.
func (l *lock) Unlock() {
	if l.watch != nil {
		l.watch()
	}
	l.Mutex.Unlock()
}

// turns counts the work done while the lock is held.
type turns struct {
	q *Queue
	n int
}

// next is called before each entry, where all is as others may find it: the lock is given
// up and taken again if there were too many since it was taken. It reports false where
// the queue has been closed meanwhile.
func (t *turns) next() bool {
	if t.n++; t.n <= holdMax {
		return true
	}
	t.n = 1
	t.q.mu.Unlock()
	t.q.mu.Lock()
	return !t.q.closed
}
