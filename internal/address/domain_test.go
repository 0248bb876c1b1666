package address_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/address"
)

func TestParseDomain(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	name253 := strings.Repeat("a", 61) + strings.Repeat("."+label63, 3)
	cases := []struct{ name, in, want string }{
		{"a canonical name", "example.com", "example.com"},
		{"one label", "localhost", "localhost"},
		{"digits", "3com.163.com", "3com.163.com"},
		{"MX-13 a label of 63 octets", label63 + ".test", label63 + ".test"},
		{"MX-13 a name of 255 octets", name253, name253},
		{"MX-13 a name of 255 octets with its dot", name253 + ".", name253},
		{"MX-14 capitals", "E.TEST", "e.test"},
		{"MX-14 a trailing dot", "e.test.", "e.test"},
		{"MX-14 both", "E.Test.", "e.test"},
		{"I18N-1 a U-label", "bücher.test", "xn--bcher-kva.test"},
		{"I18N-1 an A-label with capitals", "XN--Bcher-KVA.test", "xn--bcher-kva.test"},
		{"I18N-3 a U-label with capitals", "BÜCHER.Test.", "xn--bcher-kva.test"},
		{"MX-13 an underscore", "my_host.example.com", "my_host.example.com"},
		{"MX-13 underscores first, last and alone", "_a._.b_.Test", "_a._.b_.test"},
		{"MX-13 a hyphen first", "-a.test", "-a.test"},
		{"MX-13 a hyphen last", "a-.b-", "a-.b-"},
		{"MX-13 a label of digits", "123.456.test", "123.456.test"},
		{"I18N-1 an underscore beside a U-label", "web_01.bücher.test", "web_01.xn--bcher-kva.test"},
		{"I18N-2 an underscore beside a label from right to left", "web_01.ישראל", "web_01.xn--4dbrk0ce"},
		{"an IPv4 literal", "[192.0.2.1]", "[192.0.2.1]"},
		{"an IPv6 literal", "[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"},
		{"an IPv6 literal in other words", "[ipv6:2001:DB8:0:0:0:0:0:1]", "[IPv6:2001:db8::1]"},
		{"an IPv4 address in an IPv6 literal", "[IPv6:::ffff:192.0.2.1]", "[192.0.2.1]"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d, err := address.ParseDomain(c.in)
			if err != nil || d.String() != c.want {
				t.Fatalf("ParseDomain(%q) = %q, %v, want %q", c.in, d, err, c.want)
			}
			if again, err := address.ParseDomain(d.String()); err != nil || again != d {
				t.Errorf("its canonical form parses to %q, %v", again, err)
			}
		})
	}
}

func TestParseDomainRefuses(t *testing.T) {
	label64 := strings.Repeat("a", 64)
	name254 := strings.Repeat("a", 62) + strings.Repeat("."+strings.Repeat("a", 63), 3)
	cases := []struct{ name, in, enhanced string }{
		{"nothing", "", "5.1.2"},
		{"the root", ".", "5.1.2"},
		{"MX-13 an empty label", "a..b", "5.1.2"},
		{"MX-13 an empty first label", ".a.b", "5.1.2"},
		{"MX-13 an empty last label", "a.b..", "5.1.2"},
		{"MX-13 a label of 64 octets", label64 + ".test", "5.1.2"},
		{"MX-13 an A-label of 64 octets", "xn--" + label64[4:] + ".test", "5.1.2"},
		{"MX-13 a U-label whose A-label has more than 63", strings.Repeat("ü", 60) + ".test", "5.1.2"},
		{"MX-13 a name of 256 octets", name254, "5.1.2"},
		{"MX-13 a very long name", strings.Repeat("a.", 5000) + "b", "5.1.2"},
		{"I18N-2 an underscore in a U-label", "a_ü.test", "5.1.2"},
		{"I18N-2 a hyphen first in a U-label", "-ü.test", "5.1.2"},
		{"a blank", "a b.test", "5.1.2"},
		{"a second @", "a@b.test", "5.1.2"},
		{"a port", "a.test:25", "5.1.2"},
		{"an escaped dot", `a\.b.test`, "5.1.2"},
		{"SMTP-10 CR LF", "a.test\r\nRCPT TO:<x@y>", "5.1.2"},
		{"SMTP-10 NUL", "a\x00.test", "5.1.2"},
		{"not UTF-8", "a\xff.test", "5.1.2"},
		{"an address without brackets", "192.0.2.1", "5.1.2"},
		{"a number", "3221225985", "5.1.2"},
		{"a numeric top-level domain", "u.1", "5.1.2"},
		{"a hexadecimal address", "0x7f.0x1", "5.1.2"},
		{"an IPv6 address without brackets", "2001:db8::1", "5.1.2"},
		{"MX-12 an octet above 255", "[300.1.1.1]", "5.1.3"},
		{"MX-12 an unknown tag", "[foo:1]", "5.1.3"},
		{"MX-12 an octal octet", "[192.0.02.1]", "5.1.3"},
		{"MX-12 an IPv4 address with the tag", "[IPv6:192.0.2.1]", "5.1.3"},
		{"MX-12 an IPv6 address without the tag", "[2001:db8::1]", "5.1.3"},
		{"MX-12 a zone", "[IPv6:fe80::1%eth0]", "5.1.3"},
		{"MX-12 a zone that ends a command", "[IPv6:fe80::1%\r\nDATA]", "5.1.3"},
		{"MX-12 no end", "[192.0.2.1", "5.1.3"},
		{"MX-12 a bracket alone", "[", "5.1.3"},
		{"MX-12 nothing in it", "[]", "5.1.3"},
		{"MX-12 a dot behind it", "[192.0.2.1].", "5.1.3"},
		{"MX-12 a name in it", "[example.com]", "5.1.3"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d, err := address.ParseDomain(c.in)
			if !d.IsZero() {
				t.Errorf("ParseDomain(%q) = %q, want no domain", c.in, d)
			}
			checkError(t, err, c.enhanced)
		})
	}
}

