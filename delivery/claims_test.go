package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// claimedFrom is a queue whose claims and waits the test makes, and counts.
type claimedFrom struct {
	*memory.Queue
	claims atomic.Int32
	claim  func(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error)
	wait   func(ctx context.Context) error // if nil, the queue's own
}

func (q *claimedFrom) Claim(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
	q.claims.Add(1)
	if q.claim == nil {
		return q.Queue.Claim(ctx, now, want)
	}
	return q.claim(ctx, now, want)
}

func (q *claimedFrom) Wait(ctx context.Context, seen uint64) error {
	if q.wait == nil {
		return q.Queue.Wait(ctx, seen)
	}
	return q.wait(ctx)
}

// TestClaimAtTheEnd ends an agent while a claim is under way: what it claims goes back,
// and that it fails then is no trouble.
func TestClaimAtTheEnd(t *testing.T) {
	for _, c := range []struct {
		name  string
		fails error
	}{{"which finds mail", nil}, {"which fails", context.Canceled}, {"which fails for another reason", errors.New("the line was closed")}} {
		t.Run("QUE-10 "+c.name, func(t *testing.T) {
			for range 10 {
				synctest.Test(t, func(t *testing.T) { claimedAtTheEnd(t, c.fails) })
			}
		})
	}
}

func claimedAtTheEnd(t *testing.T, fails error) {
	o := newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
	q := &claimedFrom{Queue: new(memory.Queue)}
	q.claim = func(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
		<-ctx.Done()
		if fails != nil {
			return queue.Claimed{}, fails
		}
		found, err := q.Queue.Claim(context.WithoutCancel(ctx), now, want)
		for i := range 2000 { // which take the agent some time
			lease := queue.Lease{Message: fmt.Sprint("broken", i), Destination: "e.test", Until: now.Add(want.Lease)}
			found.Unreadable = append(found.Unreadable, queue.Unreadable{Lease: lease, Err: queue.ErrDamaged})
		}
		return found, err
	}
	o.queue, o.agent.Queue = q, q
	o.submit(message("u@e.test"))
	o.start()
	pass(time.Second)
	o.stop()
	if n := len(o.of(delivery.Trouble)); n != 0 {
		t.Errorf("trouble was told %d times", n)
	}
	again, err := q.Queue.Claim(t.Context(), time.Now(), queue.ClaimOptions{Max: 9, Lease: time.Minute})
	if err != nil || len(again.Deliveries) != 1 {
		t.Errorf("%d deliveries can be claimed after that, %v, want the one", len(again.Deliveries), err)
	}
}

// TestQueueEndsWhileNothingIsDue: Run returns at once where the queue is closed or has
// failed, which the agent hears from the call that waits for mail.
func TestQueueEndsWhileNothingIsDue(t *testing.T) {
	for _, end := range []error{queue.ErrClosed, fmt.Errorf("%w: no device", queue.ErrFailed)} {
		t.Run("QUE-10 "+end.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
				defer o.net.Close()
				ended := make(chan struct{})
				q := &claimedFrom{Queue: new(memory.Queue)}
				q.claim = func(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
					select {
					case <-ended:
						return queue.Claimed{}, end
					default:
						return q.Queue.Claim(ctx, now, want)
					}
				}
				q.wait = func(ctx context.Context) error {
					select {
					case <-ended:
						return end
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				o.agent.Queue = q
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				result := make(chan error, 1)
				go func() { result <- o.agent.Run(ctx) }()
				pass(time.Minute)
				close(ended)
				began := time.Now()
				select {
				case err := <-result:
					if !errors.Is(err, end) || time.Since(began) > 3*time.Second {
						t.Errorf("Run = %v after %v, want %v at once", err, time.Since(began), end)
					}
				case <-time.After(time.Hour):
					t.Error("Run goes on")
					cancel()
					<-result
				}
			})
		})
	}
}

// TestWaitThatFails: a queue that cannot tell when mail comes is not asked for mail again
// and again.
func TestWaitThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
		q := &claimedFrom{Queue: new(memory.Queue), wait: func(context.Context) error { return errors.New("no line") }}
		o.queue, o.agent.Queue = q, q
		o.start()
		o.submit(message("u@e.test"))
		pass(time.Hour)
		if n := q.claims.Load(); n > 20 || len(o.of(delivery.Delivered)) != 1 {
			t.Errorf("%d claims in an hour, %d messages delivered", n, len(o.of(delivery.Delivered)))
		}
	})
}

