package delivery_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// TestLostLease: mail of several domains goes together, and one of them is somebody
// else's when the content is due. The others go without it, at once, and no attempt
// is charged for that.
func TestLostLease(t *testing.T) {
	const zone = `
$TTL 300
a.test. MX 10 mx.test.
b.test. MX 10 mx.test.
c.test. MX 10 mx.test.
mx.test. A 192.0.2.1
`
	for _, c := range []struct {
		name      string
		guarantee queue.Guarantee
		delay     time.Duration // of each RCPT: with 4 min the lease is extended meanwhile
		refused   string
		want      []string // deliveries, with their attempts
	}{
		{"found when it is extended", queue.AtLeastOnce, 4 * time.Minute, "", []string{"a@a.test 1", "b@b.test 1", "c@c.test 1"}},
		{"found when it is marked", queue.AtMostOnce, 0, "", []string{"a@a.test 1", "b@b.test 1", "c@c.test 1"}},
		{"one of the others refused", queue.AtLeastOnce, 4 * time.Minute, "c@c.test", []string{"a@a.test 1", "b@b.test 1"}},
	} {
		t.Run("QUE-4 a lease that is lost in flight, "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				script := []smtptest.Cue{{At: smtptest.Rcpt, Delay: c.delay}}
				if c.refused != "" {
					script = append([]smtptest.Cue{{At: smtptest.Rcpt, Address: c.refused, Reply: "550 5.1.1 nobody"}}, script...)
				}
				host := &smtptest.Host{Extensions: full(), Script: script}
				o := newOffice(t, &smtptest.Internet{Zone: zone, Hosts: map[string]*smtptest.Host{"mx.test": host}})
				q := &faultyQueue{Queue: new(memory.Queue), lost: firstOf("a.test")}
				o.queue, o.agent.Queue = q, q
				o.start()
				m := message("a@a.test", "b@b.test", "c@c.test")
				m.Guarantee = c.guarantee
				o.submit(m)
				pass(30 * time.Minute)
				var got []string
				for _, e := range o.of(delivery.Delivered) {
					got = append(got, fmt.Sprint(e.Recipient, " ", e.Attempt))
				}
				slices.Sort(got)
				if fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("delivered %v, want %v", got, c.want)
				}
				if list := o.of(delivery.Deferred); len(list) > 0 {
					t.Errorf("deferred: %+v", list)
				}
				for _, e := range o.of(delivery.Delivered) {
					if took := e.Time.Sub(o.began); c.delay == 0 && e.Destination != "a.test" && took > 500*time.Millisecond {
						t.Errorf("%s was delivered after %v, want it at once", e.Recipient, took)
					}
				}
			})
		})
	}
}

// TestLostBesideOthers: mail that goes without what is somebody else's is sent at once only
// if a lost lease alone has kept it back: not if a host has refused a recipient of it, who
// would be asked about twice, and not if the connection was lost.
func TestLostBesideOthers(t *testing.T) {
	const zone = "a.test. MX 10 mx.test.\nb.test. MX 10 mx.test.\nmx.test. A 192.0.2.1\n"
	late := func(then smtptest.Then) smtptest.Cue { // so that the lease is extended meanwhile
		return smtptest.Cue{At: smtptest.Rcpt, Times: 1, Delay: 4 * time.Minute, Then: then}
	}
	for _, c := range []struct {
		name   string
		to     []string
		script []smtptest.Cue
		asked  int // how often the host was asked about recipients at b.test
	}{
		{"a recipient is refused", []string{"a@a.test", "b@b.test", "x@b.test"}, []smtptest.Cue{
			{At: smtptest.Rcpt, Address: "x@b.test", Reply: "550 5.1.1 nobody"}, late(smtptest.GoOn), late(smtptest.GoOn),
		}, 2},
		{"the connection is lost", []string{"a@a.test", "b@b.test"}, []smtptest.Cue{late(smtptest.GoOn), late(smtptest.Reset)}, 1},
	} {
		t.Run("QUE-4 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Extensions: full(), Script: c.script}
				o := newOffice(t, &smtptest.Internet{Zone: zone, Hosts: map[string]*smtptest.Host{"mx.test": host}})
				q := &faultyQueue{Queue: new(memory.Queue), lost: firstOf("a.test")}
				o.queue, o.agent.Queue = q, q
				o.start()
				o.submit(message(c.to...))
				pass(8*time.Minute + 500*time.Millisecond)
				if got := askedAbout(host, "@b.test"); len(got) != c.asked {
					t.Errorf("the host was asked about %q, want %d", got, c.asked)
				}
			})
		})
	}
}

// askedAbout are the commands RCPT that a host was given for recipients whose address ends
// so.
func askedAbout(host *smtptest.Host, end string) (list []string) {
	for _, c := range host.Connections() {
		for _, l := range c.Lines {
			if to, _, ok := strings.Cut(l.Text, ">"); ok && l.Client && strings.HasPrefix(to, "RCPT TO:<") && strings.HasSuffix(to, end) {
				list = append(list, to)
			}
		}
	}
	return list
}

// TestLostByNobody: a queue that says of a mark that a lease is lost, and of each that it
// is not, costs a pause and no attempt.
func TestLostByNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &smtptest.Host{Extensions: full()}
		o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
		q := &faultyQueue{Queue: new(memory.Queue), mark: func() error { return queue.ErrLeaseLost }}
		o.queue, o.agent.Queue = q, q
		o.start()
		m := message("u@e.test")
		m.Guarantee = queue.AtMostOnce
		o.submit(m)
		pass(10 * time.Second)
		if n := len(host.Connections()); n == 0 || n > 11 {
			t.Errorf("%d connections in ten seconds, want one a second at most", n)
		}
		q.set(func() { q.mark = nil })
		pass(2 * time.Second)
		if list := o.of(delivery.Delivered); len(list) != 1 || list[0].Attempt != 1 {
			t.Errorf("delivered %+v, want it at the first attempt", list)
		}
	})
}

// firstOf is whether a lease is the first one of a destination.
func firstOf(destination string) func(l *queue.Lease) bool {
	var token uint64
	return func(l *queue.Lease) bool {
		if token == 0 && l.Destination == destination {
			token = l.Token
		}
		return l.Destination == destination && l.Token == token
	}
}

// TestExpiredUnsent: mail whose time is over is not given up for what the queue could
// not record: it has its last attempt when the queue can.
func TestExpiredUnsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &smtptest.Host{Extensions: full()}
		o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
		q := &faultyQueue{Queue: new(memory.Queue), mark: func() error { return queue.ErrFull }}
		o.queue, o.agent.Queue = q, q
		o.start()
		m := message("u@e.test")
		m.Guarantee, m.Expires = queue.AtMostOnce, time.Now().Add(3*time.Second)
		o.submit(m)
		pass(10 * time.Second)
		for _, kind := range []delivery.EventKind{delivery.Failed, delivery.Expired, delivery.Bounced} {
			if list := o.of(kind); len(list) > 0 {
				t.Errorf("%v", list)
			}
		}
		q.set(func() { q.mark = nil })
		pass(2 * time.Second)
		if n := len(o.of(delivery.Delivered)); n != 1 || o.left() != 0 {
			t.Errorf("delivered %d times, %d left", n, o.left())
		}
	})
}