// checkError wants an *Error with a status that is fit to be logged.
func checkError(t *testing.T, err error, enhanced string) {
	t.Helper()
	var e *address.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want an *Error", err)
	}
	if e.Enhanced != enhanced {
		t.Errorf("error %v has status %s, want %s", e, e.Enhanced, enhanced)
	}
	if e.Reason == "" || len(e.Error()) > 500 {
		t.Errorf("error %q: want a reason, in less than 500 octets", e)
	}
	for _, c := range []byte(e.Error()) {
		if c < ' ' || c >= 0x7f {
			t.Fatalf("error %q has octet %#x, want printable ASCII", e, c)
		}
	}
}

func TestDomainLiteral(t *testing.T) {
	d, err := address.ParseDomain("[IPv6:::1]")
	if err != nil {
		t.Fatal(err)
	}
	if ip, ok := d.Literal(); !ok || ip != netip.IPv6Loopback() {
		t.Errorf("Literal() = %v, %t, want ::1", ip, ok)
	}
	if d, err = address.ParseDomain("e.test"); err != nil {
		t.Fatal(err)
	}
	if ip, ok := d.Literal(); ok {
		t.Errorf("a name is the literal %v", ip)
	}
}

func TestNoDomain(t *testing.T) {
	var d address.Domain
	if !d.IsZero() || d.String() != "" || d.Unicode() != "" {
		t.Errorf("the zero Domain is %q, IsZero %t", d, d.IsZero())
	}
}

// TestParseHello: what this host calls itself goes by the grammar, for there it is
// read by hosts that go by it.
func TestParseHello(t *testing.T) {
	for in, want := range map[string]string{
		"Mail.Example.COM.":  "mail.example.com",
		"bücher.test":        "xn--bcher-kva.test",
		"[192.0.2.1]":        "[192.0.2.1]",
		"[ipv6:2001:DB8::1]": "[IPv6:2001:db8::1]",
		"my_host":            "",
		"app_1.internal":     "",
		"-a.test":            "",
		"a-.test":            "",
		"a_b.bücher.test":    "",
		"192.0.2.1":          "",
		"a b":                "",
		"ab--c.test":         "ab--c.test",
		"":                   "",
	} {
		t.Run("MX-13 "+in, func(t *testing.T) {
			d, err := address.ParseHello(in)
			if d.String() != want {
				t.Errorf("ParseHello(%q) = %q, %v, want %q", in, d, err, want)
			}
			if want == "" {
				checkError(t, err, "5.1.2")
			}
		})
	}
}

func TestParseHost(t *testing.T) {
	cases := []struct{ name, in, want string }{
		{"out of DNS", "MX1.Example.COM.", "mx1.example.com"},
		{"an underscore", "_mx.a_b.test", "_mx.a_b.test"},
		{"an underscore beside a U-label", "a_b.bücher.test", "a_b.xn--bcher-kva.test"},
		{"hyphens at the ends", "-mx-.test", "-mx-.test"},
		{"two hyphens", "r3--mx.test", "r3--mx.test"},
		{"I18N-3 a U-label", "mx.bücher.test", "mx.xn--bcher-kva.test"},
		{"an A-label of a later Unicode", "XN--zzzz99.test", "xn--zzzz99.test"},
		{"MX-9 a dotted quad", "192.0.2.1.", ""},
		{"an IPv6 address", "::1", ""},
		{"the root", ".", ""},
		{"an empty label", "a..b", ""},
		{"an escape", `a\032b.test`, ""},
		{"a blank", "a b.test", ""},
		{"a long label", strings.Repeat("a", 64), ""},
		{"a bad U-label", "a☃.test", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := address.ParseHost(c.in)
			if got != c.want {
				t.Errorf("ParseHost(%q) = %q, want %q", c.in, got, c.want)
			}
			if c.want == "" {
				checkError(t, err, "5.1.2")
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}
