package goroutine

import "sync"

// Signal tells one waiting goroutine that something has changed. If it is set again
// before it was seen, that has no effect.
type Signal struct {
	once sync.Once
	c    chan struct{}
}

// Set sets the signal. It does not wait.
func (s *Signal) Set() {
	select {
	case s.channel() <- struct{}{}:
	default:
	}
}

// Seen returns the channel that has a value while the signal is set. To receive the value
// unsets it.
func (s *Signal) Seen() <-chan struct{} { return s.channel() }

func (s *Signal) channel() chan struct{} {
	s.once.Do(func() { s.c = make(chan struct{}, 1) })
	return s.c
}
