package trust_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
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

// TestReusedDecision: sessions of one kind without TLS are decided about once, and each
// other kind has a decision of its own, whichever came before.
func TestReusedDecision(t *testing.T) {
	s := &trust.Source{Resolver: &counted{}, Reuse: time.Minute}
	p, err := s.TLSPolicy(t.Context(), &mx.Route{Domain: "e.test", Via: mx.ViaMX, Secure: true}, &mx.Host{
		Name: "mx.e.test", Target: "mx.e.test", Port: 25, Secure: mx.Secure, NameSecure: mx.Secure,
	})
	if err != nil {
		t.Fatal(err)
	}
	here, there := netip.MustParseAddrPort("192.0.2.1:25"), netip.MustParseAddrPort("192.0.2.2:25")
	kinds := map[string]delivery.Handshake{
		"no STARTTLS":                 {Host: "mx.e.test", Addr: here, Local: netip.MustParseAddrPort("192.0.2.9:1"), Helo: "us.test"},
		"no STARTTLS at another host": {Host: "mx.e.test", Addr: there, Local: netip.MustParseAddrPort("192.0.2.9:1"), Helo: "us.test"},
		"from another address":        {Host: "mx.e.test", Addr: here, Local: netip.MustParseAddrPort("192.0.2.8:1"), Helo: "us.test"},
		"by another name":             {Host: "mx.e.test", Addr: here, Local: netip.MustParseAddrPort("192.0.2.9:1"), Helo: "them.test"},
		"STARTTLS was left out":       {Host: "mx.e.test", Addr: here, Local: netip.MustParseAddrPort("192.0.2.9:1"), Helo: "us.test", Offered: true},
		"TLS failed":                  {Host: "mx.e.test", Addr: here, Local: netip.MustParseAddrPort("192.0.2.9:1"), Helo: "us.test", Offered: true, Err: errors.New("no")},
		"the certificate is garbage":  {Host: "mx.e.test", Addr: here, Local: netip.MustParseAddrPort("192.0.2.9:1"), Helo: "us.test", Offered: true, Unparsable: true},
		"TLS":                         {Host: "mx.e.test", Addr: here, Local: netip.MustParseAddrPort("192.0.2.9:1"), Helo: "us.test", Offered: true, State: &tls.ConnectionState{Version: tls.VersionTLS13}},
	}
	fresh := func(h delivery.Handshake) string { // by a source that has decided nothing yet
		t.Helper()
		alone := &trust.Source{Resolver: &counted{}}
		p, err := alone.TLSPolicy(t.Context(), &mx.Route{Domain: "e.test", Via: mx.ViaMX, Secure: true}, &mx.Host{
			Name: "mx.e.test", Target: "mx.e.test", Port: 25, Secure: mx.Secure, NameSecure: mx.Secure,
		})
		if err != nil {
			t.Fatal(err)
		}
		return written(t, p.Judge(&h))
	}
	for first, a := range kinds {
		d := p.Judge(&a)
		a.Local = netip.AddrPortFrom(a.Local.Addr(), 2) // a further connection
		if again := p.Judge(&a); a.State == nil && a.Err == nil && !a.Unparsable && again != d {
			t.Errorf("%s: decided twice about sessions of one kind", first)
		}
		for second, b := range kinds {
			if got, want := written(t, p.Judge(&b)), fresh(b); got != want {
				t.Errorf("%s after %s:\n%s\nwant\n%s", second, first, got, want)
			}
			p.Judge(&a)
		}
	}
}

// written is a decision with all that it says.
func written(t *testing.T, d *delivery.Decision) string {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
