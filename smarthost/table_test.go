package smarthost_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// zone is the usual world.
const zone = `
$TTL 300
$ORIGIN e.test.
@      MX 10 mx1
@      MX 20 mx2
mx1    A  192.0.2.1
mx2    A  192.0.2.2
sub    MX 10 mx1
null   MX 0 .
$ORIGIN relay.test.
@      MX 10 in1
@      MX 20 in2
@      A  198.51.100.1
in1    A  198.51.100.11
in2    A  198.51.100.12
two    A  198.51.100.2
alias  CNAME two
none   TXT "no address here"
inside MX 10 lo
lo     A  127.0.0.1
$ORIGIN us.test.
@      A  203.0.113.1
`

// table is a Table on the usual world with rules in force.
func table(t *testing.T, r smarthost.Rules, rules ...mxtest.Rule) (*smarthost.Table, *mxtest.DNS) {
	t.Helper()
	dns := &mxtest.DNS{Zone: zone, Rules: rules}
	tab := &smarthost.Table{Router: &mx.Router{Resolver: dns, Self: []string{"us.test", "ours.test"}}}
	if err := tab.Set(r); err != nil {
		t.Fatal(err)
	}
	return tab, dns
}

// hosts are smart hosts by their notation.
func hosts(t testing.TB, notations ...string) []smarthost.Host {
	t.Helper()
	var list []smarthost.Host
	for _, n := range notations {
		h, err := smarthost.Parse(n)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, h)
	}
	return list
}

// describe is a route in a line: kind, then each host with port and addresses.
func describe(r mx.Route) string {
	var b strings.Builder
	b.WriteString(r.Via.String())
	for _, h := range r.Hosts {
		fmt.Fprintf(&b, " %s:%d%v", h.Name, h.Port, h.Addrs)
	}
	return b.String()
}

// TestPrecedence: the most specific rule wins, where mail goes before whom it comes
// from.
func TestPrecedence(t *testing.T) {
	at := func(port int) []smarthost.Host { return hosts(t, fmt.Sprintf("smtp://[198.51.100.1]:%d", port)) }
	rules := smarthost.Rules{
		Default: at(1),
		Special: []smarthost.Rule{
			{To: "E.test.", Hosts: at(2)},
			{To: ".e.test", Hosts: at(3)},
			{To: ".deep.e.test", Hosts: at(4)},
			{To: "sub.e.test", MX: true},
			{To: "e.test", From: "boss@from.test", Hosts: at(5)},
			{From: "Boss@from.test", Hosts: at(6)},
			{From: "from.test", Hosts: at(7)},
			{From: ".from.test", Hosts: at(8)},
			{From: ".a.from.test", Hosts: at(9)},
			{From: "<>", Hosts: at(10)},
			{To: "bücher.test", Hosts: at(11)},
			{To: "only.test", From: "boss@from.test", Hosts: at(12)},
			{To: "[192.0.2.5]", Hosts: at(13)},
		},
	}
	tab, _ := table(t, rules)
	for _, c := range []struct {
		name, from, domain string
		port               int // 0: by MX
	}{
		{"no rule but the default", "x@y.test", "z.test", 1},
		{"the domain itself", "x@y.test", "e.test", 2},
		{"in any spelling", "x@y.test", "E.TEST.", 2},
		{"where mail goes before whom it comes from", "x@from.test", "e.test", 2},
		{"a subdomain", "x@y.test", "a.e.test", 3},
		{"a name that only ends alike is none", "x@y.test", "fe.test", 1},
		{"the longest one", "x@y.test", "a.deep.e.test", 4},
		{"the pattern's own domain is no subdomain of it", "x@y.test", "deep.e.test", 3},
		{"an exemption is more specific than its parent", "x@y.test", "sub.e.test", 0},
		{"domain and sender", "boss@from.test", "e.test", 5},
		{"a sender", "boss@from.test", "z.test", 6},
		{"a sender in other case", "BOSS@From.Test", "z.test", 6},
		{"a sender's domain", "x@from.test", "z.test", 7},
		{"a sender's parent domain", "x@b.from.test", "z.test", 8},
		{"the longest of those", "x@b.a.from.test", "z.test", 9},
		{"the null reverse-path", "", "z.test", 10},
		{"a domain beyond ASCII", "x@y.test", "xn--bcher-kva.test", 11},
		{"a rule of whose parts one fits is passed over", "x@y.test", "only.test", 1},
		{"both fit", "boss@from.test", "only.test", 12},
		{"an address literal by default", "x@y.test", "[192.0.2.4]", 1},
		{"an address literal", "x@y.test", "[192.0.2.5]", 13},
		{"a domain that takes no mail", "x@y.test", "null.e.test", 3},
		{"a reverse-path that is none", "nonsense", "z.test", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			route, err := tab.Route(t.Context(), c.from, c.domain)
			if err != nil {
				t.Fatal(err)
			}
			if c.port == 0 {
				if got := describe(route); got != "mx mx1.e.test:0[192.0.2.1]" {
					t.Errorf("route %s, want MX", got)
				}
				return
			}
			if want := fmt.Sprintf("smarthost [198.51.100.1]:%d[198.51.100.1]", c.port); describe(route) != want {
				t.Errorf("route %s, want %s", describe(route), want)
			}
		})
	}
	t.Run("what is no domain is refused as ever", func(t *testing.T) {
		_, err := tab.Route(t.Context(), "x@y.test", "a..b")
		if e, ok := errors.AsType[*mx.Error](err); !ok || e.Kind != mx.BadDomain {
			t.Errorf("%v", err)
		}
	})
}

