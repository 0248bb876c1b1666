package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// threeSites is a domain with a host of its own, two that share one, and one with two
// hosts.
const threeSites = `
a.test. MX 10 mx.a.test.
mx.a.test. A 192.0.2.1
b.test. MX 10 mx.shared.test.
c.test. MX 10 mx.shared.test.
mx.shared.test. A 192.0.2.2
d.test. MX 10 mx1.d.test.
d.test. MX 20 mx2.d.test.
mx1.d.test. A 192.0.2.3
mx2.d.test. A 192.0.2.4
from.test. MX 10 mx.a.test.
`

// newThreeSites is an agent among those.
func newThreeSites(t *testing.T) (o *office, hosts map[string]*smtptest.Host) {
	t.Helper()
	hosts = map[string]*smtptest.Host{}
	for _, name := range []string{"mx.a.test", "mx.shared.test", "mx1.d.test", "mx2.d.test"} {
		hosts[name] = &smtptest.Host{Extensions: full()}
	}
	o = newOffice(t, &smtptest.Internet{Zone: threeSites, Hosts: hosts})
	o.agent.Settings.Warn = -1
	return o, hosts
}

// to is a message of a tenant to some recipients.
func to(tenant string, recipients ...string) *queue.Message {
	m := &queue.Message{From: "sender@from.test", Tenant: tenant, Content: queue.String("Subject: hello\r\n\r\ntext\r\n")}
	for _, r := range recipients {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: r})
	}
	return m
}

func (o *office) suspend(list ...queue.Suspension) {
	o.t.Helper()
	if err := o.agent.Suspend(o.t.Context(), list...); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) resume(want int, list ...queue.Subject) {
	o.t.Helper()
	if n, err := o.agent.Resume(o.t.Context(), list...); err != nil || n != want {
		o.t.Errorf("Resume of %v = %d, %v, want %d", list, n, err, want)
	}
}

func suspensionOf(k queue.SubjectKind, name string, until time.Time) queue.Suspension {
	return queue.Suspension{
		Subject: queue.Subject{Kind: k, Name: name}, Terms: queue.Terms{Until: until, Reason: "maintenance"},
	}
}

// delivered are the destinations that mail was delivered to, in order of their names.
func (o *office) delivered() (list []string) {
	for _, e := range o.of(delivery.Delivered) {
		list = append(list, e.Destination)
	}
	slices.Sort(list)
	return list
}

// TestSuspended leaves alone what is suspended, and nothing else, however it is named,
// until it is resumed or its time has come.
func TestSuspended(t *testing.T) {
	all := []string{"a.test", "b.test", "c.test", "d.test"}
	for _, c := range []struct {
		name   string
		kind   queue.SubjectKind
		of     string
		tenant string
		kept   []string // destinations
	}{
		{"a destination", queue.OfDestination, "b.test", "t", []string{"b.test"}},
		{"a site, by its host", queue.OfSite, "mx.shared.test", "t", []string{"b.test", "c.test"}},
		{"a site, by one of its hosts", queue.OfSite, "mx2.d.test", "t", []string{"d.test"}},
		{"a site, by its name", queue.OfSite, "mx1.d.test;,mx2.d.test;", "t", []string{"d.test"}},
		{"a tenant", queue.OfTenant, "t", "t", all},
		{"another tenant", queue.OfTenant, "u", "t", nil},
		{"the tenant without a name", queue.OfTenant, "", "", all},
		{"a destination of the name of a host", queue.OfDestination, "mx.a.test", "t", nil},
	} {
		for _, when := range []string{"before the start", "before the mail", "while mail waits"} {
			for _, end := range []string{"resumed", "in time"} {
				t.Run(c.name+" "+when+", "+end, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						o, _ := newThreeSites(t)
						s := suspensionOf(c.kind, c.of, time.Time{})
						if end == "in time" {
							s.Until = o.began.Add(time.Hour)
						}
						m := to(c.tenant, "u@a.test", "u@b.test", "u@c.test", "u@d.test")
						switch when {
						case "before the start":
							o.suspend(s)
							o.submit(m)
							o.start()
						case "before the mail":
							o.start()
							pass(time.Minute)
							o.suspend(s)
							o.submit(m)
						case "while mail waits":
							m.NotBefore = o.began.Add(10 * time.Minute)
							o.submit(m)
							o.start()
							pass(time.Minute)
							o.suspend(s)
						}
						pass(30 * time.Minute)
						want := slices.DeleteFunc(slices.Clone(all), func(d string) bool { return slices.Contains(c.kept, d) })
						if got := o.delivered(); !slices.Equal(got, want) {
							t.Errorf("while %s is suspended %q were delivered to, want %q", c.of, got, want)
						}
						if n := len(o.of(delivery.Deferred)); n != 0 {
							t.Errorf("%d attempts were charged", n)
						}
						if end == "resumed" {
							o.resume(1, s.Subject)
						} else {
							pass(time.Hour - time.Since(o.began))
						}
						pass(2 * time.Second)
						if got := o.delivered(); !slices.Equal(got, all) {
							t.Errorf("after that %q were delivered to, want all", got)
						}
						if got := o.of(delivery.Suspended); len(got) != 1 || got[0].Reply != "maintenance" {
							t.Errorf("events %+v, want one that tells of the suspension", got)
						}
					})
				})
			}
		}
	}
}

