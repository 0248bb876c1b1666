package smarthost_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// login is the usual one.
func login(mechanism string) *smarthost.Login {
	return &smarthost.Login{User: "alice", Password: "secret", Mechanism: mechanism}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, input string
		want        smarthost.Host
		url         string // as it is printed; empty is the input
	}{
		{"plain", "smtp://relay.test", smarthost.Host{Name: "relay.test", Port: 25}, ""},
		{"MX-31 a port", "smtp://relay.test:2525", smarthost.Host{Name: "relay.test", Port: 2525}, ""},
		{"TLS-11 implicit TLS", "smtps://relay.test", smarthost.Host{Name: "relay.test", Port: 465, ImplicitTLS: true, TLS: mx.TLSEncrypt}, ""},
		{"implicit TLS on another port", "smtps://relay.test:25", smarthost.Host{Name: "relay.test", Port: 25, ImplicitTLS: true, TLS: mx.TLSEncrypt}, ""},
		{"TLS-11 submission", "submission://relay.test", smarthost.Host{Name: "relay.test", Port: 587, TLS: mx.TLSEncrypt}, ""},
		{"submission in clear", "submission://relay.test?tls=none", smarthost.Host{Name: "relay.test", Port: 587, TLS: mx.TLSNone}, "smtp://relay.test:587?tls=none"},
		{"schemes and names have no case", "SMTP://Relay.TEST.", smarthost.Host{Name: "relay.test", Port: 25}, "smtp://relay.test"},
		{"I18N-3 a name beyond ASCII", "smtp://bücher.test", smarthost.Host{Name: "xn--bcher-kva.test", Port: 25}, "smtp://xn--bcher-kva.test"},
		{"an empty path", "smtp://relay.test/?pref=3", smarthost.Host{Name: "relay.test", Port: 25, Preference: smarthost.Prefer(3)}, "smtp://relay.test?pref=3"},
		{"IPv4 in brackets", "smtp://[192.0.2.1]:2525", smarthost.Host{Name: "[192.0.2.1]", Port: 2525}, ""},
		{"IPv4 bare", "smtp://127.0.0.1:2525", smarthost.Host{Name: "[127.0.0.1]", Port: 2525}, "smtp://[127.0.0.1]:2525"},
		{"IPv6", "smtp://[::1]", smarthost.Host{Name: "[IPv6:::1]", Port: 25}, ""},
		{"IPv6 tagged", "smtp://[ipv6:2001:DB8::1]:26", smarthost.Host{Name: "[IPv6:2001:db8::1]", Port: 26}, "smtp://[2001:db8::1]:26"},
		{"IPv6 with a zone", "smtp://[fe80::1%25eth0]", smarthost.Host{Name: "[IPv6:fe80::1%eth0]", Port: 25}, ""},
		{"IPv4 in IPv6", "smtp://[::ffff:192.0.2.1]", smarthost.Host{Name: "[192.0.2.1]", Port: 25}, "smtp://[192.0.2.1]"},
		{"a name in brackets", "smtp://[relay.test]", smarthost.Host{Name: "relay.test", Port: 25}, "smtp://relay.test"},
		{"TLS levels", "smtp://relay.test?tls=may", smarthost.Host{Name: "relay.test", Port: 25, TLS: mx.TLSMay}, ""},
		{"preference 0", "smtp://relay.test?pref=0", smarthost.Host{Name: "relay.test", Port: 25, Preference: smarthost.Prefer(0)}, ""},
		{"preference at its end", "smtp://relay.test?pref=65535", smarthost.Host{Name: "relay.test", Port: 25, Preference: smarthost.Prefer(65535)}, ""},
		{"MX-31 by MX", "smtp://relay.test:26?mx=1", smarthost.Host{Name: "relay.test", Port: 26, Lookup: smarthost.LookupMX}, ""},
		{"MX-32 by SRV", "submission://alice:secret@relay.test?srv=1&target=a.test&target=b.test",
			smarthost.Host{Name: "relay.test", Lookup: smarthost.LookupSRV, TLS: mx.TLSVerify, Targets: []string{"a.test", "b.test"}, Login: login("")}, ""},
		{"TLS-11 a user makes it verify", "smtp://alice:secret@relay.test", smarthost.Host{Name: "relay.test", Port: 25, TLS: mx.TLSVerify, Login: login("")}, ""},
		{"consent to any certificate", "submission://alice:secret@relay.test?tls=encrypt", smarthost.Host{Name: "relay.test", Port: 587, TLS: mx.TLSEncrypt, Login: login("")}, ""},
		{"consent to none at all", "smtp://alice:secret@relay.test:587?tls=none", smarthost.Host{Name: "relay.test", Port: 587, TLS: mx.TLSNone, Login: login("")}, ""},
		{"a mechanism", "smtps://alice:secret@relay.test?auth=SCRAM-SHA-256",
			smarthost.Host{Name: "relay.test", Port: 465, ImplicitTLS: true, TLS: mx.TLSVerify, Login: login("SCRAM-SHA-256")}, "smtps://alice:secret@relay.test?auth=scram-sha-256"},
		{"a token", "submission://alice:to.ken@relay.test?auth=xoauth2",
			smarthost.Host{Name: "relay.test", Port: 587, TLS: mx.TLSVerify, Login: &smarthost.Login{User: "alice", Mechanism: "XOAUTH2", Token: smarthost.StaticToken("to.ken")}}, ""},
		{"percent-encoding", "smtp://al%69ce%40x.test:%3a%2F%3F%23%5B%25%C3%BC@relay.test",
			smarthost.Host{Name: "relay.test", Port: 25, TLS: mx.TLSVerify, Login: &smarthost.Login{User: "alice@x.test", Password: ":/?#[%ü"}},
			"smtp://alice%40x.test:%3A%2F%3F%23%5B%25%C3%BC@relay.test"},
		{"the last @ counts, the first colon", "smtp://a@x.test:b:c@d@relay.test", smarthost.Host{Name: "relay.test", Port: 25, TLS: mx.TLSVerify, Login: &smarthost.Login{User: "a@x.test", Password: "b:c@d"}},
			"smtp://a%40x.test:b%3Ac%40d@relay.test"},

		{"Postfix, brackets and port", "[relay.test]:587", smarthost.Host{Name: "relay.test", Port: 587}, "smtp://relay.test:587"},
		{"Postfix, brackets", "[relay.test]", smarthost.Host{Name: "relay.test", Port: 25}, "smtp://relay.test"},
		{"Postfix, a port", "relay.test:26", smarthost.Host{Name: "relay.test", Port: 26, Lookup: smarthost.LookupMX}, "smtp://relay.test:26?mx=1"},
		{"Postfix, a name alone", "relay.test", smarthost.Host{Name: "relay.test", Port: 25, Lookup: smarthost.LookupMX}, "smtp://relay.test?mx=1"},
		{"Postfix, an address", "[192.0.2.1]:26", smarthost.Host{Name: "[192.0.2.1]", Port: 26}, "smtp://[192.0.2.1]:26"},
		{"Postfix, an IPv6 address", "[ipv6:::1]", smarthost.Host{Name: "[IPv6:::1]", Port: 25}, "smtp://[::1]"},
		{"Postfix, an address without brackets", "192.0.2.1:26", smarthost.Host{Name: "[192.0.2.1]", Port: 26}, "smtp://[192.0.2.1]:26"},
		{"Postfix, localhost", "localhost:2525", smarthost.Host{Name: "localhost", Port: 2525}, "smtp://localhost:2525"},
		{"Postfix, a host called relay", "relay:26", smarthost.Host{Name: "relay", Port: 26, Lookup: smarthost.LookupMX}, "smtp://relay:26?mx=1"},
		{"sendmail, by MX", "esmtp:relay.test", smarthost.Host{Name: "relay.test", Port: 25, Lookup: smarthost.LookupMX}, "smtp://relay.test?mx=1"},
		{"sendmail, by address", "ESMTP:[relay.test]", smarthost.Host{Name: "relay.test", Port: 25}, "smtp://relay.test"},
		{"sendmail, an address", "relay:[IPv6:2001:db8::1]", smarthost.Host{Name: "[IPv6:2001:db8::1]", Port: 25}, "smtp://[2001:db8::1]"},
		{"Postfix's transport table", "smtp:[relay.test]:587", smarthost.Host{Name: "relay.test", Port: 587}, "smtp://relay.test:587"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := smarthost.Parse(c.input)
			if err != nil || !same(got, c.want) {
				t.Fatalf("%+v, %v; want %+v", got, err, c.want)
			}
			if c.url == "" {
				c.url = c.input
			}
			if u := got.URL(); u != c.url {
				t.Errorf("printed as %s, want %s", u, c.url)
			}
			again, err := smarthost.Parse(got.URL())
			if err != nil || !same(again, got) {
				t.Errorf("%s is read as %+v, %v; want %+v", got.URL(), again, err, got)
			}
			if s := got.String(); strings.Contains(s, "secret") || strings.Contains(s, "to.ken") || (got.Login == nil) != (s == got.URL()) {
				t.Errorf("String is %s", s)
			}
		})
	}
}

