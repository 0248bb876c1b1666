package address

import (
	"net/netip"
	"strings"
)

// Domain is a mail domain or an address literal in canonical form, so that
// equal domains are equal values and a Domain can be a map key. The zero value
// is no domain.
type Domain struct {
	name string     // A-labels in lower case without a trailing dot; "" for a literal
	ip   netip.Addr // of a literal
}

// ParseDomain takes a domain in any spelling: U-labels or A-labels, capitals,
// with or without a trailing dot; or an address literal in brackets (RFC 5321
// section 4.1.3). U-labels must be valid by IDNA2008 (RFC 5891 section 5.4)
// once they are in lower case; A-labels must be real ones. A literal whose IPv6
// address stands for an IPv4 one is equal to that one's.
//
// DNS has domains that get mail though no host may be called so (RFC 1123 section
// 2.1): underscores, hyphens at the ends of a label, and two hyphens in the third
// and fourth place of a label that is no A-label. They are taken, and DNS says
// whether they exist.
//
// The error is an *Error: 5.1.2 about a name, 5.1.3 about a literal.
func ParseDomain(s string) (Domain, error) {
	d, enhanced, reason := parseDomain(s)
	if reason != "" {
		return Domain{}, bad(s, enhanced, reason)
	}
	return d, nil
}

func parseDomain(s string) (d Domain, enhanced, reason string) {
	if strings.HasPrefix(s, "[") {
		d.ip, reason = parseLiteral(s)
		return d, badMailbox, reason
	}
	d.name, reason = canonical(s, forDomain)
	return d, badDomain, reason
}

// ParseHost takes a host name found in DNS data or in a configuration and
// returns its canonical form: A-labels in lower case without a trailing dot.
// What ParseDomain lets pass is let pass here, and "xn--" before anything, too.
// An IP address is no name (RFC 5321 section 5.1). The error is an *Error.
func ParseHost(s string) (string, error) {
	name, reason := canonical(s, forHost)
	if reason != "" {
		return "", bad(s, badDomain, reason)
	}
	return name, nil
}

// ParseHello takes what this host calls itself, in EHLO and in reports: what
// ParseDomain takes, but a name must be one of letters, digits and hyphens, as the
// grammar has it (RFC 5321 section 4.1.2). Hosts refuse clients for less. The error
// is an *Error.
func ParseHello(s string) (Domain, error) {
	d, err := ParseDomain(s)
	if err != nil || d.ip.IsValid() {
		return d, err
	}
	if _, reason := canonical(s, forHello); reason != "" {
		return Domain{}, bad(s, badDomain, reason)
	}
	return d, nil
}

// String is the canonical ASCII form: "example.com", "[192.0.2.1]",
// "[IPv6:2001:db8::1]". It is empty for no domain.
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

// Unicode is the form for people to read: A-labels as U-labels, where ParseDomain
// takes those for the same domain. Never for the wire or for a key.
func (d Domain) Unicode() string {
	if d.ip.IsValid() || !strings.Contains(d.name, acePrefix) {
		return d.String()
	}
	parts := strings.Split(d.name, ".")
	for i, l := range parts {
		parts[i] = readable(l)
	}
	u := strings.Join(parts, ".")
	if again, reason := canonical(u, forDomain); reason != "" || again != d.name {
		return d.name
	}
	return u
}

// Literal is the address of an address literal, and false for a name.
func (d Domain) Literal() (netip.Addr, bool) { return d.ip, d.ip.IsValid() }

// IsZero reports whether d is no domain at all.
func (d Domain) IsZero() bool { return d == Domain{} }

// maxLiteral is more than the longest literal there is.
const maxLiteral = 64

// parseLiteral reads "[192.0.2.1]" or "[IPv6:...]". No other tag is known to
// mean an address (RFC 5321 section 4.1.3).
func parseLiteral(s string) (ip netip.Addr, reason string) {
	if len(s) < len("[]") || s[len(s)-1] != ']' || len(s) > maxLiteral {
		return ip, "not an address literal"
	}
	inner := s[1 : len(s)-1]
	tag, rest, tagged := strings.Cut(inner, ":")
	if !tagged {
		ip, err := netip.ParseAddr(inner)
		if err != nil {
			return netip.Addr{}, "not an IPv4 address"
		}
		return ip, ""
	}
	if !strings.EqualFold(tag, "IPv6") {
		return ip, "address literal with an unknown tag"
	}
	ip, err := netip.ParseAddr(rest)
	if err != nil || !ip.Is6() || ip.Zone() != "" {
		return netip.Addr{}, "not an IPv6 address"
	}
	return ip.Unmap(), ""
}