// TestSuspendedWithRules: to suspend a site covers the mail for its hosts that rules by domain
// make sites of their own, whether these are there already or come later.
func TestSuspendedWithRules(t *testing.T) {
	for _, c := range []struct {
		name string
		of   string
		kept []string
	}{
		{"by its host", "mx.shared.test", []string{"b.test", "c.test"}},
		{"by its name", "mx1.d.test;,mx2.d.test;", []string{"d.test"}},
		{"by one of its hosts", "mx2.d.test", []string{"d.test"}},
		{"the site of one domain", "mx.shared.test for b.test", []string{"b.test"}},
		{"the site of a domain without a rule", "mx.shared.test for c.test", nil},
	} {
		for _, when := range []string{"before the mail", "while mail waits"} {
			t.Run("QUE-13 "+c.name+", "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					all := []string{"a.test", "b.test", "c.test", "d.test"}
					o, _ := newThreeSites(t)
					o.agent.Settings.Rules = []delivery.Rule{
						{Match: delivery.Match{Domain: "b.test"}, Connections: 1},
						{Match: delivery.Match{Domain: "d.test"}, Rate: 10},
					}
					s := suspensionOf(queue.OfSite, c.of, time.Time{})
					m := to("t", "u@a.test", "u@b.test", "u@c.test", "u@d.test")
					if when == "before the mail" {
						o.start()
						pass(time.Second)
						o.suspend(s)
						o.submit(m)
					} else {
						m.NotBefore = o.began.Add(10 * time.Minute)
						o.submit(m)
						o.start()
						pass(time.Minute)
						o.suspend(s)
					}
					pass(30 * time.Minute)
					want := slices.DeleteFunc(slices.Clone(all), func(d string) bool { return slices.Contains(c.kept, d) })
					if got := o.delivered(); !slices.Equal(got, want) {
						t.Errorf("while %s is suspended %q were delivered to, want %q", c.of, got, want)
					}
					o.resume(1, s.Subject)
					pass(2 * time.Second)
					if got := o.delivered(); !slices.Equal(got, all) {
						t.Errorf("after that %q were delivered to, want all", got)
					}
				})
			})
		}
	}
}

// slowToTell is a queue that takes its time to tell what is suspended.
type slowToTell struct{ *memory.Queue }

func (q slowToTell) Suspensions(ctx context.Context, now time.Time) ([]queue.Suspension, error) {
	pass(3 * time.Second)
	return q.Queue.Suspensions(ctx, now)
}

// TestSuspendedBeforeTheStart: an agent knows what is suspended before it begins anything, though
// it takes the queue a while to say so.
func TestSuspendedBeforeTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, hosts := newThreeSites(t)
		q := slowToTell{new(memory.Queue)}
		o.queue, o.agent.Queue = q, q
		o.suspend(suspensionOf(queue.OfDestination, "b.test", time.Time{}))
		o.submit(to("t", "u@b.test", "u@a.test"))
		o.start()
		pass(time.Minute)
		if n := len(hosts["mx.shared.test"].Messages()); n != 0 || len(o.of(delivery.Delivered)) != 1 {
			t.Errorf("%d messages went out to a destination that is suspended; delivered %+v", n, o.of(delivery.Delivered))
		}
	})
}

