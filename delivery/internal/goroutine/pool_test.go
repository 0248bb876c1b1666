package goroutine

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestPool: all work is done, however much there is at once and also where it makes more,
// and no goroutine is left at the end.
func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		var done, atOnce, most atomic.Int32
		for range 3 {
			for range 2 * maxIdle {
				p.Go(func() {
					most.Store(max(most.Load(), atOnce.Add(1)))
					<-time.After(time.Second)
					p.Go(func() { done.Add(1) })
					atOnce.Add(-1)
				})
			}
			<-time.After(time.Minute)
		}
		if n := done.Load(); n != 3*2*maxIdle {
			t.Errorf("%d pieces of work were done, want %d", n, 3*2*maxIdle)
		}
		if n := most.Load(); n != 2*maxIdle {
			t.Errorf("%d pieces of work were under way at once, want all %d", n, 2*maxIdle)
		}
		p.Go(func() {
			<-time.After(time.Hour)
			p.Go(func() { done.Add(1) })
		})
		p.End()
		if n := done.Load(); n != 3*2*maxIdle+1 {
			t.Errorf("%d pieces of work were done at the end, want %d", n, 3*2*maxIdle+1)
		}
	})
}

// TestPoolKeepsGoroutines: work goes to the goroutine that has waited for the shortest
// time, and no more than maxIdle wait.
func TestPoolKeepsGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		defer p.End()
		idle := func() []chan func() {
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			return slices.Clone(p.idle)
		}
		for i := range 2 * maxIdle {
			p.Go(func() { <-time.After(time.Duration(i+1) * time.Second) })
		}
		<-time.After(time.Hour)
		before := idle()
		if len(before) != maxIdle {
			t.Errorf("%d goroutines wait, want %d", len(before), maxIdle)
		}
		p.Go(func() { <-time.After(time.Second) })
		if got := idle(); !slices.Equal(got, before[:len(before)-1]) {
			t.Error("the work did not go to the goroutine that has waited for the shortest time")
		}
		<-time.After(time.Minute)
		if got := idle(); !slices.Equal(got, before) {
			t.Error("the goroutine does not wait for more work")
		}
	})
}

// TestPoolKeepsOneGoroutine: work that comes piece by piece is all done by one goroutine.
func TestPoolKeepsOneGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		for range 10 {
			p.Go(func() {})
			synctest.Wait()
			p.mu.Lock()
			if n := len(p.idle); n != 1 {
				t.Errorf("%d goroutines wait, want 1", n)
			}
			p.mu.Unlock()
		}
		p.End()
	})
}