func TestRulesValidate(t *testing.T) {
	one := smarthost.Host{Name: "a.test"}
	err := smarthost.Rules{
		Default:  []smarthost.Host{{Name: "a..test", Login: &smarthost.Login{User: "u", Password: "hunter2"}}},
		Fallback: []smarthost.Host{one, {Name: "[192.0.2.1]", Lookup: smarthost.LookupMX}},
		Special: []smarthost.Rule{
			{To: "a..b", Hosts: []smarthost.Host{one}},
			{From: "a@b@c", Hosts: []smarthost.Host{one}},
			{To: "none.test"},
			{To: "both.test", MX: true, Hosts: []smarthost.Host{one}},
			{To: "twice.test", MX: true},
			{To: "TWICE.test", MX: true},
			{To: ".[192.0.2.1]", MX: true},
			{To: "a.test", Hosts: []smarthost.Host{one, {Name: "b.test", TLS: 9}}},
		},
	}.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, field := range []string{
		"Default[0]", "Fallback[1]", "Special[0].To", "Special[1].From", "Special[2].Hosts", "Special[3]", "Special[5]", "Special[6].To", "Special[7].Hosts[1]",
	} {
		if !strings.Contains(err.Error(), "smarthost.Rules."+field+":") {
			t.Errorf("nothing about %s in %v", field, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") || strings.Count(err.Error(), "\n") != 8 {
		t.Errorf("the error is %v", err)
	}
	tab, _ := table(t, smarthost.Rules{Default: []smarthost.Host{one}})
	if err := tab.Set(smarthost.Rules{Default: []smarthost.Host{{}}}); err == nil {
		t.Error("rules that make no sense were set")
	}
	if r := tab.Rules(); len(r.Default) != 1 || r.Default[0].Name != "a.test" {
		t.Errorf("the rules in force are %+v", r)
	}
}

// TestHops is what becomes of a rule's hosts.
func TestHops(t *testing.T) {
	dead := mxtest.Rule{Name: "dead.test", Fault: mxtest.ServFail}
	for _, c := range []struct {
		name    string
		hosts   []string
		want    string
		leftOut string
	}{
		{"MX-31 by address", []string{"smtp://relay.test:26"}, "smarthost relay.test:26[198.51.100.1]", ""},
		{"MX-31 by MX", []string{"smtp://relay.test:26?mx=1"}, "smarthost in1.relay.test:26[198.51.100.11] in2.relay.test:26[198.51.100.12]", ""},
		{"an address, on loopback too", []string{"smtp://[127.0.0.1]:26"}, "smarthost [127.0.0.1]:26[127.0.0.1]", ""},
		{"localhost", []string{"smtp://localhost"}, "smarthost localhost:25[::1 127.0.0.1]", ""},
		{"an alias keeps its name", []string{"smtp://alias.relay.test"}, "smarthost alias.relay.test:25[198.51.100.2]", ""},
		{"in the order given", []string{"smtp://two.relay.test", "smtp://relay.test"}, "smarthost two.relay.test:25[198.51.100.2] relay.test:25[198.51.100.1]", ""},
		{"by preference", []string{"smtp://two.relay.test?pref=2", "smtp://relay.test?pref=1"}, "smarthost relay.test:25[198.51.100.1] two.relay.test:25[198.51.100.2]", ""},
		{"without a preference in its place", []string{"smtp://[192.0.2.3]?pref=2", "smtp://[192.0.2.4]", "smtp://[192.0.2.5]?pref=1"},
			"smarthost [192.0.2.5]:25[192.0.2.5] [192.0.2.4]:25[192.0.2.4] [192.0.2.3]:25[192.0.2.3]", ""},
		{"one without an answer", []string{"smtp://dead.test", "smtp://relay.test"}, "smarthost relay.test:25[198.51.100.1]", "dead.test no answer about its address for now"},
		{"one without an address", []string{"smtp://none.relay.test", "smtp://relay.test"}, "smarthost relay.test:25[198.51.100.1]", "none.relay.test no answer about its address for now"},
		{"MX-28 this host among others", []string{"smtp://us.test", "smtp://relay.test"}, "smarthost relay.test:25[198.51.100.1]", "us.test it is this host"},
		{"all without an answer", []string{"smtp://dead.test", "smtp://none.relay.test"}, "451 4.4.3 z.test: no answer from DNS for now", ""},
		{"no address is the operator's mistake", []string{"smtp://none.relay.test"}, "451 4.3.5 z.test: cannot be routed as configured", ""},
		{"no such name is", []string{"smtp://gone.test"}, "451 4.3.5 z.test: cannot be routed as configured", ""},
		{"no such domain, by MX", []string{"smtp://gone.test?mx=1"}, "451 4.3.5 z.test: cannot be routed as configured", ""},
		{"a domain that takes no mail, by MX", []string{"smtp://null.e.test?mx=1"}, "451 4.3.5 z.test: cannot be routed as configured", ""},
		{"an MX on loopback is not dialled", []string{"smtp://inside.relay.test?mx=1"}, "554 5.4.6 z.test: mail exchangers point back to this host", ""},
		{"MX-28 this host by a name that has no address", []string{"smtp://[us.test]", "smtp://ours.test"}, "554 5.4.6 z.test: mail exchangers point back to this host", ""},
		{"MX-28 this host alone is a loop", []string{"smtp://us.test"}, "554 5.4.6 z.test: mail exchangers point back to this host", ""},
		{"this host and one without an answer", []string{"smtp://us.test", "smtp://dead.test"}, "451 4.4.3 z.test: no answer from DNS for now", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tab, _ := table(t, smarthost.Rules{Default: hosts(t, c.hosts...)}, dead)
			route, err := tab.Route(t.Context(), "x@y.test", "z.test")
			if err != nil {
				e, ok := errors.AsType[*mx.Error](err)
				if !ok {
					t.Fatalf("error is a %T", err)
				}
				if got := fmt.Sprintf("%d %s %s", e.Code, e.Enhanced, e); !strings.HasPrefix(got, c.want) || len(e.LeftOut) == 0 || e.Via != mx.ViaSmartHost {
					t.Errorf("%s with %d left out, want %s", got, len(e.LeftOut), c.want)
				}
				return
			}
			if got := describe(route); got != c.want || route.Domain != "z.test" || route.Fallback != nil {
				t.Errorf("route %s, want %s", got, c.want)
			}
			var leftOut []string
			for _, l := range route.LeftOut {
				leftOut = append(leftOut, l.Host.Name+" "+l.Reason.String())
			}
			if got := strings.Join(leftOut, ", "); got != c.leftOut {
				t.Errorf("left out %s, want %s", got, c.leftOut)
			}
		})
	}
	t.Run("MX-31 what is asked", func(t *testing.T) {
		tab, dns := table(t, smarthost.Rules{Default: hosts(t, "smtp://relay.test")})
		if _, err := tab.Route(t.Context(), "", "e.test"); err != nil {
			t.Fatal(err)
		}
		if dns.Count("relay.test", mx.TypeMX)+dns.Count("e.test", mx.TypeMX) != 0 || dns.Count("relay.test", mx.TypeA) != 1 {
			t.Errorf("asked %v", dns.Queries())
		}
	})
	t.Run("MX-28 a relay's own address is a loop", func(t *testing.T) {
		tab := &smarthost.Table{Router: &mx.Router{Resolver: &mxtest.DNS{Zone: zone}, Relay: true, InterfaceAddrs: func() ([]net.Addr, error) {
			return []net.Addr{&net.IPNet{IP: net.ParseIP("198.51.100.1"), Mask: net.CIDRMask(24, 32)}}, nil
		}}}
		if err := tab.Set(smarthost.Rules{Default: hosts(t, "smtp://relay.test")}); err != nil {
			t.Fatal(err)
		}
		_, err := tab.Route(t.Context(), "", "e.test")
		if e, ok := errors.AsType[*mx.Error](err); !ok || e.Kind != mx.MailLoop {
			t.Errorf("%v, want a loop", err)
		}
	})
}

// TestSmartHostsOnThisMachine: another server at another port of this machine's own
// address is no loop, and what is one by MX records alone is no reason to bounce.
func TestSmartHostsOnThisMachine(t *testing.T) {
	for _, c := range []struct {
		name, host string
		ports      []uint16
		want       string
	}{
		{"MX-28 by name, at another port", "smtp://us.test:10026", nil, "smarthost us.test:10026[198.51.100.1]"},
		{"MX-28 by address, at another port", "smtp://[198.51.100.1]:10026", nil, "smarthost [198.51.100.1]:10026[198.51.100.1]"},
		{"MX-28 a submission server beside us", "submission://us.test", nil, "smarthost us.test:587[198.51.100.1]"},
		{"MX-28 port 25 where we listen elsewhere", "smtp://us.test", []uint16{2525}, "smarthost us.test:25[198.51.100.1]"},
		{"MX-28 our own port", "smtp://us.test:2525", []uint16{2525}, "554 5.4.6 z.test: mail exchangers point back to this host (us.test)"},
		{"MX-28 port 25 where nothing else is said", "smtp://us.test", nil, "554 5.4.6 z.test: mail exchangers point back to this host (us.test)"},
		{"MX-28 by MX, at another port", "smtp://by.test:10026?mx=1", nil, "451 4.3.5 z.test: cannot be routed as configured (by.test): by.test: mail exchangers point back to this host (us.test)"},
		{"MX-28 by MX, at our own", "smtp://by.test?mx=1", nil, "554 5.4.6 z.test: mail exchangers point back to this host (by.test)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dns := &mxtest.DNS{Zone: "us.test. A 198.51.100.1\nby.test. MX 10 us.test.\n"}
			tab := &smarthost.Table{Router: &mx.Router{
				Resolver: dns, Relay: true, Self: []string{"relay.test"}, SelfPorts: c.ports,
				InterfaceAddrs: func() ([]net.Addr, error) {
					return []net.Addr{&net.IPNet{IP: net.ParseIP("198.51.100.1"), Mask: net.CIDRMask(24, 32)}}, nil
				},
			}}
			if err := tab.Set(smarthost.Rules{Default: hosts(t, c.host)}); err != nil {
				t.Fatal(err)
			}
			route, err := tab.Route(t.Context(), "", "z.test")
			got := describe(route)
			if e, ok := errors.AsType[*mx.Error](err); ok {
				got = fmt.Sprintf("%d %s %s", e.Code, e.Enhanced, e)
			}
			if got != c.want {
				t.Errorf("route is\n\t%s\nwant\n\t%s", got, c.want)
			}
		})
	}
}

