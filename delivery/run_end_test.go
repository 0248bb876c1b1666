package delivery_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// slowToEnd is a PolicySource whose work takes a second to end, and that tells of something
// then.
type slowToEnd struct {
	policyFunc
	ended bool
}

func (s *slowToEnd) RunTLS(ctx context.Context, notice func(*delivery.TLSNotice)) error {
	<-ctx.Done()
	pass(time.Second)
	notice(&delivery.TLSNotice{Domain: "e.test", Reason: "r", Text: "the end"})
	s.ended = true
	return ctx.Err()
}

// TestRunWaitsForItsParts: Run returns when the work of the policy source has ended, and the
// hook has returned from the last event of that.
func TestRunWaitsForItsParts(t *testing.T) {
	t.Run("QUE-10", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
			source := &slowToEnd{policyFunc: func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error) { return delivery.TLSPolicy{}, nil }}
			o.agent.Sender.Policy = source
			told := 0
			o.agent.Events = func(context.Context, delivery.Event) { pass(2 * time.Second); told++ }
			o.start()
			pass(time.Minute)
			o.stop()
			if !source.ended || told != 1 {
				t.Errorf("when Run has returned, the policy source has ended: %t, and told %d events, want one", source.ended, told)
			}
		})
	})
}

// TestLeasesLastAtTheEnd: a delivery whose settlement takes the queue longer than a lease, at
// the end of the agent, is not claimed by another meanwhile.
func TestLeasesLastAtTheEnd(t *testing.T) {
	t.Run("QUE-9 QUE-10", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
			q := &faultyQueue{Queue: new(memory.Queue), settle: func([]queue.Settlement) error { pass(2 * time.Minute); return nil }}
			o.queue, o.agent.Queue = q, q
			o.agent.Lease = 30 * time.Second
			o.start()
			o.submit(message("u@e.test"))
			pass(time.Second)
			stopped := make(chan struct{})
			go func() { o.stop(); close(stopped) }()
			for range 10 {
				pass(10 * time.Second)
				found, err := q.Queue.Claim(t.Context(), time.Now(), queue.ClaimOptions{Max: 9, Lease: time.Second})
				if err != nil || len(found.Deliveries) != 0 {
					t.Errorf("another claims %d deliveries while their settlement is under way, %v", len(found.Deliveries), err)
				}
			}
			<-stopped
			if n := o.left(); n != 0 {
				t.Errorf("%d deliveries are left", n)
			}
		})
	})
}

// TestGoodbyesDuringTheDrain: sessions that nobody uses are ended while deliveries in flight
// go on, and not only after them.
func TestGoodbyesDuringTheDrain(t *testing.T) {
	t.Run("QUE-10", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			idle := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Quit, Delay: 20 * time.Second}}}
			o := newOffice(t, &smtptest.Internet{
				Zone:  "a.test. MX 10 mx.a.test.\nmx.a.test. A 192.0.2.1\nb.test. MX 10 mx.b.test.\nmx.b.test. A 192.0.2.2\n",
				Hosts: map[string]*smtptest.Host{"mx.a.test": idle, "mx.b.test": slowHost(28 * time.Second)},
			})
			o.agent.Sender.Timeouts.Quit = time.Minute
			o.start()
			o.submit(message("u@a.test"))
			pass(time.Second)
			o.submit(message("u@b.test"))
			pass(time.Second)
			began := time.Now()
			o.stop()
			if took := time.Since(began); took > 28*time.Second || len(o.of(delivery.Delivered)) != 2 {
				t.Errorf("the end took %v, with %d delivered, want no longer than the delivery in flight", took, len(o.of(delivery.Delivered)))
			}
		})
	})
}

// TestSuspendedDuringTrouble: mail that an agent has claimed, and that is suspended by another
// program while the agent claims nothing for trouble of the queue, does not begin after that.
func TestSuspendedDuringTrouble(t *testing.T) {
	t.Run("QUE-13", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			host := slowHost(5 * time.Second)
			o := newOffice(t, &smtptest.Internet{
				Zone:  "a.test. MX 10 mx.test.\nb.test. MX 10 mx.test.\nmx.test. A 192.0.2.1\n",
				Hosts: map[string]*smtptest.Host{"mx.test": host},
			})
			q := &faultyQueue{Queue: new(memory.Queue)}
			o.queue, o.agent.Queue = q, q
			o.agent.Settings.Limits.PerSite = 1
			o.start()
			for _, to := range []string{"u@a.test", "v@a.test", "u@b.test"} { // the second begins before the first is stored
				o.submit(message(to))
				pass(time.Second)
			}
			q.set(func() { q.settle = func([]queue.Settlement) error { return errStorage } })
			pass(20 * time.Second)
			other := &delivery.Agent{Queue: q}
			if err := other.Suspend(t.Context(), suspensionOf(queue.OfDestination, "b.test", time.Time{})); err != nil {
				t.Fatal(err)
			}
			pass(20 * time.Second)
			q.set(func() { q.settle = nil })
			pass(time.Minute)
			if asked := askedAbout(host, "@b.test"); len(asked) != 0 {
				t.Errorf("the host was asked about %q, which is suspended", asked)
			}
		})
	})
}

// TestDueWhileIdlenessIsLookedFor: mail that comes after the last claim found nothing is sent
// before RunUntilIdle returns.
func TestDueWhileIdlenessIsLookedFor(t *testing.T) {
	t.Run("QUE-10", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			host := &smtptest.Host{Extensions: full()}
			o := newOffice(t, toHost(host))
			defer o.net.Close()
			q := &claimedFrom{Queue: new(memory.Queue)}
			put := false
			q.claim = func(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
				found, err := q.Queue.Claim(ctx, now, want)
				if !put {
					put = true
					if _, err := q.Put(ctx, now, message("u@e.test")); err != nil {
						t.Error(err)
					}
				}
				return found, err
			}
			o.queue, o.agent.Queue = q, q
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if err := o.agent.RunUntilIdle(ctx); err != nil || ctx.Err() != nil {
				t.Errorf("RunUntilIdle = %v, or it did not end in an hour", err)
			}
			if n := len(host.Messages()); n != 1 {
				t.Errorf("the host has %d messages, want the one that came", n)
			}
		})
	})
}

// TestRouteIsTraced: an agent tells its Trace of the route of each attempt.
func TestRouteIsTraced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, toHost(&smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: "451 4.2.0 later", Times: 1}}}))
		told := 0
		o.agent.Sender.Trace = &delivery.Trace{Route: func(domain string, route mx.Route, err error) {
			if told++; domain != "e.test" || len(route.Hosts) == 0 || err != nil {
				t.Errorf("Route tells of %q, %+v, %v", domain, route, err)
			}
		}}
		o.start()
		m := message("u@e.test")
		m.From = ""
		o.submit(m)
		pass(time.Hour)
		if told != 2 {
			t.Errorf("Route was called %d times, want once for each of two attempts", told)
		}
	})
}
