package delivery_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// equals is zone text for two hosts of the same preference.
const equals = "e.test. MX 10 one.e.test.\ne.test. MX 10 two.e.test.\n" +
	"one.e.test. A 192.0.2.1\ntwo.e.test. A 192.0.2.2"

// TestSpread: equal hosts have equal parts of the mail, kept sessions or not, and
// the slower one does not get in the way of the other.
func TestSpread(t *testing.T) {
	t.Run("MX-16 a kept session does not decide between equals", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			one, two := &smtptest.Host{Extensions: full()}, &smtptest.Host{Extensions: full()}
			o := newOffice(t, &smtptest.Internet{
				Zone: equals, Hosts: map[string]*smtptest.Host{"one.e.test": one, "two.e.test": two},
			})
			o.start()
			const n = 400
			for i := range n {
				o.submit(message(fmt.Sprintf("u%d@e.test", i)))
				pass(time.Second)
			}
			// 140 to 260 of 400 leaves a fair draw out once in 10^9 runs.
			if a, b := len(one.Messages()), len(two.Messages()); a+b != n || a < 140 || b < 140 {
				t.Errorf("%d and %d of %d messages, want about half each", a, b, n)
			}
			if got := len(o.visits()); got > n/10 {
				t.Errorf("%d connections for %d messages", got, n)
			}
		})
	})
	t.Run("QUE-13 the slower of two equals does not hold up the other", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			slow := &smtptest.Host{
				Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Final, Delay: 30 * time.Second}},
			}
			fast := &smtptest.Host{Extensions: full()}
			o := newOffice(t, &smtptest.Internet{
				Zone: equals, Hosts: map[string]*smtptest.Host{"one.e.test": slow, "two.e.test": fast},
			})
			o.agent.Settings.Limits.PerSite = 10
			o.start()
			const n = 1000
			for i := range n {
				o.submit(message(fmt.Sprintf("u%d@e.test", i)))
			}
			pass(2 * time.Minute)
			if got := len(o.of(delivery.Delivered)); got < n-20 {
				t.Errorf("%d of %d delivered in two minutes", got, n)
			}
			if got := len(slow.Messages()); got > 60 {
				t.Errorf("the slow host has %d messages", got)
			}
		})
	})
	t.Run("QUE-13 hosts that are equal share connections, a dead one apart", func(t *testing.T) {
		synctest.Test(t, spreadBesideADeadHost)
	})
}

func spreadBesideADeadHost(t *testing.T) {
	hosts := map[string]*smtptest.Host{"one.e.test": slowHost(time.Minute), "two.e.test": slowHost(time.Minute)}
	o := newOffice(t, &smtptest.Internet{
		Zone: equals + "\ne.test. MX 10 dead.e.test.\ndead.e.test. A 192.0.2.3\n", Hosts: hosts,
	})
	o.agent.Settings.Limits.PerSite = 6
	o.start()
	for i := range 1000 {
		o.submit(message(fmt.Sprintf("u%d@e.test", i)))
	}
	pass(10*time.Minute + 30*time.Second)
	const looks = 60
	seen := make(map[string]int)
	for range looks {
		pass(time.Minute)
		var busy []int
		for _, name := range []string{"one.e.test", "two.e.test"} {
			n := 0
			for _, c := range hosts[name].Connections() {
				if c.Closed.IsZero() {
					n++
				}
			}
			busy = append(busy, n)
		}
		seen[fmt.Sprint(busy)]++
	}
	// A draw for each connection gives each half of them in 3 of 10 looks. Here this fails
	// only in moments in which the dead host is tried again.
	if seen["[3 3]"] < looks*3/4 {
		t.Errorf("connections: %v, want three of six at each", seen)
	}
}
