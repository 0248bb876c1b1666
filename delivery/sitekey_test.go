package delivery

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

func TestSiteKeys(t *testing.T) {
	host := func(name string, preference uint16) mx.Host { return mx.Host{Name: name, Preference: preference} }
	login, other := &smarthost.Login{User: "u", Password: "secret"}, &smarthost.Login{User: "v", Password: "secret"}
	var keys siteKeys
	of := func(hosts ...mx.Host) string { return keys.of(&mx.Route{Hosts: hosts}) }
	for _, c := range []struct {
		name string
		a, b []mx.Host
		same bool
	}{
		{"a host and itself", []mx.Host{host("a", 10)}, []mx.Host{host("a", 20)}, true},
		{"two hosts", []mx.Host{host("a", 10)}, []mx.Host{host("b", 10)}, false},
		{"equals in another order", []mx.Host{host("a", 10), host("b", 10)}, []mx.Host{host("b", 5), host("a", 5)}, true},
		{"hosts in another order of preference", []mx.Host{host("a", 10), host("b", 20)}, []mx.Host{host("b", 10), host("a", 20)}, false},
		{"equals and those that are not", []mx.Host{host("a", 10), host("b", 10)}, []mx.Host{host("a", 10), host("b", 20)}, false},
		{"others beside equals", []mx.Host{host("a", 10), host("b", 20), host("c", 20)}, []mx.Host{host("a", 10), host("c", 20), host("b", 20)}, true},
		{"others that are equals of another", []mx.Host{host("a", 10), host("b", 10), host("c", 20)}, []mx.Host{host("a", 10), host("b", 20), host("c", 20)}, false},
		{"a host more", []mx.Host{host("a", 10)}, []mx.Host{host("a", 10), host("b", 20)}, false},
		{"another port", []mx.Host{{Name: "a"}}, []mx.Host{{Name: "a", Port: 587}}, false},
		{"two ports", []mx.Host{{Name: "a", Port: 25}}, []mx.Host{{Name: "a", Port: 587}}, false},
		{"a level of TLS", []mx.Host{{Name: "a"}}, []mx.Host{{Name: "a", TLS: mx.TLSVerify}}, false},
		{"two levels of TLS", []mx.Host{{Name: "a", TLS: mx.TLSEncrypt}}, []mx.Host{{Name: "a", TLS: mx.TLSVerify}}, false},
		{"TLS from the beginning", []mx.Host{{Name: "a"}}, []mx.Host{{Name: "a", ImplicitTLS: true}}, false},
		{"TLS from the beginning at a port", []mx.Host{{Name: "a", Port: 465}}, []mx.Host{{Name: "a", Port: 465, ImplicitTLS: true}}, false},
		{"a name in the certificate", []mx.Host{{Name: "a"}}, []mx.Host{{Name: "a", Identities: []string{"x"}}}, false},
		{"two names in the certificate", []mx.Host{{Name: "a", Identities: []string{"x"}}}, []mx.Host{{Name: "a", Identities: []string{"x", "y"}}}, false},
		{"a login", []mx.Host{{Name: "a"}}, []mx.Host{{Name: "a", Login: login}}, false},
		{"the same login", []mx.Host{{Name: "a", Login: login}}, []mx.Host{{Name: "a", Login: login}}, true},
		{"another login", []mx.Host{{Name: "a", Login: login}}, []mx.Host{{Name: "a", Login: other}}, false},
		{"two hosts at a port", []mx.Host{{Name: "a", Port: 587}}, []mx.Host{{Name: "b", Port: 587}}, false},
		{"digits at the end of a name", []mx.Host{{Name: "a5", Port: 87}}, []mx.Host{{Name: "a", Port: 587}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := of(c.a...), of(c.b...)
			if (a == b) != c.same {
				t.Errorf("%q and %q, want the same: %t", a, b, c.same)
			}
			if strings.Contains(a+b, "secret") {
				t.Errorf("%q and %q tell a secret", a, b)
			}
		})
	}
	t.Run("a site keeps its name, which rules and suspensions are stored under", func(t *testing.T) {
		var keys siteKeys
		for _, c := range []struct {
			want  string
			hosts []mx.Host
		}{
			{"mx.test", []mx.Host{{Name: "mx.test", Preference: 10}}},
			{"mx.test:587/0", []mx.Host{{Name: "mx.test", Port: 587}}},
			{"mx.test:465/2i", []mx.Host{{Name: "mx.test", Port: 465, TLS: 2, ImplicitTLS: true}}},
			{"mx.test:0/0=x=y@1", []mx.Host{{Name: "mx.test", Identities: []string{"x", "y"}, Login: login}}},
			{"a.test,b.test;,c.test:25/0;", []mx.Host{host("b.test", 5), host("a.test", 5), {Name: "c.test", Port: 25, Preference: 6}}},
		} {
			if got := keys.of(&mx.Route{Hosts: c.hosts}); got != c.want {
				t.Errorf("a site has the name %q, want %q", got, c.want)
			}
		}
	})
	t.Run("a login keeps its number, whatever others are met", func(t *testing.T) {
		var keys siteKeys
		one, other := &smarthost.Login{User: "u"}, &smarthost.Login{User: "v"}
		first := keys.login(one)
		if second := keys.login(other); second == first {
			t.Errorf("two logins have the number %d", first)
		}
		if again := keys.login(one); again != first {
			t.Errorf("a login has the number %d and then %d", first, again)
		}
	})
	t.Run("logins are told apart by new numbers when many are known", func(t *testing.T) {
		var keys siteKeys
		seen := map[int]bool{}
		for i := range maxLogins + 1 {
			n := keys.login(&smarthost.Login{User: "u"})
			if seen[n] {
				t.Fatalf("the %dth login has the number of another", i)
			}
			seen[n] = true
		}
		if len(keys.logins) != 1 {
			t.Errorf("%d logins are known after too many, want the last", len(keys.logins))
		}
	})
}

