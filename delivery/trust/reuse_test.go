package trust_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
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

// policied is a resolver that knows the MTA-STS records of all domains, and no other
// records. Nothing is signed.
type policied struct{ asked func() }

func (p *policied) Resolve(_ context.Context, name string, t mx.Type) (mx.Answer, error) {
	if t == mx.TypeTXT {
		if p.asked != nil {
			p.asked()
		}
		return mx.Answer{Name: name, Status: mx.Success, TXT: []string{"v=STSv1; id=1;"}, TTL: time.Minute}, nil
	}
	return mx.Answer{Name: name, Status: mx.NoData, TTL: time.Minute}, nil
}

// patient is a store of policies that ends with the context of its caller, as one over a
// network does.
type patient struct{ mtasts.Memory }

func (p *patient) Load(ctx context.Context, domain string) (mtasts.Entry, error) {
	if err := ctx.Err(); err != nil {
		return mtasts.Entry{}, err
	}
	return p.Memory.Load(ctx, domain)
}

// flaky is a store of proofs that can fail.
type flaky struct {
	trust.ProofMemory
	fails error
}

func (f *flaky) Load(ctx context.Context, of trust.ProofKey) (trust.Proof, error) {
	if f.fails != nil {
		return trust.Proof{}, f.fails
	}
	return f.ProofMemory.Load(ctx, of)
}

// TestNotReused: an inquiry that did not find out what is asked for is made again for the
// next message, which it does not let go in clear.
func TestNotReused(t *testing.T) {
	route, host := &mx.Route{Domain: "e.test", Via: mx.ViaMX}, &mx.Host{Name: "mx.e.test", Target: "mx.e.test", Port: 25}
	clear := delivery.Handshake{Host: "mx.e.test", Addr: netip.MustParseAddrPort("192.0.2.1:25")}
	t.Run("its context ended", func(t *testing.T) {
		store := &patient{}
		lines := []string{"version: STSv1", "mode: enforce", "mx: mx.e.test", "max_age: 86400"}
		policy, err := mtasts.ParsePolicy([]byte(strings.Join(lines, "\n") + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Save(t.Context(), mtasts.Entry{Domain: "e.test", ID: "1", Policy: policy, Fetched: time.Now(), Used: time.Now()}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		s := &trust.Source{Resolver: &policied{cancel}, Store: store, Reuse: time.Hour}
		_, _ = s.TLSPolicy(ctx, route, host)
		p, err := s.TLSPolicy(t.Context(), route, host)
		if err != nil || p.Level != mx.TLSVerify || p.Judge(&clear).Accepted {
			t.Errorf("%+v, %v, want the policy of mode enforce", p, err)
		}
	})
	t.Run("the store of proofs failed", func(t *testing.T) {
		proofs := &flaky{}
		if err := proofs.Save(t.Context(), trust.Proof{ProofKey: trust.ProofKey{Domain: "e.test", By: "mta-sts"}, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		s := &trust.Source{Resolver: &counted{}, Proofs: proofs, Ratchet: trust.Refuse, Reuse: time.Hour}
		proofs.fails = errors.New("too many open files")
		_, _ = s.TLSPolicy(t.Context(), route, host)
		proofs.fails = nil
		p, err := s.TLSPolicy(t.Context(), route, host)
		if err == nil && p.Judge(&clear).Accepted {
			t.Errorf("%+v, want what holds back mail to a host that was authenticated", p)
		}
	})
	t.Run("DNS failed", func(t *testing.T) {
		dns := &failing{}
		s := &trust.Source{Resolver: dns, NoDANE: true, Reuse: time.Hour}
		for range 2 {
			before := dns.asked
			if _, err := s.TLSPolicy(t.Context(), route, host); err != nil || dns.asked == before {
				t.Errorf("%d questions, %v, want some each time", dns.asked-before, err)
			}
		}
	})
}

// TestReuseAndSites: a rule about a site holds for a route whose hosts are one, though
// nothing asked for anything of the same host on another route a moment ago.
func TestReuseAndSites(t *testing.T) {
	s := &trust.Source{Resolver: &counted{}, Reuse: time.Hour, Rules: []trust.Rule{
		{Match: delivery.Match{Site: "mx.site.test"}, Level: trust.Verify},
	}}
	host := mx.Host{Name: "mx.site.test", Target: "mx.site.test", Port: 25}
	for range 2 {
		for level, hosts := range map[mx.TLSLevel][]mx.Host{
			mx.TLSDefault: {host, {Name: "mx.elsewhere.test"}},
			mx.TLSVerify:  {host},
		} {
			route := &mx.Route{Domain: "e.test", Via: mx.ViaSmartHost, Hosts: hosts}
			if p, err := s.TLSPolicy(t.Context(), route, &route.Hosts[0]); err != nil || p.Level != level {
				t.Errorf("with %d hosts the level is %v, %v, want %v", len(hosts), p.Level, err, level)
			}
		}
	}
}

// failing is a resolver that fails, and counts the questions.
type failing struct{ asked int }

func (f *failing) Resolve(_ context.Context, name string, t mx.Type) (mx.Answer, error) {
	f.asked++
	return mx.Answer{}, &mx.ResolveError{Name: name, Type: t, Kind: mx.ServFail}
}
