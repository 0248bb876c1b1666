package delivery_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// tellsNothing is a queue that keeps suspensions and does not say when they change.
type tellsNothing struct {
	queue.Queue
	queue.Suspender
}

// TestSuspendedUntold: an agent whose queue does not say when something changes goes by a
// suspension of another agent's a few seconds later, whether or not there was one before,
// and by its end in time.
func TestSuspendedUntold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, &smtptest.Internet{
			Zone:  "a.test. A 192.0.2.1\nb.test. A 192.0.2.2\nc.test. A 192.0.2.3\n",
			Hosts: map[string]*smtptest.Host{"a.test": {Extensions: full()}, "b.test": {Extensions: full()}, "c.test": {Extensions: full()}},
		})
		q := new(memory.Queue)
		o.queue, o.agent.Queue = q, tellsNothing{q, q}
		o.agent.Settings.Warn = -1
		o.start()
		suspend := func(name string, until time.Time) {
			if err := q.Suspend(t.Context(), time.Now(), suspensionOf(queue.OfDestination, name, until)); err != nil {
				t.Fatal(err)
			}
		}
		arrived := func(want ...string) {
			t.Helper()
			o.submit(to("t", "u@a.test", "u@b.test", "u@c.test"))
			o.agent.Wake()
			pass(time.Second)
			if got := slices.Compact(o.delivered()); !slices.Equal(got, want) {
				t.Errorf("%v after the start %q were delivered to, want %q", time.Since(o.began), got, want)
			}
			o.mu.Lock()
			o.events = nil
			o.mu.Unlock()
		}
		pass(time.Minute)
		arrived("a.test", "b.test", "c.test")
		pass(time.Minute)
		suspend("a.test", time.Time{})
		pass(6 * time.Second)
		arrived("b.test", "c.test")
		pass(20 * time.Second)
		suspend("b.test", time.Time{})
		pass(6 * time.Second)
		arrived("c.test")
		pass(20 * time.Second)
		end := time.Now().Add(10 * time.Second)
		suspend("c.test", end)
		pass(6 * time.Second)
		arrived()
		pass(time.Until(end) + 1500*time.Millisecond)
		if got := slices.Compact(o.delivered()); !slices.Equal(got, []string{"c.test"}) {
			t.Errorf("%q were delivered to at the end of the suspension, want c.test", got)
		}
	})
}