// TestParseRefuses also looks for the secret in what is said about it.
func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, input, says string }{
		{"nothing", "", "the host is missing"},
		{"no host", "smtp://", "the host is missing"},
		{"no host after the user", "smtp://u:hunter2@", "the host is missing"},
		{"another scheme", "https://relay.test", "scheme"},
		{"no scheme", "://relay.test", "scheme"},
		{"a blank", "smtp://relay .test", "not a host name"},
		{"a line end", "smtp://relay.test\r\nDATA", "control character"},
		{"not UTF-8", "smtp://\xff.test", "UTF-8"},
		{"an encoded host", "smtp://rel%61y.test", "not a host name"},
		{"an empty label", "smtp://a..test", "not a host name"},
		{"port 0", "smtp://relay.test:0", "port"},
		{"port 65536", "smtp://relay.test:65536", "port"},
		{"a signed port", "smtp://relay.test:+25", "port"},
		{"a service", "smtp://relay.test:smtp", "port"},
		{"no port after the colon", "smtp://relay.test:", "colon"},
		{"IPv6 bare", "smtp://::1", "brackets"},
		{"half a bracket", "smtp://[::1", "bracket"},
		{"rubbish after a bracket", "smtp://[::1]x", "bracket"},
		{"a number", "smtp://1234", "not a host name"},
		{"four bad octets", "smtp://[300.1.1.1]", "not a host name"},
		{"everywhere", "smtp://[0.0.0.0]", "not an address to connect to"},
		{"multicast", "smtp://[ff02::1]", "not an address to connect to"},
		{"a path", "smtp://relay.test/mail", "unexpected text after the host"},
		{"a fragment", "smtp://relay.test#x", "unexpected text after the host"},
		{"an unknown parameter", "smtp://relay.test?tsl=none", "unknown parameter"},
		{"an empty query", "smtp://relay.test?", "unknown parameter"},
		{"the same twice", "smtp://relay.test?tls=may&tls=none", "repeated"},
		{"an unknown level", "smtp://relay.test?tls=dane", "tls="},
		{"no level", "smtp://relay.test?tls=", "tls="},
		{"preference too high", "smtp://relay.test?pref=65536", "pref="},
		{"preference below zero", "smtp://relay.test?pref=-1", "pref="},
		{"mx=0", "smtp://relay.test?mx=0", "mx="},
		{"MX of an address", "smtp://[192.0.2.1]?mx=1", "no MX"},
		{"MX and SRV", "submission://relay.test?mx=1&srv=1", "cannot be combined"},
		{"SRV and a port", "submission://relay.test:587?srv=1", "and no port"},
		{"SRV and implicit TLS", "smtps://relay.test?srv=1", "srv=1 requires submission://"},
		{"SRV in clear", "submission://relay.test?srv=1&tls=none", "TLS cannot be optional"},
		{"a target without SRV", "submission://relay.test?target=a.test", "targets"},
		{"a bad target", "submission://relay.test?srv=1&target=a..test", "target"},
		{"TLS from the start and not at all", "smtps://relay.test?tls=none", "TLS cannot be optional"},
		{"a mechanism without a user", "smtp://relay.test?auth=plain", "without a user"},
		{"TLS-11 a user where TLS may fail", "smtp://u:hunter2@relay.test?tls=may", "consent"},
		{"a user alone", "smtp://hunter2@relay.test", "has no password"},
		{"an empty user", "smtp://:hunter2@relay.test", "the user name is empty"},
		{"an empty password", "smtp://u:@relay.test", "the password is empty"},
		{"no user at all", "smtp://@relay.test", "password"},
		{"a percent sign", "smtp://u:hunter2%@relay.test", "percent sign"},
		{"a percent sign before no digits", "smtp://u:hunter2%zz@relay.test", "percent sign"},
		{"an encoded line end", "smtp://u:hunter2%0d%0a@relay.test", "control character"},
		{"encoded octets that are not UTF-8", "smtp://u:hunter2%ff@relay.test", "UTF-8"},
		{"a slash in the password", "smtp://u:hunter2/x@relay.test", "%2F"},
		{"a question mark in the password", "smtp://u:25?hunter2@relay.test", "%3F"},
		{"a hash in the password", "smtp://u:hunter2#hunter2@relay.test", "%23"},
		{"a password where the port stands", "smtp://u:hunter2", "port"},
		{"a password in the host's place", "smtp://u:x@hunter2 hunter2", "not a host name"},
		{"a password without a scheme", "u:hunter2@relay.test", "URL"},
		{"a password with sendmail's mailer", "esmtp:u:hunter2@relay.test", "URL"},
		{"Postfix, a service", "[relay.test]:submission", "port"},
		{"Postfix, an unknown mailer", "lmtp:relay.test", "port"},
		{"sendmail, no host", "esmtp:", "the host is missing"},
		{"too long", "smtp://" + strings.Repeat("a", 70000), "64 KiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := smarthost.Parse(c.input)
			e, ok := errors.AsType[*smarthost.Error](err)
			if !ok || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%+v, %v; want an error about %q", h, err, c.says)
			}
			if strings.Contains(err.Error(), "hunter2") || e.Unsupported {
				t.Errorf("the error is %v, unsupported: %v", err, e.Unsupported)
			}
		})
	}
	t.Run("what does not exist here is told apart", func(t *testing.T) {
		_, err := smarthost.Parse("smtp://u:hunter2@relay.test?auth=ntlm")
		if e, ok := errors.AsType[*smarthost.Error](err); !ok || !e.Unsupported || e.Input != "smtp://...@relay.test" {
			t.Errorf("%v, want an unsupported one", err)
		}
	})
}