func TestJoinKeys(t *testing.T) {
	fallback := func(context.Context) (mx.Route, error) { return mx.Route{}, errors.New("none") }
	left := func(r mx.Reason) *mx.Route { return &mx.Route{LeftOut: []mx.LeftOut{{Reason: mx.IsSelf}, {Reason: r}}} }
	alone := map[string]*mx.Route{
		"more hosts were left out than are listed": {Unlisted: 1}, "a fallback of its own": {Fallback: fallback},
		"a host could not be looked up": left(mx.LookupFailed), "a record could not be read": left(mx.BadRecord), "there were too many hosts": left(mx.OverLimit),
	}
	for name, r := range alone {
		if key := joinKey(r); key != "" {
			t.Errorf("where %s mail goes with what has %q, want alone", name, key)
		}
	}
	together := map[string]*mx.Route{
		"as usual": {}, "DNSSEC vouches": {Secure: true}, "a smart host": {Via: mx.ViaSmartHost}, "a smart host, and DNSSEC vouches": {Via: mx.ViaSmartHost, Secure: true},
		"a fallback that others have": {Fallback: fallback, FallbackID: "f"}, "another such": {Fallback: fallback, FallbackID: "g"},
	}
	keys := map[string]string{}
	for name, r := range together {
		key := joinKey(r)
		if other, found := keys[key]; found || key == "" {
			t.Errorf("%s: %q, as %s", name, key, other)
		}
		keys[key] = name
	}
	if a, b := joinKey(left(mx.HasNoAddress)), joinKey(&mx.Route{}); a != b {
		t.Errorf("a host without addresses keeps mail apart: %q and %q", a, b)
	}
}

func TestSameAddresses(t *testing.T) {
	at := func(name string, port uint16, addrs ...string) mx.Host {
		h := mx.Host{Name: name, Port: port}
		for _, a := range addrs {
			h.Addrs = append(h.Addrs, netip.MustParseAddr(a))
		}
		return h
	}
	for _, c := range []struct {
		name string
		a, b []mx.Host
		want bool
	}{
		{"the same", []mx.Host{at("a", 0, "192.0.2.1")}, []mx.Host{at("a", 0, "192.0.2.1")}, true},
		{"other addresses", []mx.Host{at("a", 0, "192.0.2.1")}, []mx.Host{at("a", 0, "192.0.2.2")}, false},
		{"an address more", []mx.Host{at("a", 0, "192.0.2.1")}, []mx.Host{at("a", 0, "192.0.2.1", "192.0.2.2")}, false},
		{"addresses in another order", []mx.Host{at("a", 0, "192.0.2.1", "192.0.2.2")}, []mx.Host{at("a", 0, "192.0.2.2", "192.0.2.1")}, true},
		{"hosts in another order", []mx.Host{at("a", 0, "192.0.2.1"), at("b", 0, "192.0.2.2")}, []mx.Host{at("b", 0, "192.0.2.2"), at("a", 0, "192.0.2.1")}, true},
		{"ports in another order", []mx.Host{at("a", 25, "192.0.2.1"), at("a", 26, "192.0.2.2")}, []mx.Host{at("a", 26, "192.0.2.2"), at("a", 25, "192.0.2.1")}, true},
		{"a host less", []mx.Host{at("a", 0, "192.0.2.1"), at("b", 0, "192.0.2.2")}, []mx.Host{at("a", 0, "192.0.2.1")}, false},
	} {
		if got := sameAddresses(c.a, c.b); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}

func TestRouteDependsOnSender(t *testing.T) {
	for _, c := range []struct {
		of   mx.Route
		want bool
	}{
		{mx.Route{}, false}, {mx.Route{BySender: true}, true}, {mx.Route{Via: mx.ViaSmartHost}, true}, {mx.Route{Via: mx.ViaFallback}, true},
	} {
		if got := dependsOnSender(&c.of); got != c.want {
			t.Errorf("%+v: %t, want %t", c.of, got, c.want)
		}
	}
}
