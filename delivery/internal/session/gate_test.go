package session

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// TestGateForgets: a gate remembers nothing of sites, hosts and addresses that have
// no connection, however their connections were used.
func TestGateForgets(t *testing.T) {
	g := NewGate(func() Limits { return Limits{Connections: 9, PerSite: 9, PerHost: 9, PerAddress: 9} })
	enter := func(site, host, addr string) *pass {
		p := &pass{gate: g, site: site, host: host, addr: netip.MustParseAddr(addr)}
		if g.join(p, key{}) != nil {
			t.Fatal("there is no room")
		}
		return p
	}
	first, second := enter("a", "mx1", "192.0.2.1"), enter("a", "mx2", "192.0.2.2")
	first.rest()
	first.resume("b")
	second.rest()
	second.resume("")
	if g.Size() != 2 || g.sites["a"] != 1 || g.sites["b"] != 1 || len(g.sites) != 2 {
		t.Errorf("%d connections, %v by site", g.Size(), g.sites)
	}
	second.rest()
	second.resume("b")
	if len(g.sites) != 1 || g.sites["b"] != 2 {
		t.Errorf("connections are %v by site, want 2 of b", g.sites)
	}
	first.leave()
	second.leave()
	if g.Size() != 0 || len(g.sites) != 0 || len(g.hosts) != 0 || len(g.addrs) != 0 {
		t.Errorf("%d connections, %v by site, %v by host, %v by address; want none", g.Size(), g.sites, g.hosts, g.addrs)
	}
}

// TestMostRecipients is how many recipients a transaction may have by the limits.
func TestMostRecipients(t *testing.T) {
	g := NewGate(func() Limits { return Limits{Recipients: 7} })
	if n := (&Session{}).MostRecipients(); n != 0 {
		t.Errorf("%d where there are no limits, want 0", n)
	}
	if n := (&Session{pass: &pass{gate: g}}).MostRecipients(); n != 7 {
		t.Errorf("%d, want 7", n)
	}
}

// TestTLSConfigIsOurs: what the application's configuration may not have is taken out
// of it: certificates for all, renegotiation, and a memory that goes by names alone.
func TestTLSConfigIsOurs(t *testing.T) {
	given := &tls.Config{
		Renegotiation: tls.RenegotiateFreelyAsClient, ClientSessionCache: tls.NewLRUClientSessionCache(1),
		Certificates:         make([]tls.Certificate, 1),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return nil, nil },
	}
	c := &Config{TLSConfig: given}
	certificate := &tls.Certificate{}
	for name, login := range map[string]mx.Login{
		"no login": nil, "a password": &smarthost.Login{User: "u", Password: "p"}, "a certificate": &smarthost.Login{Certificate: certificate},
	} {
		t.Run("TLS-8 "+name, func(t *testing.T) {
			got := c.tlsConfig(&Hop{Host: &mx.Host{Name: "mx.e.test", Login: login}, Policy: &Policy{Level: mx.TLSVerify, ServerName: "mx.e.test"}}, nil)
			shows := name == "a certificate"
			if got.Renegotiation != tls.RenegotiateNever || got.Certificates != nil || got.ServerName != "mx.e.test" {
				t.Errorf("%+v", got)
			}
			if got.ClientSessionCache != nil || (got.GetClientCertificate != nil) != shows {
				t.Errorf("sessions are kept: %t, a certificate is shown: %t", got.ClientSessionCache != nil, got.GetClientCertificate != nil)
			}
			if !shows {
				return
			}
			if shown, err := got.GetClientCertificate(nil); shown != certificate || err != nil {
				t.Errorf("shows %p (%v), want %p", shown, err, certificate)
			}
		})
	}
	if given.Renegotiation != tls.RenegotiateFreelyAsClient || given.Certificates == nil || given.ClientSessionCache == nil {
		t.Error("the application's own configuration was changed")
	}
}