// TestSmartHostsAsTheMachineFindsThem: an operator's names are looked for in the hosts
// file and completed, and those that DNS gives in exchange are not.
func TestSmartHostsAsTheMachineFindsThem(t *testing.T) {
	dir := t.TempDir()
	lookup := &mx.HostLookup{HostsFile: filepath.Join(dir, "hosts"), ResolvConf: filepath.Join(dir, "resolv.conf")}
	for path, text := range map[string]string{
		lookup.HostsFile: "10.0.0.5 mailrelay\n192.0.2.66 srv.by.test in.by.test z.test\n", lookup.ResolvConf: "search default.svc.test\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const zone = `
		mailhog.default.svc.test. A 10.0.0.6
		by.test.     MX 10 in.by.test.
		in.by.test.  A  198.51.100.1
		srv.by.test. A  198.51.100.2
		_submissions._tcp.by.test. SRV 1 1 465 srv.by.test.
		z.default.svc.test. A 192.0.2.66
		z.test. A 198.51.100.3`
	for _, c := range []struct{ name, host, to, want string }{
		{"a name in the hosts file alone", "smtp://mailrelay:2525?tls=none", "z.test", "smarthost mailrelay:2525[10.0.0.5]"},
		{"a name of the search list", "smtp://mailhog", "z.test", "smarthost mailhog:25[10.0.0.6]"},
		{"a name nowhere", "smtp://gone", "z.test", "451 4.3.5 z.test: cannot be routed as configured (gone): no address found for the host: not in HOSTS, no address of gone.default.svc.test in DNS, no address of gone in DNS"},
		{"what MX records name", "smtp://by.test?mx=1", "z.test", "smarthost in.by.test:25[198.51.100.1]"},
		{"what SRV records name", "submission://by.test?srv=1", "z.test", "smarthost srv.by.test:465[198.51.100.2]"},
		{"MX-1 what a recipient names", "", "z", "550 5.1.2 z: no such domain"},
		{"MX-1 what a recipient names, in the hosts file", "", "z.test", "implicit z.test:0[198.51.100.3]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tab := &smarthost.Table{Router: &mx.Router{Resolver: &mxtest.DNS{Zone: zone}, HostLookup: lookup}}
			if c.host != "" {
				if err := tab.Set(smarthost.Rules{Default: hosts(t, c.host)}); err != nil {
					t.Fatal(err)
				}
			}
			route, err := tab.Route(t.Context(), "", c.to)
			got := describe(route)
			if e, ok := errors.AsType[*mx.Error](err); ok {
				got = strings.ReplaceAll(fmt.Sprintf("%d %s %s", e.Code, e.Enhanced, e), lookup.HostsFile, "HOSTS")
			}
			if got != c.want {
				t.Errorf("route is\n\t%s\nwant\n\t%s", got, c.want)
			}
		})
	}
}

// TestFallbackIsNotForDomainsThatDoNotExist: a domain that may come to exist waits.
func TestFallbackIsNotForDomainsThatDoNotExist(t *testing.T) {
	tab := &smarthost.Table{Router: &mx.Router{Resolver: &mxtest.DNS{}, DeferNoSuchDomain: true}}
	if err := tab.Set(smarthost.Rules{Fallback: hosts(t, "smtp://[192.0.2.1]")}); err != nil {
		t.Fatal(err)
	}
	_, err := tab.Route(t.Context(), "", "z.test")
	if e, ok := errors.AsType[*mx.Error](err); !ok || e.Kind != mx.MaybeNoSuchDomain || !e.Temporary() {
		t.Errorf("error is %v", err)
	}
}

// TestHostFields is what a route says of a host beyond its addresses.
func TestHostFields(t *testing.T) {
	for _, c := range []struct {
		host       string
		signed     bool
		level      mx.TLSLevel
		implicit   bool
		identities string
	}{
		{"smtp://relay.test", false, mx.TLSDefault, false, ""},
		{"submission://relay.test", false, mx.TLSEncrypt, false, ""},
		{"smtps://u:p@relay.test", false, mx.TLSVerify, true, ""},
		{"smtp://u:p@relay.test?tls=none", false, mx.TLSNone, false, ""},
		{"smtp://u:p@relay.test?mx=1", false, mx.TLSVerify, false, "relay.test"},
		{"smtp://u:p@relay.test?mx=1", true, mx.TLSVerify, false, "in1.relay.test relay.test"},
	} {
		t.Run("TLS-9 "+c.host, func(t *testing.T) {
			tab, dns := table(t, smarthost.Rules{Default: hosts(t, c.host)})
			dns.SetSigned("relay.test", c.signed)
			route, err := tab.Route(t.Context(), "", "e.test")
			if err != nil {
				t.Fatal(err)
			}
			h := route.Hosts[0]
			if h.TLS != c.level || h.ImplicitTLS != c.implicit || strings.Join(h.Identities, " ") != c.identities || (h.Login != nil) != strings.Contains(c.host, "@") {
				t.Errorf("%+v, want %+v", h, c)
			}
		})
	}
}

// TestPreferences: what a route says of preferences is what its order is.
func TestPreferences(t *testing.T) {
	for _, c := range []struct {
		name  string
		hosts []string
		want  []uint16
	}{
		{"their own", []string{"smtp://[192.0.2.1]?pref=10", "smtp://[192.0.2.2]?pref=20", "smtp://[192.0.2.3]?pref=20"}, []uint16{10, 20, 20}},
		{"none: the order given", []string{"smtp://[192.0.2.1]", "smtp://[192.0.2.2]"}, []uint16{0, 1}},
		{"those of MX records", []string{"smtp://relay.test?mx=1"}, []uint16{10, 20}},
		{"one without between equals", []string{"smtp://[192.0.2.1]?pref=10", "smtp://[192.0.2.2]", "smtp://[192.0.2.3]?pref=10"}, []uint16{10, 11, 12}},
		{"MX records behind another", []string{"smtp://[192.0.2.1]?pref=15", "smtp://relay.test?mx=1"}, []uint16{15, 16, 20}},
		{"a host left out between equals", []string{"smtp://[192.0.2.1]?pref=3", "smtp://gone.test?pref=3", "smtp://[192.0.2.3]?pref=3"}, []uint16{3, 3}},
		{"no number above the last", []string{"smtp://[192.0.2.1]?pref=65535", "smtp://[192.0.2.2]"}, []uint16{65535, 65535}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tab, _ := table(t, smarthost.Rules{Default: hosts(t, c.hosts...)})
			route, err := tab.Route(t.Context(), "", "e.test")
			var got []uint16
			for _, h := range route.Hosts {
				got = append(got, h.Preference)
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%v, %v; want %v", got, err, c.want)
			}
		})
	}
}

// TestFallbackRoute is when a route by MX has a fallback.
func TestFallbackRoute(t *testing.T) {
	for _, c := range []struct {
		name, domain string
		zone         string
		fault        mxtest.Fault
		want         bool
	}{
		{"QUE-14 beside MX hosts", "e.test", "", 0, true},
		{"QUE-14 where the MX records have no answer", "e.test", "", mxtest.ServFail, true},
		{"QUE-14 not for a domain that takes no mail", "null.e.test", "", 0, false},
		{"QUE-14 not for one that does not exist", "gone.test", "", 0, false},
		{"QUE-14 not around this host", "e.test", "e.test. MX 10 mx1.e.test.\ne.test. MX 20 us.test.\nmx1.e.test. A 192.0.2.1", 0, false},
		{"QUE-14 nor where nobody knows about the others", "e.test", "e.test. MX 10 dead.test.\ne.test. MX 20 us.test.", 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			tab, dns := table(t, smarthost.Rules{Fallback: hosts(t, "[two.relay.test]:26")}, mxtest.Rule{Name: "dead.test", Fault: mxtest.ServFail})
			if c.zone != "" {
				if err := dns.SetZone(c.zone); err != nil {
					t.Fatal(err)
				}
			}
			if c.fault != 0 {
				if err := dns.Set(mxtest.Rule{Name: c.domain, Fault: c.fault}); err != nil {
					t.Fatal(err)
				}
			}
			route, err := tab.Route(t.Context(), "", c.domain)
			if (route.Fallback != nil) != c.want {
				t.Fatalf("fallback: %t, want %t (%v)", route.Fallback != nil, c.want, err)
			}
			if !c.want {
				if err == nil && len(route.Hosts) == 0 {
					t.Error("neither a host, nor a fallback, nor an error")
				}
				return
			}
			if err != nil || len(route.Hosts) == 0 && (len(route.LeftOut) == 0 || route.LeftOut[0].Err == nil) {
				t.Errorf("%+v, %v; want hosts, or why there are none", route, err)
			}
			if dns.Count("two.relay.test", mx.TypeA) != 0 {
				t.Error("the fallback was looked up before it is needed")
			}
			again, err := route.Fallback(t.Context())
			if err != nil || describe(again) != "fallback two.relay.test:26[198.51.100.2]" || again.Fallback != nil {
				t.Errorf("%s, %v", describe(again), err)
			}
		})
	}
	t.Run("a smart host has none", func(t *testing.T) {
		tab, _ := table(t, smarthost.Rules{Default: hosts(t, "[relay.test]"), Fallback: hosts(t, "[two.relay.test]")})
		if route, err := tab.Route(t.Context(), "", "e.test"); err != nil || route.Fallback != nil {
			t.Errorf("%+v, %v", route, err)
		}
	})
}

func TestTableWithoutSense(t *testing.T) {
	for name, tab := range map[string]*smarthost.Table{
		"no resolver": {Router: &mx.Router{}},
	} {
		if tab.Validate() == nil {
			t.Errorf("%s: it is valid", name)
		}
		_, err := tab.Route(context.Background(), "", "e.test")
		if e, ok := errors.AsType[*mx.Error](err); !ok || e.Kind != mx.Misconfigured || !e.Temporary() {
			t.Errorf("%s: %v", name, err)
		}
	}
	tab, _ := table(t, smarthost.Rules{})
	if route, err := tab.Route(t.Context(), "", "e.test"); err != nil || route.Via != mx.ViaMX {
		t.Errorf("without rules: %v, %v", describe(route), err)
	}
	if _, err := smarthost.Via("smtp://relay.test", "smtp://"); err == nil {
		t.Error("Via took what is no host")
	}
}
