package delivery

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestWorkers: all work is done, however much there is at once and also where it makes
// more, and none of those who do it is left at the end.
func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w workers
		var done, atOnce, most atomic.Int32
		for range 3 {
			for range 2 * maxIdleWorkers {
				w.Go(func() {
					most.Store(max(most.Load(), atOnce.Add(1)))
					<-time.After(time.Second)
					w.Go(func() { done.Add(1) })
					atOnce.Add(-1)
				})
			}
			<-time.After(time.Minute)
		}
		if n := done.Load(); n != 3*2*maxIdleWorkers {
			t.Errorf("%d pieces of work were done, want %d", n, 3*2*maxIdleWorkers)
		}
		if n := most.Load(); n != 2*maxIdleWorkers {
			t.Errorf("%d pieces of work were under way at once, want all %d", n, 2*maxIdleWorkers)
		}
		w.Go(func() {
			<-time.After(time.Hour)
			w.Go(func() { done.Add(1) })
		})
		w.end()
		if n := done.Load(); n != 3*2*maxIdleWorkers+1 {
			t.Errorf("%d pieces of work were done at the end, want %d", n, 3*2*maxIdleWorkers+1)
		}
	})
}
