package trust_test

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/mx"
)

// counted is a resolver that knows TLSA records of all hosts or none, and counts the
// questions.
type counted struct {
	tlsa  []mx.TLSA
	asked int
}

func (c *counted) Resolve(_ context.Context, name string, t mx.Type) (mx.Answer, error) {
	c.asked++
	if t == mx.TypeTLSA && len(c.tlsa) > 0 {
		return mx.Answer{Name: name, Status: mx.Success, TLSA: c.tlsa, Secure: true, TTL: time.Minute}, nil
	}
	return mx.Answer{Name: name, Status: mx.NoData, Secure: true, TTL: time.Minute}, nil
}

// TestReuse: that nothing asks for anything of a host is remembered for as long as Reuse
// says, of this host alone, and by these rules; what asks for something is not.
func TestReuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &counted{}
		s := &trust.Source{Resolver: dns, Reuse: 2 * time.Second}
		ask := func(domain, host, addr string) delivery.TLSPolicy {
			t.Helper()
			p, err := s.TLSPolicy(t.Context(), &mx.Route{Domain: domain, Via: mx.ViaMX, Secure: true}, &mx.Host{
				Name: host, Target: host, Port: 25, Addrs: []netip.Addr{netip.MustParseAddr(addr)}, Secure: mx.Secure, NameSecure: mx.Secure,
			})
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		inquiries := func(name string, want bool, what func()) {
			t.Helper()
			before := dns.asked
			if what(); dns.asked > before != want {
				t.Errorf("%s: an inquiry was made: %t, want %t", name, !want, want)
			}
		}
		none := func() {
			if p := ask("e.test", "mx.e.test", "192.0.2.1"); p.Level > mx.TLSMay || p.Basis != "" || p.Judge == nil || p.Judge(&delivery.Handshake{Host: "mx.e.test"}) == nil {
				t.Errorf("%+v, want a policy that asks for nothing and judges", p)
			}
		}
		inquiries("the first", true, none)
		inquiries("the second", false, none)
		inquiries("another address", true, func() { ask("e.test", "mx.e.test", "192.0.2.2") })
		inquiries("another host", true, func() { ask("e.test", "mx2.e.test", "192.0.2.1") })
		inquiries("another domain", true, func() { ask("f.test", "mx.e.test", "192.0.2.1") })
		inquiries("the address before", true, none)
		<-time.After(2*time.Second - 1)
		inquiries("a moment before the end", false, none)
		<-time.After(1)
		inquiries("the end", true, none)
		if err := s.SetRules([]trust.Rule{{Match: delivery.Match{Domain: "e.test"}, Level: trust.Verify}}); err != nil {
			t.Fatal(err)
		}
		if p := ask("e.test", "mx.e.test", "192.0.2.1"); p.Level != mx.TLSVerify {
			t.Errorf("the level is %v when a rule wants verify", p.Level)
		}
		if err := s.SetRules(nil); err != nil {
			t.Fatal(err)
		}
		inquiries("without the rule", true, none)
		dns.tlsa = []mx.TLSA{{Usage: 3, Selector: 1, MatchingType: 1, Data: make([]byte, 32)}}
		<-time.After(2 * time.Second)
		for _, n := range []string{"first", "second"} {
			inquiries("the "+n+" with records", true, func() {
				if p := ask("e.test", "mx.e.test", "192.0.2.1"); p.Source != "dane" {
					t.Errorf("%+v, want that of the records", p)
				}
			})
		}
	})
	t.Run("not without it", func(t *testing.T) {
		dns := &counted{}
		s := &trust.Source{Resolver: dns}
		for range 2 {
			before := dns.asked
			if _, err := s.TLSPolicy(t.Context(), &mx.Route{Domain: "e.test", Via: mx.ViaMX}, &mx.Host{Name: "mx.e.test", Target: "mx.e.test"}); err != nil || dns.asked == before {
				t.Errorf("%d questions, %v", dns.asked-before, err)
			}
		}
	})
}