// TestSuspendedInACrowd suspends a site that has much in hand: nothing begins any more
// once Suspend has returned, and all of it goes out afterwards.
func TestSuspendedInACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := slowHost(time.Second)
		o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
		for i := range 500 {
			o.submit(numbered(i, queue.AtLeastOnce, "u@e.test"))
		}
		o.start()
		pass(10 * time.Second)
		s := suspensionOf(queue.OfDestination, "e.test", time.Time{})
		o.suspend(s)
		pass(2 * time.Second) // what was in flight
		before := len(host.Messages())
		if before == 0 || before > 400 {
			t.Fatalf("%d messages went out before, want some", before)
		}
		pass(time.Hour)
		if n := len(host.Messages()); n != before {
			t.Errorf("%d messages went out while the destination was suspended", n-before)
		}
		o.resume(1, s.Subject)
		pass(10 * time.Minute)
		if left := o.left(); left != 0 {
			t.Errorf("%d deliveries are left", left)
		}
		if n := len(host.Messages()); n != 500 {
			t.Errorf("the host has %d messages, want each once", n)
		}
	})
}

// TestSuspendedByAnother: what one agent is told holds for all that work on the queue.
func TestSuspendedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, hosts := newThreeSites(t)
		q := new(memory.Queue)
		o.queue, o.agent.Queue = q, q
		other := o.again(q)
		o.start()
		other.start()
		pass(time.Minute)
		s := suspensionOf(queue.OfSite, "mx.shared.test", time.Time{})
		o.suspend(s)
		pass(2 * time.Second)
		for range 20 {
			o.submit(to("t", "u@b.test", "u@c.test"))
			other.submit(to("t", "u@b.test", "u@c.test"))
		}
		pass(time.Hour)
		if n := len(hosts["mx.shared.test"].Messages()); n != 0 {
			t.Errorf("%d messages went out to a site that the other agent was told to leave alone", n)
		}
		other.resume(1, s.Subject)
		pass(time.Minute)
		if left := o.left(); left != 0 {
			t.Errorf("%d deliveries are left after the other agent was told to resume", left)
		}
	})
}

// TestSuspendedByAnotherAndNotTold: an agent whose queue does not tell it of anything learns
// with its claims what another has suspended.
func TestSuspendedByAnotherAndNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, hosts := newThreeSites(t)
		q := &claimedFrom{Queue: new(memory.Queue), wait: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		o.queue, o.agent.Queue = q, q
		o.start()
		pass(time.Minute)
		if err := q.Suspend(t.Context(), time.Now(), suspensionOf(queue.OfDestination, "b.test", time.Time{})); err != nil {
			t.Fatal(err)
		}
		o.submit(to("t", "u@a.test"))
		pass(2 * time.Second)
		for range 5 {
			o.submit(to("t", "u@b.test"))
			pass(3 * time.Second)
		}
		if n := len(hosts["mx.shared.test"].Messages()); n != 0 {
			t.Errorf("%d messages went out to a destination that is suspended", n)
		}
	})
}

