package goroutine

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestSignal: a signal wakes one goroutine, whether it was set before or while that waits,
// and to set it twice is to set it once.
func TestSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Signal
		woken := 0
		wait := func() {
			select {
			case <-s.Seen():
				woken++
			case <-time.After(time.Second):
			}
		}
		wait()
		if woken != 0 {
			t.Error("a signal that was not set has woken somebody")
		}
		s.Set()
		s.Set()
		wait()
		wait()
		if woken != 1 {
			t.Errorf("a signal that was set twice has woken %d, want 1", woken)
		}
		go func() {
			time.Sleep(time.Second / 2)
			s.Set()
		}()
		if wait(); woken != 2 {
			t.Error("a signal that is set has not woken one that waits")
		}
	})
}
