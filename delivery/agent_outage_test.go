package delivery_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// single is a world of one host.
const single = `
$TTL 300
$ORIGIN e.test.
@    MX 10 mx1
mx1  A  192.0.2.1
@    SOA ns.e.test. hostmaster.e.test. 1 3600 600 86400 60
`

// visits are the times of connection attempts since the office opened.
func (o *office) visits() (list []time.Duration) {
	for _, d := range o.net.Network().Dials() {
		list = append(list, d.At.Sub(o.began))
	}
	return list
}

func TestOutage(t *testing.T) {
	t.Run("QUE-11 a thousand messages wait for one host's timer, and start at once when it is back", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			host := &smtptest.Host{Extensions: full()}
			o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
			if err := o.net.Network().SetServer("192.0.2.1", nil); err != nil {
				t.Fatal(err)
			}
			o.start()
			const n = 1000
			for i := range n {
				o.submit(message(fmt.Sprintf("u%d@e.test", i)))
			}
			pass(23 * time.Hour)
			// 0, 5 m, 20 m, 50 m, 1:50, 3:50, 7:50, 11:50, 15:50, 19:50
			if got := len(o.visits()); got < 10 || got > 14 {
				t.Errorf("%d connection attempts in 23 hours, want the ten of one message: %v", got, o.visits())
			}
			if got := len(o.of(delivery.Deferred)); got > 20 {
				t.Errorf("%d deferrals: messages that wait were charged an attempt", got)
			}
			if err := o.net.Network().SetServer("192.0.2.1", host); err != nil {
				t.Fatal(err)
			}
			pass(time.Hour) // the next attempt is at 23:50
			if got := len(o.of(delivery.Delivered)); got < n-20 {
				t.Errorf("%d delivered within the hour, want all but those with an attempt of their own later", got)
			}
			pass(5 * time.Hour)
			if got := len(o.of(delivery.Delivered)); got != n || o.left() != 0 {
				t.Errorf("%d delivered, %d left", got, o.left())
			}
			if got := len(host.Messages()); got != n {
				t.Errorf("the host has %d messages, want %d", got, n)
			}
		})
	})
	t.Run("QUE-7 QUE-8 the published schedule is the observed one for five days", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, &smtptest.Internet{Zone: single})
			o.agent.Settings.Warn = -1
			o.start()
			o.submit(message("u@e.test"))
			pass(6 * 24 * time.Hour)
			var want []time.Duration
			at := time.Duration(0)
			for n := 1; at < 5*24*time.Hour; n++ {
				want = append(want, at)
				at += delivery.DefaultSchedule().Delay(delivery.Retry{Attempts: n})
			}
			got := o.visits()
			if len(got) != len(want) {
				t.Fatalf("%d attempts, want %d: %v", len(got), len(want), got)
			}
			for i := range got {
				if d := got[i] - want[i]; d < 0 || d > time.Second {
					t.Errorf("attempt %d after %v, want %v", i+1, got[i], want[i])
				}
			}
			gone := o.of(delivery.Expired)
			if len(gone) != 1 || gone[0].Time.Sub(o.began).Round(time.Minute) != 5*24*time.Hour {
				t.Errorf("expired %v, want once after five days", gone)
			}
			if o.left() != 0 {
				t.Errorf("%d deliveries are left", o.left())
			}
		})
	})
	t.Run("MX-23 a preferred host that is a black hole costs its timeout once per back-off", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			second := &smtptest.Host{Extensions: full()}
			o := newOffice(t, &smtptest.Internet{
				Zone:  zone,
				Hosts: map[string]*smtptest.Host{"mx2.e.test": second},
				Links: map[string]smtptest.Link{"192.0.2.1": {Fault: smtptest.BlackHole}},
			})
			o.start()
			const n = 600 // one a second
			var slow int
			for i := range n {
				o.submit(message(fmt.Sprintf("u%d@e.test", i)))
				pass(time.Second)
			}
			pass(time.Minute)
			arrived := o.of(delivery.Delivered)
			if len(arrived) != n {
				t.Fatalf("%d delivered, want %d", len(arrived), n)
			}
			queued := map[string]time.Time{}
			for _, e := range o.of(delivery.Queued) {
				queued[e.ID] = e.Time
			}
			for _, e := range arrived {
				if e.Time.Sub(queued[e.ID]) > time.Second {
					slow++
				}
			}
			dead := strings.Count(strings.Join(o.net.Visits(), " "), "192.0.2.1:25")
			// The first failure may hold up those that came meanwhile; then 15 s,
			// 30 s, 1, 2 and 5 minutes pass between probes of one message each.
			if dead > 8 {
				t.Errorf("the dead host was dialled %d times in ten minutes", dead)
			}
			if slow > 40 {
				t.Errorf("%d of %d messages waited for the dead host", slow, n)
			}
		})
	})
}
