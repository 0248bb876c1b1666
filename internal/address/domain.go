package address

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// The limits of RFC 1035 section 2.3.4. A name of 255 octets on the wire has at
// most 253 characters.
const (
	maxLabel = 63
	maxName  = 253
)

const (
	badDomain  = "5.1.2"
	badMailbox = "5.1.3"
	badReverse = "5.1.7"
)

// Domain is a mail domain or an address literal in canonical form, so that
// equal domains are equal values. The zero value is no domain.
type Domain struct {
	name string     // A-labels in lower case without a trailing dot; "" for a literal
	ip   netip.Addr // of a literal
}

// ParseDomain takes a domain in any spelling: U-labels or A-labels, any ASCII
// case, with or without a trailing dot; or an address literal in brackets
// (RFC 5321 section 4.1.3). U-labels must be valid by IDNA2008 (RFC 5891
// section 5) after lower-casing. The error is an *Error.
func ParseDomain(s string) (Domain, error) {
	if strings.HasPrefix(s, "[") {
		ip, reason := parseLiteral(s)
		if reason != "" {
			return Domain{}, bad(s, badMailbox, reason)
		}
		return Domain{ip: ip}, nil
	}
	name, reason := canonical(s, false)
	if reason != "" {
		return Domain{}, bad(s, badDomain, reason)
	}
	return Domain{name: name}, nil
}

// ParseHost takes a host name from DNS data or configuration and returns its
// canonical form: A-labels in lower case without a trailing dot. Underscores,
// which no host name should have, are let pass because some have. An IP address
// is no name (RFC 5321 section 5.1). The error is an *Error.
func ParseHost(s string) (string, error) {
	name, reason := canonical(s, true)
	if reason != "" {
		return "", bad(s, badDomain, reason)
	}
	return name, nil
}

// String is the canonical ASCII form: "example.com", "[192.0.2.1]",
// "[IPv6:2001:db8::1]".
func (d Domain) String() string {
	switch {
	case !d.ip.IsValid():
		return d.name
	case d.ip.Is4():
		return "[" + d.ip.String() + "]"
	default:
		return "[IPv6:" + d.ip.String() + "]"
	}
}

// Unicode is the form for people to read, A-labels shown as U-labels.
func (d Domain) Unicode() string {
	if d.ip.IsValid() || !strings.Contains(d.name, "xn--") {
		return d.String()
	}
	u, err := idna.Registration.ToUnicode(d.name)
	if err != nil {
		return d.name
	}
	return u
}

// Literal is the address of an address literal.
func (d Domain) Literal() (netip.Addr, bool) { return d.ip, d.ip.IsValid() }

// IsZero reports whether d is no domain at all.
func (d Domain) IsZero() bool { return d == Domain{} }

// parseLiteral reads "[192.0.2.1]" or "[IPv6:...]". Other tags are not known
// (RFC 5321 section 4.1.3).
func parseLiteral(s string) (ip netip.Addr, reason string) {
	if len(s) < 3 || s[len(s)-1] != ']' || len(s) > 64 {
		return ip, "not an address literal"
	}
	inner := s[1 : len(s)-1]
	if tag, rest, ok := cutTag(inner); ok {
		if !strings.EqualFold(tag, "IPv6") {
			return ip, "address literal with an unknown tag"
		}
		ip, err := netip.ParseAddr(rest)
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return netip.Addr{}, "not an IPv6 address"
		}
		return ip.Unmap(), ""
	}
	ip, err := netip.ParseAddr(inner)
	if err != nil || !ip.Is4() {
		return netip.Addr{}, "not an IPv4 address"
	}
	return ip, ""
}

func cutTag(s string) (tag, rest string, ok bool) { return strings.Cut(s, ":") }

// canonical is the canonical form of a name, or why it has none. A name that is
// canonical already comes back as it is.
func canonical(s string, lenient bool) (name, reason string) {
	name = strings.TrimSuffix(s, ".")
	upper, special, reason := survey(name, lenient)
	if reason != "" {
		return "", reason
	}
	if upper {
		name = strings.ToLower(name)
	}
	if special {
		if name, reason = toASCII(name); reason != "" {
			return "", reason
		}
	}
	if len(name) > maxName {
		return "", "name longer than 255 octets"
	}
	return name, checkLabels(name)
}

// survey goes through the octets once: what is not allowed anywhere, whether
// any letter is a capital, and whether IDNA has a say.
func survey(s string, lenient bool) (upper, special bool, reason string) {
	if s == "" {
		return false, false, "empty name"
	}
	if len(s) > 4*maxName {
		return false, false, "name longer than 255 octets"
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '.':
			// A label that begins with four such characters may be an A-label.
			special = special || c == '-' && i >= 3 && s[i-1] == '-'
		case 'A' <= c && c <= 'Z':
			upper = true
		case c >= 0x80:
			upper, special = true, true
		case c == '_' && lenient:
		default:
			return false, false, "character that no domain name has"
		}
	}
	return upper, special, ""
}

// toASCII turns U-labels into A-labels and checks those that are there already.
// Only the labels IDNA speaks of are given to it, so that an underscore beside
// them does not matter.
func toASCII(name string) (string, string) {
	labels := strings.Split(name, ".")
	for i, l := range labels {
		if !isIDN(l) {
			continue
		}
		a, err := idna.Registration.ToASCII(l)
		if err != nil {
			return "", "not a valid internationalised label"
		}
		if strings.HasPrefix(l, "xn--") && a != l {
			return "", "not a valid internationalised label"
		}
		labels[i] = a
	}
	return strings.Join(labels, "."), ""
}

// isIDN reports whether a label is subject to IDNA: non-ASCII, or with hyphens
// in the third and fourth place (RFC 5891 section 5.4).
func isIDN(label string) bool {
	if len(label) >= 4 && label[2] == '-' && label[3] == '-' {
		return true
	}
	for i := 0; i < len(label); i++ {
		if label[i] >= 0x80 {
			return true
		}
	}
	return false
}

// checkLabels checks a lower-case ASCII name label by label.
func checkLabels(name string) (reason string) {
	start := 0
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '.' {
			continue
		}
		switch n := i - start; {
		case n == 0:
			return "empty label"
		case n > maxLabel:
			return "label longer than 63 octets"
		case name[start] == '-' || name[i-1] == '-':
			return "label that begins or ends with a hyphen"
		}
		if i == len(name) && numeric(name[start:]) {
			return "an address, or a name that looks like one"
		}
		start = i + 1
	}
	return ""
}

// numeric reports whether a last label has digits only, which no top-level
// domain has; such a name is an IP address without brackets.
func numeric(label string) bool {
	for i := 0; i < len(label); i++ {
		if label[i] < '0' || label[i] > '9' {
			return false
		}
	}
	return true
}
