package delivery

import (
	"sync"
)

// maxIdleWorkers is how many workers wait for more to do.
const maxIdleWorkers = 64

// workers are the goroutines of a run that find routes and make attempts. One that has
// done its work waits for more, among a few others: its stack has grown to what the work
// takes, which each new one would have to do first. Work goes to the one that has waited
// for the shortest time, for the stacks of those that do nothing shrink again.
type workers struct {
	all  sync.WaitGroup
	mu   sync.Mutex
	idle []chan func() // of those that wait
	over bool          // there is nothing more to wait for
}

// Go has some work done.
func (w *workers) Go(work func()) {
	w.mu.Lock()
	if last := len(w.idle) - 1; last >= 0 {
		next := w.idle[last]
		w.idle = w.idle[:last]
		w.mu.Unlock()
		next <- work
		return
	}
	w.mu.Unlock()
	w.all.Go(func() { w.do(work) })
}

// do does some work, and then what comes.
func (w *workers) do(work func()) {
	next := make(chan func(), 1)
	for work != nil {
		work()
		if !w.wait(next) {
			return
		}
		work = <-next
	}
}

// wait has a worker wait for what is next; false if none is to wait any more.
func (w *workers) wait(next chan func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || len(w.idle) == maxIdleWorkers {
		return false
	}
	w.idle = append(w.idle, next)
	return true
}

// end returns when all is done. From then on nothing waits; what is begun until it has
// returned is done, too.
func (w *workers) end() {
	w.mu.Lock()
	w.over = true
	for _, next := range w.idle {
		close(next)
	}
	w.idle = nil
	w.mu.Unlock()
	w.all.Wait()
}

// signal tells one waiting goroutine that something has changed. Setting it again
// before it was seen has no effect. The zero value is ready to use.
type signal struct {
	once sync.Once
	c    chan struct{}
}

// seen is the channel that has a value while the signal is set.
func (s *signal) seen() chan struct{} {
	s.once.Do(func() { s.c = make(chan struct{}, 1) })
	return s.c
}

func (s *signal) set() {
	select {
	case s.seen() <- struct{}{}:
	default:
	}
}
