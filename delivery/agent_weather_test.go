package delivery_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// TestWeather: links that are slow and lose a fifth of what is sent, and
// networks that are cut and healed while mail flows. Everything arrives, at the
// best host that can be reached, and twice only where an outcome was unknown.
func TestWeather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A host that is cut off in a dialogue does not see its end.
		first := &smtptest.Host{Extensions: full(), Allow: []smtptest.Rule{smtptest.RuleNoQuit, smtptest.RuleQuitWait}}
		second := &smtptest.Host{Extensions: full(), Allow: []smtptest.Rule{smtptest.RuleNoQuit, smtptest.RuleQuitWait}}
		o := newOffice(t, &smtptest.Internet{
			Zone: "e.test. MX 10 mx1.e.test.\ne.test. MX 20 mx2.e.test.\n" +
				"mx1.e.test. A 192.0.2.1\nmx2.e.test. A 198.51.100.1",
			Hosts: map[string]*smtptest.Host{"mx1.e.test": first, "mx2.e.test": second},
		})
		for _, host := range []string{"mx1.e.test", "mx2.e.test"} {
			if err := o.net.SetLink(host, smtptest.Link{Latency: 100 * time.Millisecond, Loss: 0.2}); err != nil {
				t.Fatal(err)
			}
		}
		o.start()
		sent := 0
		phase := func(name string, cut, heal []string, lasts time.Duration, want ...int) {
			if err := o.net.Cut(cut...); err != nil {
				t.Fatal(err)
			}
			if err := o.net.Heal(heal...); err != nil {
				t.Fatal(err)
			}
			before := [2]int{len(first.Messages()), len(second.Messages())}
			for range 20 {
				sent++
				o.submit(message(fmt.Sprintf("u%d@e.test", sent)))
				<-time.After(50 * time.Millisecond) // some are under way when the next phase begins
			}
			<-time.After(lasts)
			got := [2]int{len(first.Messages()) - before[0], len(second.Messages()) - before[1]}
			if (got[0] > 0) != (want[0] > 0) && want[0] >= 0 || (got[1] > 0) != (want[1] > 0) && want[1] >= 0 {
				t.Errorf("%s: %d arrived at the first host and %d at the second", name, got[0], got[1])
			}
		}
		const some, either = 1, -1
		phase("fair", nil, nil, 0, some, 0)
		phase("the first network is cut", []string{"192.0.2.0/24"}, nil, time.Hour, 0, some)
		phase("both are", []string{"198.51.100.0/24"}, nil, 24*time.Hour, 0, 0)
		phase("all is healed", nil, []string{"192.0.2.0/24", "198.51.100.0/24"}, 24*time.Hour, either, either)
		// While one connection finds out how the first host is, others pass it over.
		phase("fair again", nil, nil, time.Hour, some, either)

		if n := o.left(); n != 0 {
			t.Errorf("%d deliveries are left", n)
		}
		copies := map[string]int{}
		for _, h := range []*smtptest.Host{first, second} {
			for _, m := range h.Messages() {
				for _, to := range m.To() {
					copies[to]++
				}
			}
		}
		doubles := 0
		for i := 1; i <= sent; i++ {
			n := copies[fmt.Sprintf("u%d@e.test", i)]
			if n == 0 {
				t.Errorf("u%d@e.test has nothing", i)
			}
			doubles += max(n-1, 0)
		}
		if unknown := len(o.of(delivery.UnknownOutcome)); doubles > unknown {
			t.Errorf("%d second copies, and %d unknown outcomes", doubles, unknown)
		}
		o.net.Check(t)
	})
}
