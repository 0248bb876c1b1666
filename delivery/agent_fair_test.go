package delivery_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

const twoWorlds = `
$TTL 86400
good.test.     MX 10 mx.good.test.
mx.good.test.  A  192.0.2.1
bad.test.      MX 10 mx.bad.test.
mx.bad.test.   A  192.0.2.2
`

// goodTime is how long n messages to good.test take beside so many to bad.test,
// whose host is the one given, submitted before them. It also answers how many
// deliveries the agent held in memory at most.
func goodTime(t *testing.T, bad *smtptest.Host, link smtptest.Link, backlog int) (took time.Duration, claimed int) {
	synctest.Test(t, func(t *testing.T) {
		good := &smtptest.Host{Extensions: full()}
		o := newOffice(t, &smtptest.Internet{
			Zone:  twoWorlds,
			Hosts: map[string]*smtptest.Host{"mx.good.test": good, "mx.bad.test": bad},
			Links: map[string]smtptest.Link{"mx.good.test": {Latency: 50 * time.Millisecond}, "mx.bad.test": link},
		})
		o.agent.Settings.Warn = -1
		for i := range backlog {
			o.submit(message(fmt.Sprintf("u%d@bad.test", i)))
		}
		o.start()
		pass(time.Minute)
		const n = 500
		began := time.Now()
		for i := range n {
			o.submit(message(fmt.Sprintf("u%d@good.test", i)))
		}
		for len(good.Messages()) < n {
			if time.Since(began) > time.Hour {
				t.Fatalf("%d of %d arrived in an hour", len(good.Messages()), n)
			}
			pass(100 * time.Millisecond)
			claimed = max(claimed, o.agent.Stats().Claimed)
		}
		took = time.Since(began)
	})
	return took, claimed
}

func TestFairness(t *testing.T) {
	alone, _ := goodTime(t, &smtptest.Host{}, smtptest.Link{}, 0)
	for _, c := range []struct {
		name string
		host *smtptest.Host
		link smtptest.Link
	}{
		{"is dead", &smtptest.Host{}, smtptest.Link{Fault: smtptest.ConnRefused}},
		{"is a black hole", &smtptest.Host{}, smtptest.Link{Fault: smtptest.BlackHole}},
		{"is a tar pit", &smtptest.Host{
			Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Mail, Delay: 4 * time.Minute}},
		}, smtptest.Link{}},
		{"defers every connection", &smtptest.Host{
			Script: []smtptest.Cue{{At: smtptest.Banner, Reply: "421 4.3.2 no", Then: smtptest.Close}},
		}, smtptest.Link{}},
		{"defers every message", &smtptest.Host{
			Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Mail, Reply: "451 4.3.0 no"}},
		}, smtptest.Link{}},
		{"defers every recipient", &smtptest.Host{
			Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: "450 4.2.0 no"}},
		}, smtptest.Link{}},
		{"hangs up after the content", &smtptest.Host{
			Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Final, Then: smtptest.Close}},
		}, smtptest.Link{}},
	} {
		t.Run("QUE-13 a destination with a backlog whose host "+c.name+" slows no other", func(t *testing.T) {
			took, claimed := goodTime(t, c.host, c.link, 1500)
			if ratio := float64(alone) / float64(took); ratio < 0.9 {
				t.Errorf("%v for the others, %v without the backlog: ratio %.2f, want 0.9", took, alone, ratio)
			}
			if claimed > 900 {
				t.Errorf("%d deliveries in memory", claimed)
			}
		})
	}
}

func TestEqualHosts(t *testing.T) {
	const equals = `
$TTL 86400
e.test.      MX 10 fast.e.test.
e.test.      MX 10 slow.e.test.
e.test.      MX 20 spare.e.test.
fast.e.test. A 192.0.2.1
slow.e.test. A 192.0.2.2
spare.e.test. A 192.0.2.3
`
	t.Run("QUE-13 SMTP-42 the slow one of two equal hosts does not attract the connections", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			fast := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Final, Delay: 10 * time.Millisecond}}}
			slow := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Final, Delay: 10 * time.Second}}}
			spare := &smtptest.Host{Extensions: full()}
			o := newOffice(t, &smtptest.Internet{Zone: equals, Hosts: map[string]*smtptest.Host{
				"fast.e.test": fast, "slow.e.test": slow, "spare.e.test": spare,
			}})
			o.start()
			const n = 2000
			for i := range n {
				o.submit(message(fmt.Sprintf("u%d@e.test", i)))
			}
			pass(30 * time.Second)
			if got := len(fast.Messages()); got < n-200 {
				t.Errorf("the fast host has %d of %d messages after 30 s, the slow one %d", got, n, len(slow.Messages()))
			}
			if got := len(spare.Messages()); got != 0 {
				t.Errorf("the host of higher preference has %d messages", got)
			}
			pass(10 * time.Minute)
			if got := len(o.of(delivery.Delivered)); got != n {
				t.Errorf("%d delivered, want %d", got, n)
			}
		})
	})
}

func TestFairMessages(t *testing.T) {
	t.Run("QUE-13 a message to thousands of destinations does not keep the next one waiting", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const n = 600
			host := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Final, Delay: time.Second}}}
			o := newOffice(t, &smtptest.Internet{
				Zone:  domains(n, "mx.test.") + "mx.good.test. A 192.0.2.9\ngood.test. MX 10 mx.good.test.\n",
				Hosts: map[string]*smtptest.Host{"mx.test": host, "mx.good.test": {Extensions: full()}},
			})
			o.agent.Settings.Limits.Recipients = 1
			var to []string
			for i := range n {
				to = append(to, fmt.Sprintf("u@d%d.test", i))
			}
			o.submit(message(to...))
			o.submit(message("u@good.test"))
			o.start()
			pass(3 * time.Second)
			got := o.of(delivery.Delivered)
			good := 0
			for _, e := range got {
				if e.Destination == "good.test" {
					good++
				}
			}
			if good != 1 {
				t.Errorf("%d of %d delivered after 3 s, and not the message behind", len(got), n)
			}
			pass(24 * time.Hour)
			if got := len(o.of(delivery.Delivered)); got != n+1 {
				t.Errorf("%d delivered, want %d", got, n+1)
			}
		})
	})
}