func TestParseList(t *testing.T) {
	for _, c := range []struct {
		name, input string
		want        []string
	}{
		{"one URL, whatever is in it", "smtp://a:b,c@relay.test", []string{"smtp://a:b%2Cc@relay.test"}},
		{"Postfix, commas and blanks", "[one.test]:26, two.test three.test:27", []string{"smtp://one.test:26", "smtp://two.test?mx=1", "smtp://three.test:27?mx=1"}},
		{"sendmail, colons", "esmtp:[one.test]:two.test:[::1]", []string{"smtp://one.test", "smtp://two.test?mx=1", "smtp://[::1]"}},
		{"sendmail, with ports", "relay:[one.test]:26:two.test", []string{"smtp://one.test:26", "smtp://two.test?mx=1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			hosts, err := smarthost.ParseList(c.input)
			if err != nil || len(hosts) != len(c.want) {
				t.Fatalf("%v, %v; want %v", hosts, err, c.want)
			}
			for i := range hosts {
				if got := hosts[i].URL(); got != c.want[i] {
					t.Errorf("host %d is %s, want %s", i, got, c.want[i])
				}
			}
		})
	}
	for _, bad := range []string{"", " , ", "one.test, two..test", "esmtp:one.test:", "esmtp::", "relay:25:26:27", "a.test\nb.test"} {
		if hosts, err := smarthost.ParseList(bad); err == nil {
			t.Errorf("%q is %v, want an error", bad, hosts)
		}
	}
}

