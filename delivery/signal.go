package delivery

import "sync"

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