// TestWhatIsShown: a login's certificate is presented in place of the policy's, and that one
// if the login has none.
func TestWhatIsShown(t *testing.T) {
	ofLogin, ofPolicy := &tls.Certificate{}, &tls.Certificate{}
	for _, c := range []struct {
		login  mx.Login
		policy *tls.Certificate
		want   *tls.Certificate
	}{
		{nil, nil, nil}, {nil, ofPolicy, ofPolicy}, {&smarthost.Login{User: "u"}, ofPolicy, ofPolicy},
		{&smarthost.Login{Certificate: ofLogin}, nil, ofLogin}, {&smarthost.Login{Certificate: ofLogin}, ofPolicy, ofLogin},
	} {
		if got := (&Hop{Host: &mx.Host{Login: c.login}, Policy: &Policy{Certificate: c.policy}}).shows(); got != c.want {
			t.Errorf("login %v, policy %p: %p, want %p", c.login, c.policy, got, c.want)
		}
	}
}

// TestSpreadOrder is in which order a site tries hosts of equal preference.
func TestSpreadOrder(t *testing.T) {
	type open struct{ busy, idle int }
	for _, c := range []struct {
		name   string
		limits Limits
		share  int
		open   map[string]open
		want   string
	}{
		{"nothing is open", Limits{9, 9, 9, 9, 0, 0, 0, nil}, 2, nil, "a b c d e f"},
		{"one has its share", Limits{9, 9, 9, 9, 0, 0, 0, nil}, 2, map[string]open{"a": {busy: 2}}, "b c a d e f"},
		{"one has less than its share", Limits{9, 9, 9, 9, 0, 0, 0, nil}, 2, map[string]open{"a": {busy: 1}}, "a b c d e f"},
		{"sessions to spare do not count", Limits{9, 9, 9, 9, 0, 0, 0, nil}, 2, map[string]open{"a": {busy: 1, idle: 1}}, "a b c d e f"},
		{"the limit of a host is below the share", Limits{9, 9, 1, 9, 0, 0, 0, nil}, 2, map[string]open{"a": {busy: 1}}, "b c a d e f"},
		{"while there is room, one to spare does not come first", Limits{9, 9, 9, 9, 0, 0, 0, nil}, 9, map[string]open{"b": {idle: 1}}, "a b c d e f"},
		{"there is no more room in total", Limits{1, 9, 9, 9, 0, 0, 0, nil}, 9, map[string]open{"b": {idle: 1}}, "b a c d e f"},
		{"there is no more room for the site", Limits{9, 1, 9, 9, 0, 0, 0, nil}, 9, map[string]open{"b": {idle: 1}}, "b a c d e f"},
		{"no room, one to spare, and one with its share", Limits{9, 3, 9, 9, 0, 0, 0, nil}, 2, map[string]open{"a": {busy: 2}, "c": {idle: 1}}, "c b a d e f"},
		{"preference stands", Limits{9, 9, 9, 9, 0, 0, 0, nil}, 1, map[string]open{"a": {busy: 1}, "d": {busy: 1}}, "b c a d e f"},
		{"equals of a later preference", Limits{9, 9, 9, 9, 0, 0, 0, nil}, 1, map[string]open{"e": {busy: 1}}, "a b c d f e"},
	} {
		t.Run("MX-16 QUE-13 "+c.name, func(t *testing.T) {
			g := NewGate(func() Limits { return Limits{Connections: 99, PerSite: 99, PerHost: 99, PerAddress: 99} })
			for host, n := range c.open {
				for i := range n.busy + n.idle {
					p := &pass{gate: g, site: "site", host: host, addr: netip.MustParseAddr("192.0.2.1")}
					if g.join(p, key{}) != nil {
						t.Fatal("there is no room")
					}
					if i >= n.busy {
						p.rest()
					}
				}
			}
			g.limits = func() Limits { return c.limits }
			hosts := []mx.Host{
				{Name: "a", Preference: 10}, {Name: "b", Preference: 10}, {Name: "c", Preference: 10},
				{Name: "d", Preference: 15}, {Name: "e", Preference: 20}, {Name: "f", Preference: 20},
			}
			names := func(list []mx.Host) string {
				var b strings.Builder
				for i := range list {
					b.WriteString(" " + list[i].Name)
				}
				return b.String()[1:]
			}
			var asked []string
			g.Spread(hosts, "site", func(equals []mx.Host) int {
				asked = append(asked, names(equals))
				return c.share
			})
			if got := names(hosts); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if want := []string{"a b c", "e f"}; !slices.Equal(asked, want) {
				t.Errorf("asked for the share of each of %q, want %q", asked, want)
			}
		})
	}
}