// TestUnreadableToldOnce: a delivery that the queue cannot read is told of once, however
// often it is found, and whatever is found beside it.
func TestUnreadableToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
		q := &claimedFrom{Queue: new(memory.Queue)}
		q.claim = func(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
			found, err := q.Queue.Claim(ctx, now, want)
			for i := range 3 {
				lease := queue.Lease{Message: fmt.Sprint("broken", i), Destination: "e.test", Token: uint64(q.claims.Load()), Until: now.Add(want.Lease)}
				found.Unreadable = append(found.Unreadable, queue.Unreadable{Lease: lease, Err: queue.ErrDamaged})
			}
			return found, err
		}
		o.queue, o.agent.Queue = q, q
		o.start()
		for range 10 {
			pass(time.Minute)
			o.submit(message("u@e.test"))
		}
		pass(time.Minute)
		var told []string
		for _, e := range o.of(delivery.Deferred) {
			told = append(told, e.ID)
			if e.Next.IsZero() || !errors.Is(e.Err, queue.ErrDamaged) || e.Destination != "e.test" {
				t.Errorf("told of %s for %s: %v, next %v", e.ID, e.Destination, e.Err, e.Next)
			}
		}
		slices.Sort(told)
		if want := []string{"broken0", "broken1", "broken2"}; !slices.Equal(told, want) {
			t.Errorf("told of %q in %d claims, want %q", told, q.claims.Load(), want)
		}
	})
}

// TestWhoseParkedMailIsClaimed: what an agent has parked is left out of a claim of all
// mail, and is not where the agent has room for it, or looks for tenants of which it holds
// nothing.
func TestWhoseParkedMailIsClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, toHost(slowHost(time.Second)))
		o.agent.Settings.Limits.PerSite = 1
		q := &claimedFrom{Queue: new(memory.Queue)}
		kinds := make(map[string]int)
		q.claim = func(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
			kind := "all"
			if len(want.Destinations) > 0 {
				kind = "a site's"
			}
			if want.Owner == "" {
				kind += " with what is parked"
			}
			kinds[kind]++
			return q.Queue.Claim(ctx, now, want)
		}
		o.queue, o.agent.Queue = q, q
		for i := range 300 {
			m := numbered(i, queue.AtLeastOnce, "u@e.test")
			m.Tenant = fmt.Sprint("t", i%2)
			o.submit(m)
		}
		o.start()
		pass(10 * time.Minute)
		if o.left() != 0 {
			t.Errorf("%d deliveries are left", o.left())
		}
		for kind, want := range map[string]bool{
			"all": true, "all with what is parked": true, "a site's with what is parked": true, "a site's": false,
		} {
			if got := kinds[kind] > 0; got != want {
				t.Errorf("claims of %s: %t, want %t; in all %v", kind, got, want, kinds)
			}
		}
	})
}

// silentAbout is a resolver that does not answer about a name while it is silent.
type silentAbout struct {
	mx.Resolver
	name   string
	silent atomic.Bool
}

func (r *silentAbout) Resolve(ctx context.Context, name string, t mx.Type) (mx.Answer, error) {
	if strings.TrimSuffix(name, ".") == strings.TrimSuffix(r.name, ".") && r.silent.Load() {
		<-ctx.Done()
		return mx.Answer{}, ctx.Err()
	}
	return r.Resolver.Resolve(ctx, name, t)
}

// TestSuspendedDuringAClaim: mail of a destination that is suspended while a claim is
// under way goes back at once, before anything is asked about it.
func TestSuspendedDuringAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := newThreeSites(t)
		q := &claimedFrom{Queue: new(memory.Queue)}
		suspend := true
		q.claim = func(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
			found, err := q.Queue.Claim(ctx, now, want)
			if suspend && len(found.Deliveries) == 2 {
				suspend = false
				o.suspend(suspensionOf(queue.OfDestination, "b.test", time.Time{}))
			}
			return found, err
		}
		o.queue, o.agent.Queue = q, q
		resolver := &silentAbout{Resolver: o.net, name: "b.test."}
		o.agent.Sender.Resolver = resolver
		resolver.silent.Store(true)
		o.submit(to("t", "u@a.test", "u@b.test"))
		o.start()
		pass(time.Second)
		if got := o.delivered(); !slices.Equal(got, []string{"a.test"}) {
			t.Errorf("%q were delivered to, want the other one", got)
		}
		if n := o.agent.Stats().Claimed; n != 0 {
			t.Errorf("%d deliveries are claimed, want none", n)
		}
		resolver.silent.Store(false)
		o.resume(1, queue.Subject{Kind: queue.OfDestination, Name: "b.test"})
		pass(2 * time.Second)
		if got := o.delivered(); !slices.Equal(got, []string{"a.test", "b.test"}) {
			t.Errorf("%q were delivered to after that, want both", got)
		}
	})
}
