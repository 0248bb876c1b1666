package mx

import "fmt"

// Security says whether DNSSEC has authenticated an alias, a name or an address. "Not
// known" and "no" are different: an attacker who can make a question fail must not be able
// to make a signed name count as an unsigned one (RFC 7672 section 2.1.2).
type Security uint8

// The zero value is SecurityUnknown.
const (
	// SecurityUnknown: it was not asked for, or the question failed.
	SecurityUnknown Security = iota
	// Insecure: it is certainly not authenticated. It is not signed, the resolver is not
	// trusted, or it did not come from DNS.
	Insecure
	// Secure: a trusted resolver has authenticated it.
	Secure
)

// securityOf is what an answer that is secure or not says.
func securityOf(secure bool) Security {
	if secure {
		return Secure
	}
	return Insecure
}

// both returns the security of two things together: insecure if one of them is, even if
// the other is unknown.
func (s Security) both(other Security) Security {
	switch {
	case s == Insecure || other == Insecure:
		return Insecure
	case s == Secure && other == Secure:
		return Secure
	default:
		return SecurityUnknown
	}
}

// String returns secure, insecure or unknown.
func (s Security) String() string {
	switch s {
	case SecurityUnknown:
		return "unknown"
	case Insecure:
		return "insecure"
	case Secure:
		return "secure"
	default:
		return fmt.Sprintf("security %d", uint8(s))
	}
}

// MarshalText returns the text of String. It fails for other values.
func (s Security) MarshalText() ([]byte, error) {
	if s > Secure {
		return nil, fmt.Errorf("mx: %v has no name", s)
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads the form that MarshalText writes, and no other.
func (s *Security) UnmarshalText(text []byte) error {
	for known := SecurityUnknown; known <= Secure; known++ {
		if string(text) == known.String() {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("mx: unknown security %q; use secure, insecure or unknown", text)
}
