package address_test

import (
	"testing"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// TestLookupRules are the rules of RFC 5891 section 5 for labels beyond ASCII
// and those that look like them.
func TestLookupRules(t *testing.T) {
	cases := []struct{ name, in, want string }{
		{"I18N-1 sharp s is no ss", "straße.test", "xn--strae-oqa.test"},
		{"I18N-1 final sigma", "ς.test", "xn--3xa.test"},
		{"I18N-1 Cyrillic capitals", "ПОЧТА.РФ", "xn--80a1acny.xn--p1ai"},
		{"I18N-1 Japanese", "日本語.jp", "xn--wgv71a119e.jp"},
		{"I18N-1 Thai", "ไทย.test", "xn--o3cw4h.test"},
		{"I18N-1 from right to left", "ab.ישראל", "ab.xn--4dbrk0ce"},
		{"I18N-1 a joiner in its place", "क्\u200dष.test", "xn--11b2ezcw70k.test"},
		{"I18N-1 a middle dot", "l·l.test", "xn--ll-0ea.test"},
		{"I18N-1 the A-label of a symbol that is in DNS", "xn--n3h.test", "xn--n3h.test"},
		{"I18N-1 two hyphens elsewhere", "a--b.test", "a--b.test"},
		{"I18N-1 hyphens in the second and third place", "ü--a.test", "xn----a-goa.test"},

		{"I18N-1 garbage for an A-label", "xn--a.test", ""},
		{"I18N-1 an empty A-label", "xn--.test", ""},
		{"I18N-1 an A-label of ASCII", "xn--abc-.test", ""},
		{"I18N-1 an A-label that does not decode", "xn--bcher-kv!.test", ""},
		{"I18N-1 an A-label of too large a number", "xn--99999999.test", ""},
		{"I18N-2 not NFC", "bu\u0308cher.test", ""},
		{"I18N-2 an A-label of what is not NFC", "xn--bucher-xyd.test", ""},
		{"reserved hyphens in ASCII, which DNS may have", "ab--c.test", "ab--c.test"},
		{"three hyphens, as services make names", "R3---sn-4g5e6.Test", "r3---sn-4g5e6.test"},
		{"a label of hyphens", "----.test", "----.test"},
		{"reserved hyphens in ASCII beside a U-label", "ab--c.b\u00fccher.test", "ab--c.xn--bcher-kva.test"},
		{"I18N-1 reserved hyphens in ASCII beside no A-label", "ab--c.xn--a.test", ""},
		{"I18N-2 reserved hyphens after a wide letter", "äb--c.test", ""},
		{"I18N-2 a leading combining mark", "\u0300a.test", ""},
		{"I18N-2 a disallowed symbol", "☃.test", ""},
		{"I18N-2 a disallowed full stop", "a\u3002test", ""},
		{"I18N-2 a full-width letter", "ｅ.test", ""},
		{"I18N-2 an Arabic tatweel", "مـم.test", ""},
		{"I18N-2 an old Hangul letter", "ᄀ.test", ""},
		{"I18N-2 a mark for symbols", "a\u20d0.test", ""},
		{"I18N-2 an invisible character", "a\u00adb.test", ""},
		{"I18N-2 an unassigned code point", "a\u0378.test", ""},
		{"I18N-2 a joiner out of context", "a\u200db.test", ""},
		{"I18N-2 a joiner at the end", "a\u200c.test", ""},
		{"I18N-2 the Bidi rule: a digit first", "1اب.test", ""},
		{"I18N-2 the Bidi rule: both directions", "aא.test", ""},
		{"I18N-2 the Bidi rule: another label of the name", "4x4.ישראל", ""},
		{"I18N-2 a hyphen at the end", "ü-.test", ""},
		{"I18N-1 a capital whose small letter is another's", "İ.test", ""},
		{"I18N-1 the Kelvin sign", "\u212a.test", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d, err := address.ParseDomain(c.in)
			if d.String() != c.want {
				t.Errorf("ParseDomain(%q) = %q, want %q", c.in, d, c.want)
			}
			if c.want == "" {
				checkError(t, err, "5.1.2")
			}
		})
	}
}

func TestUnicode(t *testing.T) {
	cases := []struct{ name, in, want string }{
		{"ASCII", "Example.com", "example.com"},
		{"I18N-3 the same from both spellings", "xn--bcher-kva.test", "bücher.test"},
		{"I18N-3 the same from the U-label", "bücher.test", "bücher.test"},
		{"a label that could deceive", "xn--n3h.test", "xn--n3h.test"},
		{"that and one that could not", "xn--n3h.xn--bcher-kva.test", "xn--n3h.bücher.test"},
		{"a name against the Bidi rule", "4x4.xn--4dbrk0ce", "4x4.xn--4dbrk0ce"},
		{"a literal", "[IPv6:::1]", "[IPv6:::1]"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d, err := address.ParseDomain(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.Unicode(); got != c.want {
				t.Errorf("Unicode() = %q, want %q", got, c.want)
			}
		})
	}
	t.Run("I18N-3, MX-14 one key for every spelling", func(t *testing.T) {
		keys := map[address.Domain]int{}
		for _, s := range []string{"bücher.test", "BÜCHER.TEST.", "xn--bcher-kva.test", "Xn--BCHER-kva.Test."} {
			d, err := address.ParseDomain(s)
			if err != nil {
				t.Fatal(err)
			}
			keys[d]++
		}
		if len(keys) != 1 {
			t.Errorf("keys %v, want one", keys)
		}
	})
}
