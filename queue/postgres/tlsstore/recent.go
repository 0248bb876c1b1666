package tlsstore

import (
	"sync"
	"time"
)

const (
	lookAgain = 10 * time.Second
	mostSeen  = 4096
)

// recent is what the database had a moment ago, so that not every message costs a query.
// Its zero value is ready.
type recent[K comparable, V any] struct {
	mu      sync.Mutex
	seen    map[K]seen[V]
	changes int // by this process
}

type seen[V any] struct {
	value V
	at    time.Time
}

// recall is what was seen a moment ago, and how many changes there were until now.
func (r *recent[K, V]) recall(key K) (value V, ok bool, changes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.seen[key]
	return s.value, ok && time.Since(s.at) < lookAgain, r.changes
}

// remember notes what was seen, unless there were changes since recall.
func (r *recent[K, V]) remember(changes int, values map[K]V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if changes != r.changes {
		return
	}
	if r.seen == nil || len(r.seen) >= mostSeen {
		r.seen = make(map[K]seen[V])
	}
	at := time.Now()
	for key, value := range values {
		r.seen[key] = seen[V]{value, at}
	}
}

// forget is called after a change, and so that what was seen before is not remembered
// afterwards.
func (r *recent[K, V]) forget(key K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.seen, key)
	r.changes++
}

// forgetAll is forget for a change of any number.
func (r *recent[K, V]) forgetAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = nil
	r.changes++
}
