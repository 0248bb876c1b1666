package delivery_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// plainQueue is a queue without abilities.
type plainQueue struct{ queue.Queue }

// postponing is a queue that notes what is postponed, or fails to.
type postponing struct {
	*claimedFrom
	fails error

	mu   sync.Mutex
	list []queue.Postponement
}

func (q *postponing) Postpone(ctx context.Context, now time.Time, list ...queue.Postponement) error {
	q.mu.Lock()
	q.list = append(q.list, list...)
	q.mu.Unlock()
	if q.fails != nil {
		return q.fails
	}
	return q.Queue.Postpone(ctx, now, list...)
}

// TestNoPostponements: where a queue cannot keep back the mail for a site that is down, or
// fails to, each delivery is kept back, so that none is claimed again and again.
func TestNoPostponements(t *testing.T) {
	for _, c := range []struct {
		name string
		of   func(q *claimedFrom) queue.Queue
		told int // of trouble
	}{
		{"it has no such ability", func(q *claimedFrom) queue.Queue { return plainQueue{q} }, 0},
		{"it fails to", func(q *claimedFrom) queue.Queue { return &postponing{claimedFrom: q, fails: errStorage} }, 1},
	} {
		t.Run("QUE-11 QUE-13 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{}})
				q := &claimedFrom{Queue: new(memory.Queue)}
				o.queue, o.agent.Queue = q, c.of(q)
				o.start()
				o.submit(message("u@e.test"))
				pass(time.Second)
				for i := range 20 {
					o.submit(numbered(i, queue.AtLeastOnce, "u@e.test"))
				}
				pass(time.Second)
				before := q.claims.Load()
				pass(4 * time.Minute)
				if n := q.claims.Load() - before; n > 5 {
					t.Errorf("%d claims while the site is down", n)
				}
				if n := len(o.of(delivery.Deferred)); n != 1 || o.left() != 21 {
					t.Errorf("%d deferred and %d left, want the first deferred, and all", n, o.left())
				}
				if n := len(o.of(delivery.Trouble)); n != c.told {
					t.Errorf("told of trouble %d times, want %d", n, c.told)
				}
				pass(10 * time.Minute)
				if n := len(o.of(delivery.Deferred)); n < 2 {
					t.Errorf("%d attempts after that", n)
				}
			})
		})
	}
}

// slowlySettling is a queue that takes a second to settle.
type slowlySettling struct{ *postponing }

func (q slowlySettling) Settle(ctx context.Context, now time.Time, list []queue.Settlement) ([]queue.Settled, error) {
	pass(time.Second)
	return q.Queue.Settle(ctx, now, list)
}

// TestDeferredBesideWhatIsNotPostponed: where a queue fails to keep back the mail for a site
// that is down, what is deferred at the same time at another waits for its own time.
func TestDeferredBesideWhatIsNotPostponed(t *testing.T) {
	t.Run("QUE-11 QUE-9", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			later := func(wait time.Duration) *smtptest.Host {
				return &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Rcpt, Delay: wait, Reply: "450 4.2.1 later"}}}
			}
			o := newOffice(t, &smtptest.Internet{
				Zone:  "a.test. A 192.0.2.1\nb.test. A 192.0.2.2\nc.test. A 192.0.2.3\n",
				Hosts: map[string]*smtptest.Host{"a.test": later(0), "c.test": later(time.Second / 2)},
			})
			o.agent.Sender.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if !strings.HasPrefix(address, "192.0.2.2") {
					return o.net.DialContext(ctx, network, address)
				}
				pass(time.Second / 2)
				return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
			}
			q := &postponing{claimedFrom: &claimedFrom{Queue: new(memory.Queue)}, fails: errStorage}
			o.queue, o.agent.Queue = q, slowlySettling{q}
			for _, to := range []string{"u@a.test", "u@b.test", "v@b.test", "w@b.test", "x@b.test", "u@c.test"} {
				o.submit(message(to))
			}
			o.start()
			pass(4 * time.Minute)
			n := map[string]int{}
			for _, e := range o.of(delivery.Deferred) {
				n[e.Destination]++
			}
			if n["a.test"] != 1 || n["b.test"] == 0 || n["c.test"] != 1 {
				t.Errorf("attempts in four minutes: %v, want one at a.test and at c.test, and some at b.test", n)
			}
		})
	})
}