// TestSuspendedExpires: suspended mail expires on time, without an attempt, with a
// report, and its sender is told of the delay; held mail does not expire.
func TestSuspendedExpires(t *testing.T) {
	for _, c := range []struct {
		kind queue.SubjectKind
		of   string
	}{{queue.OfDestination, "b.test"}, {queue.OfSite, "mx.shared.test"}, {queue.OfTenant, "t"}} {
		t.Run(c.kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, hosts := newThreeSites(t)
				o.agent.Settings.Expire, o.agent.Settings.Warn = 24*time.Hour, 4*time.Hour
				o.start()
				o.suspend(suspensionOf(c.kind, c.of, time.Time{}))
				pass(time.Minute)
				o.submit(to("t", "u@b.test"))
				held := o.submit(to("t", "held@b.test"))
				if err := o.agent.Hold(t.Context(), held); err != nil {
					t.Fatal(err)
				}
				early := to("t", "early@b.test")
				early.Expires = o.began.Add(2 * time.Hour)
				o.submit(early)
				pass(2*time.Hour + 2*time.Minute)
				expired := func() (list []string) {
					for _, e := range o.of(delivery.Expired) {
						if e.From != "" { // reports to the senders are the tenant's, too
							list = append(list, e.Recipient)
						}
					}
					return list
				}
				if got := expired(); !slices.Equal(got, []string{"early@b.test"}) {
					t.Errorf("after 2 h %q have expired, want what says so itself", got)
				}
				pass(3 * time.Hour)
				if n := len(o.of(delivery.Delayed)); n != 1 {
					t.Errorf("%d senders were told of the delay, want one: the other message is on hold", n)
				}
				pass(18 * time.Hour)
				if got := expired(); len(got) != 1 {
					t.Errorf("%q have expired before their time", got)
				}
				pass(2 * time.Hour)
				if got := expired(); !slices.Equal(got, []string{"early@b.test", "u@b.test"}) {
					t.Errorf("after a day %q have expired, want both that are not on hold", got)
				}
				if n := len(o.of(delivery.Bounced)); n != 2 {
					t.Errorf("%d reports were made, want 2", n)
				}
				for _, e := range o.of(delivery.Expired) {
					if e.Attempt > 1 || !e.Time.Before(o.began.Add(24*time.Hour+3*time.Minute)) {
						t.Errorf("it expired at %v after an attempt: %+v", e.Time, e)
					}
				}
				if n := len(hosts["mx.shared.test"].Messages()); n != 0 || len(o.of(delivery.Deferred)) != 0 {
					t.Errorf("%d messages went out, %d were deferred, want no attempt", n, len(o.of(delivery.Deferred)))
				}
				pass(10 * 24 * time.Hour)
				if got := expired(); len(got) != 2 {
					t.Errorf("%q have expired, want no mail that is on hold", got)
				}
			})
		})
	}
}

// TestSuspendedExpiresInOrder has more waiting than is looked after at a time.
func TestSuspendedExpiresInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := newThreeSites(t)
		o.agent.Settings.Limits.Connections = 4
		o.suspend(suspensionOf(queue.OfDestination, "b.test", time.Time{}))
		const many = 300
		for i := range many {
			m := to("t", fmt.Sprintf("u%d@b.test", i))
			m.From, m.Expires = "", o.began.Add(time.Duration(many-i)*time.Minute)
			o.submit(m)
		}
		o.start()
		for i := range many {
			pass(time.Until(o.began.Add(time.Duration(i+1) * time.Minute).Add(30 * time.Second)))
			if n := len(o.of(delivery.Expired)); n != i+1 {
				t.Fatalf("after %d minutes %d messages have expired", i+1, n)
			}
		}
	})
}

// TestSuspendedAcrossRestart: an agent that starts knows what is suspended before it
// begins anything.
func TestSuspendedAcrossRestart(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o, hosts := newThreeSites(t)
		q := spool(t, dir)
		o.queue, o.agent.Queue = q, q
		o.suspend(suspensionOf(queue.OfSite, "mx.a.test", time.Time{}), suspensionOf(queue.OfTenant, "u", time.Time{}))
		for range 50 {
			o.submit(to("t", "u@a.test"))
			o.submit(to("u", "u@b.test"))
		}
		o.submit(to("t", "u@c.test"))
		o.start()
		pass(time.Minute)
		o.stop()
		closeQueue(t, q)
		q = spool(t, dir)
		next := o.again(q).start()
		pass(time.Hour)
		if n := len(hosts["mx.a.test"].Messages()); n != 0 {
			t.Errorf("%d messages went out to a suspended site after the restart", n)
		}
		if n := len(hosts["mx.shared.test"].Messages()); n != 1 {
			t.Errorf("the other site has %d messages, want that of the tenant that is not suspended", n)
		}
		next.resume(2, queue.Subject{Kind: queue.OfSite, Name: "mx.a.test"}, queue.Subject{Kind: queue.OfTenant, Name: "u"})
		pass(time.Minute)
		if left := next.left(); left != 0 {
			t.Errorf("%d deliveries are left", left)
		}
		next.stop()
		closeQueue(t, q)
	})
}
