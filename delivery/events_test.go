package delivery_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestEventsWithoutRun: no event is lost before Run, while it begins or ends, or after
// it, however many there are, and they come one at a time and in order.
func TestEventsWithoutRun(t *testing.T) {
	const n = 5000
	submitted := func(o *office, from, to int) {
		for i := from; i < to; i++ {
			o.submit(numbered(i, queue.AtLeastOnce, "u@e.test"))
		}
	}
	t.Run("before Run, and after another", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, toHost(&smtptest.Host{Extensions: full(), Discard: true}))
			submitted(o, 0, n)
			if got := len(o.of(delivery.Queued)); got != n {
				t.Errorf("%d events of %d messages that are in the queue", got, n)
			}
			o.start()
			pass(time.Hour)
			o.stop()
			submitted(o, n, 2*n)
			id := o.submit(message("u@e.test"))
			if err := o.agent.Hold(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if err := o.agent.Drop(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if q, d := len(o.of(delivery.Queued)), len(o.of(delivery.Delivered)); q != 2*n+1 || d != n {
				t.Errorf("%d queued and %d delivered, want %d and %d", q, d, 2*n+1, n)
			}
			if len(o.of(delivery.Held)) != 1 || len(o.of(delivery.Dropped)) != 1 {
				t.Error("nobody heard of a hold or a drop")
			}
		})
	})
	t.Run("while Run begins and ends, by many at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, toHost(&smtptest.Host{Extensions: full(), Discard: true}))
			var inside, overlaps atomic.Int64
			o.agent.Events = func(_ context.Context, e delivery.Event) {
				if inside.Add(1) > 1 {
					overlaps.Add(1)
				}
				o.note(e)
				inside.Add(-1)
			}
			var submits sync.WaitGroup
			for range 20 {
				submits.Go(func() {
					for range n / 20 {
						m := message("u@e.test")
						if _, err := o.agent.Submit(t.Context(), m); err != nil {
							t.Error(err)
						}
						time.Sleep(time.Millisecond)
					}
				})
			}
			for range 5 {
				pass(20 * time.Millisecond)
				o.start()
				pass(20 * time.Millisecond)
				o.stop()
			}
			submits.Wait()
			o.start()
			pass(time.Hour)
			o.stop()
			q, d := o.of(delivery.Queued), o.of(delivery.Delivered)
			if len(q) != n || len(d) != n || overlaps.Load() > 0 {
				t.Errorf("%d queued and %d delivered of %d, %d calls at the same time", len(q), len(d), n, overlaps.Load())
			}
			ids := make(map[string]bool)
			for _, e := range q {
				ids[e.ID] = true
			}
			if len(ids) != n {
				t.Errorf("%d messages were told of, want %d", len(ids), n)
			}
		})
	})
	t.Run("a hook that waits for whoever submits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
			told := make(chan delivery.Event)
			o.agent.Events = func(_ context.Context, e delivery.Event) { told <- e }
			for _, to := range []string{"u@e.test", "v@e.test"} {
				o.submit(message(to))
			}
			if u, v := <-told, <-told; u.Recipient != "u@e.test" || v.Recipient != "v@e.test" {
				t.Errorf("told of %s, then of %s", u.Recipient, v.Recipient)
			}
		})
	})
	t.Run("a hook that does not return holds up Submit after 4,096 events, until its context ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
			release := make(chan struct{})
			o.agent.Events = func(_ context.Context, e delivery.Event) { <-release; o.note(e) }
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
			defer cancel()
			taken := 0
			for {
				if _, err := o.agent.Submit(ctx, message("u@e.test")); err != nil {
					break
				}
				taken++
			}
			if taken != 4096 || time.Since(o.began) != 50*time.Second {
				t.Errorf("%d were taken in %v", taken, time.Since(o.began))
			}
			close(release)
			if got := len(o.of(delivery.Queued)); got != taken {
				t.Errorf("%d are told", got)
			}
		})
	})
}