// TestParkedEndsWithTheAgent: what an agent keeps back for want of room it lifts at its end.
func TestParkedEndsWithTheAgent(t *testing.T) {
	t.Run("QUE-11", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, toHost(slowHost(time.Minute)))
			q := &postponing{claimedFrom: &claimedFrom{Queue: new(memory.Queue)}}
			o.queue, o.agent.Queue = q, q
			o.start()
			for i := range 300 {
				o.submit(numbered(i, queue.AtLeastOnce, "u@e.test"))
			}
			pass(5 * time.Minute)
			o.stop()
			last := q.list[len(q.list)-1]
			parked := 0
			for _, p := range q.list[:len(q.list)-1] {
				if p.Owner == last.Owner && p.Destination == "e.test" && !p.Until.IsZero() {
					parked++
				}
			}
			if last.Owner == "" || last.Destination != "" || !last.Until.IsZero() || parked == 0 {
				t.Errorf("the last of %d postponements is %+v, want one that lifts all of the agent's; it has parked %d times", len(q.list), last, parked)
			}
		})
	})
}

// TestReportGoesAtOnce: the report of a refusal goes out at once, also where the queue does
// not tell of mail that comes.
func TestReportGoesAtOnce(t *testing.T) {
	t.Run("DSN-3", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			host := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Rcpt, Address: "nobody@e.test", Reply: "550 5.1.1 who"}}}
			o := newOffice(t, &smtptest.Internet{
				Zone:  "e.test. MX 10 mx.test.\nfrom.test. MX 10 mx.test.\nmx.test. A 192.0.2.1\n",
				Hosts: map[string]*smtptest.Host{"mx.test": host},
			})
			o.agent.Queue = plainQueue{o.queue}
			o.start()
			o.submit(message("nobody@e.test"))
			pass(time.Second)
			if n := len(host.Messages()); n != 1 || o.left() != 0 {
				t.Errorf("the host has %d messages a second later, and %d deliveries are left; want the report", n, o.left())
			}
		})
	})
}

// TestRetryAfterSleep: on a machine that was asleep a message is tried again at its time,
// though its wall clock is not that by which the agent waits.
func TestRetryAfterSleep(t *testing.T) {
	for _, by := range []time.Duration{3 * time.Hour, -3 * time.Hour} {
		t.Run(fmt.Sprint("QUE-9 the wall clock moved by ", by), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := new(wall)
				o := w.of(newOffice(t, toHost(&smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Rcpt, Times: 1, Reply: "451 4.3.2 later"}}})))
				o.agent.Queue = plainQueue{o.queue}
				o.agent.Settings.Schedule = delivery.Delays{10 * time.Minute}
				o.start()
				pass(time.Minute)
				w.move(by)
				pass(time.Minute)
				o.submit(message("u@e.test"))
				pass(9 * time.Minute)
				if n := len(o.of(delivery.Deferred)); n != 1 || o.left() != 1 {
					t.Errorf("%d attempts after nine minutes, want one", n)
				}
				pass(90 * time.Second)
				if n := len(o.of(delivery.Delivered)); n != 1 {
					t.Errorf("%d delivered after ten minutes, want it", n)
				}
			})
		})
	}
}

// TestLeasesOfWhatIsSettled: the leases of deliveries that are settled are not extended.
func TestLeasesOfWhatIsSettled(t *testing.T) {
	t.Run("QUE-5", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, toHost(slowHost(time.Hour)))
			extended := 0
			q := &faultyQueue{Queue: new(memory.Queue), extend: func() error { extended++; return nil }}
			o.queue, o.agent.Queue = q, q
			o.agent.Sender.Timeouts.Final = 2 * time.Hour
			o.start()
			o.submit(message("u@e.test"))
			pass(time.Hour + time.Minute)
			if extended == 0 || len(o.of(delivery.Delivered)) != 1 {
				t.Fatalf("extended %d times in an hour, events %+v", extended, o.events)
			}
			extended = 0
			pass(12 * time.Hour)
			if extended > 0 {
				t.Errorf("extended %d times with nothing in hand", extended)
			}
		})
	})
}
