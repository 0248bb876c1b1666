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
)

// TestTimesOfAnAttempt: the event of an attempt that went from host to host tells how long
// it took in all, and how long the stages took at all of the hosts.
func TestTimesOfAnAttempt(t *testing.T) {
	const s = time.Second
	busy := &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Delay: 10 * s, Reply: "421 4.3.2 busy"}}}
	for _, c := range []struct {
		name   string
		last   *smtptest.Host
		kind   delivery.EventKind
		took   time.Duration
		stages delivery.Stages
	}{
		{"until a host takes the message", slowHost(5 * s), delivery.Delivered, 15 * s, delivery.Stages{Hello: 10 * s, Reply: 5 * s}},
		{"until the last host has no time either", &smtptest.Host{Script: []smtptest.Cue{
			{At: smtptest.Banner, Delay: 3 * s}, {At: smtptest.Hello, Delay: 4 * s, Reply: "421 4.3.2 busy"},
		}}, delivery.Deferred, 17 * s, delivery.Stages{Hello: 17 * s}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, &smtptest.Internet{
					Zone:  "e.test. MX 10 mx1.e.test.\ne.test. MX 20 mx2.e.test.\nmx1.e.test. A 192.0.2.1\nmx2.e.test. A 192.0.2.2\n",
					Hosts: map[string]*smtptest.Host{"mx1.e.test": busy, "mx2.e.test": c.last},
				})
				o.start()
				o.submit(message("u@e.test"))
				pass(time.Minute)
				got := o.of(c.kind)
				if len(got) != 1 {
					t.Fatalf("events %+v, want one %v", o.events, c.kind)
				}
				if took := got[0].Duration.Round(s); took != c.took || rounded(got[0].Stages) != c.stages {
					t.Errorf("it took %v with %+v, want %v with %+v", took, rounded(got[0].Stages), c.took, c.stages)
				}
			})
		})
	}
}

// TestTriedAgainTogether: recipients that are deferred together are tried again together, at
// the time that the event of each of them tells, though the schedule's times are spread.
func TestTriedAgainTogether(t *testing.T) {
	t.Run("QUE-9", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			host := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Rcpt, Times: 9, Reply: "450 4.2.1 busy"}}}
			o := newOffice(t, toHost(host))
			o.agent.Settings = delivery.Settings{Schedule: delivery.Delays{time.Hour}, Jitter: 0.5}
			o.start()
			m := message("a@e.test", "b@e.test", "c@e.test", "d@e.test", "e@e.test", "f@e.test", "g@e.test", "h@e.test", "i@e.test")
			id := o.submit(m)
			pass(time.Minute)
			e, err := queue.Show(t.Context(), o.queue, id)
			if err != nil || len(e.Waiting) != len(m.Recipients) {
				t.Fatalf("%d wait, %v", len(e.Waiting), err)
			}
			for i, d := range o.of(delivery.Deferred) {
				if next := e.Waiting[i].Next; d.Next.Sub(next).Abs() > time.Millisecond {
					t.Errorf("%s is to be tried again at %v, and its event says %v", d.Recipient, next, d.Next)
				}
			}
			pass(2 * time.Hour)
			if n := len(host.Messages()); n != 1 || len(o.of(delivery.Delivered)) != len(m.Recipients) {
				t.Errorf("the host has %d messages and %d are delivered, want one to all", n, len(o.of(delivery.Delivered)))
			}
		})
	})
}

// TestTimeOfDNS: the events of an attempt tell how long the route was looked up before.
func TestTimeOfDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
		o.agent.Sender.Resolver = laterResolver{o.net}
		o.start()
		o.submit(message("u@e.test"))
		pass(time.Minute)
		got := o.of(delivery.Delivered)
		if len(got) != 1 || got[0].Stages.DNS < 3*time.Second {
			t.Errorf("delivered %+v, want one after 3 s or more of DNS", got)
		}
	})
}

// laterResolver takes three seconds for each question.
type laterResolver struct{ mx.Resolver }

func (r laterResolver) Resolve(ctx context.Context, name string, t mx.Type) (mx.Answer, error) {
	pass(3 * time.Second)
	return r.Resolver.Resolve(ctx, name, t)
}
