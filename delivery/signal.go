package delivery

import "sync"

// signal says that something has changed, once, to the one who waits for it: a
// second set before it was seen adds nothing. Its zero value is ready.
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