// FuzzParse: what is read prints back, and to the same; what is not read says
// nothing of its secret.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"smtp://relay.test", "smtps://a:b@[::1]:1?pref=1&auth=plain", "submission://a:b@c.test?srv=1&target=d.test",
		"[relay.test]:587", "esmtp:[a]:b:25", "smtp://a%40b:%00@c", "relay:[fe80::1%eth0]", "smtp://[fe80::1%25eth0]?tls=none",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		hosts, err := smarthost.ParseList(s)
		if (err == nil) == (len(hosts) == 0) {
			t.Fatalf("%v, %v", hosts, err)
		}
		h, err := smarthost.Parse(s)
		if err != nil {
			if _, ok := errors.AsType[*smarthost.Error](err); !ok {
				t.Fatalf("error is a %T", err)
			}
			return
		}
		if err := h.Validate(); err != nil {
			t.Fatalf("%s: %v", h.URL(), err)
		}
		again, err := smarthost.Parse(h.URL())
		if err != nil || !same(h, again) {
			t.Fatalf("%q: %s is read as %+v, %v", s, h.URL(), again, err)
		}
		if h.Login != nil {
			if _, err := smarthost.Parse(h.String()); err == nil {
				t.Fatalf("%s was read without its password", h)
			}
		}
	})
}
