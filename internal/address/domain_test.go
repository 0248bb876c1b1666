package address_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/address"
)

func TestParseDomain(t *testing.T) {
	label := strings.Repeat("a", 63)
	long := strings.Repeat(label+".", 3)
	cases := []struct{ name, in, want string }{
		{"MX-14 canonical already", "e.test", "e.test"},
		{"MX-14 capitals", "E.TEST", "e.test"},
		{"MX-14 trailing dot", "e.test.", "e.test"},
		{"one label", "host", "host"},
		{"MX-13 a label of 63 octets", label + ".test", label + ".test"},
		{"MX-13 a name of 253 characters", long + strings.Repeat("b", 61), long + strings.Repeat("b", 61)},
		{"I18N-1 U-label", "b\u00fccher.test", "xn--bcher-kva.test"},
		{"I18N-1, I18N-3 capital U-label", "B\u00dcCHER.test", "xn--bcher-kva.test"},
		{"I18N-1 A-label", "XN--BCHER-KVA.test", "xn--bcher-kva.test"},
		{"I18N-1 deviation character", "fa\u00df.test", "xn--fa-hia.test"},
		{"MX-12 IPv4 literal", "[192.0.2.5]", "[192.0.2.5]"},
		{"MX-12 IPv6 literal", "[ipv6:2001:DB8::1]", "[IPv6:2001:db8::1]"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d, err := address.ParseDomain(c.in)
			if err != nil || d.String() != c.want {
				t.Fatalf("%q, %v, want %q", d, err, c.want)
			}
			again, err := address.ParseDomain(d.Unicode())
			if err != nil || again != d {
				t.Errorf("%q came back from %q as %q, %v", d, d.Unicode(), again, err)
			}
		})
	}
}

func TestBadDomains(t *testing.T) {
	label := strings.Repeat("a", 63)
	cases := []struct{ name, in, status string }{
		{"empty", "", "5.1.2"},
		{"root", ".", "5.1.2"},
		{"MX-13 empty label", "a..b", "5.1.2"},
		{"MX-13 leading dot", ".a", "5.1.2"},
		{"MX-13 label of 64 octets", label + "a.test", "5.1.2"},
		{"MX-13 name of 254 characters", strings.Repeat(label+".", 3) + strings.Repeat("b", 62), "5.1.2"},
		{"MX-13 underscore", "a_b.test", "5.1.2"},
		{"MX-13 blank", "a b.test", "5.1.2"},
		{"hyphen first", "-a.test", "5.1.2"},
		{"hyphen last", "a-.test", "5.1.2"},
		{"an address without brackets", "192.0.2.1", "5.1.2"},
		{"SMTP-10 CRLF", "a.test\r\nb", "5.1.2"},
		{"SMTP-10 NUL", "a\x00.test", "5.1.2"},
		{"I18N-1 not punycode", "xn--a.test", "5.1.2"},
		{"I18N-1 punycode of ASCII", "xn--abc-.test", "5.1.2"},
		{"I18N-2 not NFC", "cafe\u0301.test", "5.1.2"},
		{"I18N-2 hyphens in the third and fourth place", "ab--cd.test", "5.1.2"},
		{"I18N-2 the same in a U-label", "\u00e9b--cd.test", "5.1.2"},
		{"I18N-2 leading combining mark", "\u0301a.test", "5.1.2"},
		{"I18N-2 disallowed character", "a\u2665.test", "5.1.2"},
		{"I18N-2 unassigned code point", "a\u0378.test", "5.1.2"},
		{"I18N-2 joiner out of context", "a\u200db.test", "5.1.2"},
		{"I18N-2 mixed directions", "a\u05d0.test", "5.1.2"},
		{"invalid UTF-8", "a\xff.test", "5.1.2"},
		{"MX-12 octet over 255", "[300.1.1.1]", "5.1.3"},
		{"MX-12 unknown tag", "[foo:1]", "5.1.3"},
		{"MX-12 no tag", "[2001:db8::1]", "5.1.3"},
		{"MX-12 zone", "[IPv6:fe80::1%eth0]", "5.1.3"},
		{"MX-12 no end", "[192.0.2.1", "5.1.3"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d, err := address.ParseDomain(c.in)
			var e *address.Error
			if !errors.As(err, &e) || e.Enhanced != c.status || !d.IsZero() {
				t.Errorf("%q, %v, want status %s", d, err, c.status)
			}
		})
	}
}

func TestParseHost(t *testing.T) {
	for in, want := range map[string]string{
		"MX1.E.test.": "mx1.e.test", "_mx.e.test": "_mx.e.test", "r3---sn-a.e.test": "r3---sn-a.e.test",
		"b\u00fccher.test": "xn--bcher-kva.test", "b\u00fccher._x.test": "xn--bcher-kva._x.test",
	} {
		if got, err := address.ParseHost(in); err != nil || got != want {
			t.Errorf("ParseHost(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	t.Run("MX-9 an address is no name", func(t *testing.T) {
		for _, in := range []string{"192.0.2.1", "192.0.2.1.", "[192.0.2.1]", "2001:db8::1", "", ".", "xn--a.test"} {
			if got, err := address.ParseHost(in); err == nil {
				t.Errorf("ParseHost(%q) = %q", in, got)
			}
		}
	})
}
