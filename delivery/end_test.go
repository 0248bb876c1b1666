package delivery_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// TestEndOfRun: Run has returned 3 s after the time for deliveries under way is over,
// whatever hosts do and though the queue fails.
func TestEndOfRun(t *testing.T) {
	world := func() *smtptest.Internet {
		stalls := func(at smtptest.Stage, extensions ...string) *smtptest.Host {
			return &smtptest.Host{
				Extensions: append(full(), extensions...), Allow: smtptest.Rules(),
				Script: []smtptest.Cue{{At: at, Then: smtptest.Stall}},
			}
		}
		return &smtptest.Internet{
			Zone: "$TTL 3600\n" +
				"a.test. MX 10 xa.test.\nxa.test. A 198.51.100.1\nb.test. MX 10 xb.test.\nxb.test. A 198.51.100.2\n" +
				"c.test. MX 10 xc.test.\nxc.test. A 198.51.100.3\nd.test. MX 10 xd.test.\nxd.test. A 198.51.100.4\n",
			Hosts: map[string]*smtptest.Host{
				"xa.test": stalls(smtptest.Final), "xb.test": stalls(smtptest.Quit),
				"xc.test": stalls(smtptest.Quit, "STARTTLS"), "xd.test": stalls(smtptest.Banner),
			},
		}
	}
	noStore := errors.New("no connection to the database")
	for _, c := range []struct {
		name  string
		drain time.Duration
		fail  func(q *faultyQueue)
	}{
		{"hosts that answer neither content nor QUIT", 26 * time.Second, func(*faultyQueue) {}},
		{"the same, and no time at all", time.Millisecond, func(*faultyQueue) {}},
		{"a queue that stores nothing", 26 * time.Second, func(q *faultyQueue) {
			q.settle = func([]queue.Settlement) error { return noStore }
		}},
		{"a queue that stores nothing, and no time at all", time.Millisecond, func(q *faultyQueue) {
			q.settle = func([]queue.Settlement) error { return noStore }
		}},
		{"a queue that stores no settlement", 10 * time.Second, func(q *faultyQueue) {
			q.one = func(*queue.Settlement) error { return noStore }
		}},
		{"a queue that can do nothing", 10 * time.Second, func(q *faultyQueue) {
			q.settle = func([]queue.Settlement) error { return noStore }
			q.claim, q.extend, q.mark = func() error { return noStore }, func() error { return noStore }, func() error { return noStore }
		}},
	} {
		t.Run("QUE-10 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, world())
				q := &faultyQueue{Queue: new(memory.Queue)}
				o.queue, o.agent.Queue = q, q
				o.agent.Drain = c.drain
				o.start()
				for _, to := range []string{"a@a.test", "b@b.test", "c@c.test", "d@d.test"} {
					o.submit(message(to))
				}
				pass(5 * time.Second)
				if n := len(o.of(delivery.Delivered)); n != 2 {
					t.Errorf("%d delivered, want those to b.test and c.test, whose sessions are kept", n)
				}
				c.fail(q)
				o.submit(message("b@b.test")) // its settlement fails
				pass(20 * time.Second)
				began := time.Now()
				o.stop()
				if took := time.Since(began); took > c.drain+3*time.Second {
					t.Errorf("Run ended after %v, want %v and 3 s at most", took, c.drain)
				}
			})
		})
	}
}
