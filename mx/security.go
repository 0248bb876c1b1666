package mx

import "fmt"

// Security says whether DNSSEC vouches for something that DNS said: an alias, a name, an
// address. "Not known" and "no" are different answers: whoever can make
// a question fail must not be able to have a signed name taken for an unsigned one
// (RFC 7672 section 2.1.2).
type Security uint8

// The values. The zero value is SecurityUnknown, so that what was never found out is
// taken neither for signed nor for unsigned.
const (
	// SecurityUnknown: it has not been found out, or the question failed.
	SecurityUnknown Security = iota
	// Insecure: it is known that nobody vouches for it: it is not signed, the resolver
	// is not trusted, or it did not come from DNS.
	Insecure
	// Secure: a trusted resolver vouches for it.
	Secure
)

// securityOf is what an answer that is secure or not says.
func securityOf(secure bool) Security {
	if secure {
		return Secure
	}
	return Insecure
}

// both is what is known of two things together: nobody vouches for both if nobody does
// for one of them, and then it does not matter that the other is not known.
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

// String is secure, insecure or unknown.
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

// MarshalText is String, for JSON and the like. It fails for what is none of the values.
func (s Security) MarshalText() ([]byte, error) {
	if s > Secure {
		return nil, fmt.Errorf("mx: there is no %v", s)
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (s *Security) UnmarshalText(text []byte) error {
	for known := SecurityUnknown; known <= Secure; known++ {
		if string(text) == known.String() {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("mx: security %q is none of secure, insecure, unknown", text)
}
