package delivery_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// tabled makes an office's agent go by a table of smart hosts.
func tabled(t *testing.T, o *office, rules smarthost.Rules) *smarthost.Table {
	t.Helper()
	table := &smarthost.Table{Router: &mx.Router{Resolver: o.net}}
	if err := table.Set(rules); err != nil {
		t.Fatal(err)
	}
	o.agent.Sender.Router = table
	return table
}

// TestAgentFallback: an agent turns to the fallback hosts in the same attempt, for
// domains whose hosts are down and for those DNS is silent about.
func TestAgentFallback(t *testing.T) {
	const domains = 40
	var zone strings.Builder
	zone.WriteString("last.relay.test. A 192.0.2.200\n")
	for i := range domains {
		fmt.Fprintf(&zone, "d%d.test. MX 10 mx.d%d.test.\nmx.d%d.test. A 192.0.2.%d\n", i, i, i, i+1)
	}
	for _, c := range []struct {
		name string
		rule mxtest.Rule
	}{
		{"QUE-14 hosts that are down", mxtest.Rule{Name: "none.test"}},
		{"QUE-14 MX records without an answer", mxtest.Rule{Type: mx.TypeMX, Fault: mxtest.ServFail}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				last := &smtptest.Host{}
				o := newOffice(t, &smtptest.Internet{
					Zone: zone.String(), Rules: []mxtest.Rule{c.rule}, Hosts: map[string]*smtptest.Host{"last.relay.test": last},
				})
				tabled(t, o, smarthost.Rules{Fallback: smart(t, "[last.relay.test]")})
				o.start()
				for i := range domains {
					o.submit(message(fmt.Sprintf("u@d%d.test", i)))
				}
				pass(time.Minute)
				if n := len(last.Messages()); n != domains || o.left() != 0 {
					t.Errorf("the fallback has %d of %d messages, %d are left", n, domains, o.left())
				}
			})
		})
	}
	t.Run("QUE-14 nobody is there: later, and not lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			last := &smtptest.Host{}
			o := newOffice(t, &smtptest.Internet{
				Zone: zone.String(), Hosts: map[string]*smtptest.Host{"last.relay.test": last},
			})
			o.net.Cut("last.relay.test")
			tabled(t, o, smarthost.Rules{Fallback: smart(t, "[last.relay.test]")})
			o.start()
			o.submit(message("u@d1.test"))
			pass(time.Hour)
			if len(last.Messages()) != 0 || len(o.of(delivery.Deferred)) == 0 {
				t.Error("it arrived, or was not deferred")
			}
			o.net.Heal("last.relay.test")
			pass(4 * time.Hour)
			if len(last.Messages()) != 1 || o.left() != 0 {
				t.Errorf("%d messages arrived, %d are left", len(last.Messages()), o.left())
			}
		})
	})
}

// TestAgentOtherRules: what is in the queue goes by the rules in force at its next
// attempt.
func TestAgentOtherRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		right := &smtptest.Host{}
		o := newOffice(t, &smtptest.Internet{
			Zone:  "right.relay.test. A 192.0.2.2",
			Hosts: map[string]*smtptest.Host{"right.relay.test": right},
		})
		table := tabled(t, o, smarthost.Rules{Default: smart(t, "[wrong.relay.test]")})
		o.start()
		o.submit(message("u@e.test"))
		pass(time.Minute)
		if o.left() != 1 {
			t.Fatal("a smart host without an address took the message, or bounced it")
		}
		if err := table.Set(smarthost.Rules{Default: smart(t, "[right.relay.test]")}); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Hour)
		if len(right.Messages()) != 1 || o.left() != 0 {
			t.Errorf("%d messages arrived, %d are left", len(right.Messages()), o.left())
		}
	})
}
