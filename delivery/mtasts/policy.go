package mtasts

import (
	"fmt"
	"strings"
	"time"
)

// Policy is a domain's policy for its mail hosts.
type Policy struct {
	// Mode says how to treat hosts that do not satisfy the policy.
	Mode Mode `json:"mode"`

	// MX are the host name patterns: names, or "*." and a name, in canonical form.
	MX []string `json:"mx,omitempty"`

	// MaxAge is how long the policy is in force after it was fetched.
	MaxAge time.Duration `json:"max_age"`

	// Lines are the lines of the policy as received, without empty ones, for reports
	// (RFC 8460 section 4.4).
	Lines []string `json:"lines,omitempty"`

	// Notes describe, for people, what is unusual about it.
	Notes []string `json:"notes,omitempty"`
}

// Mode says how to treat hosts that do not satisfy a policy (RFC 8461 section 5).
type Mode uint8

// The modes. The zero value is None.
const (
	// None: the domain has no policy any more.
	None Mode = iota
	// Testing: report the failure, and deliver.
	Testing
	// Enforce: do not deliver to that host.
	Enforce
)

// String returns the mode as it is written in a policy.
func (m Mode) String() string {
	switch m {
	case None:
		return "none"
	case Testing:
		return "testing"
	case Enforce:
		return "enforce"
	default:
		return fmt.Sprintf("mode %d", uint8(m))
	}
}

// MarshalText returns the same text as String, for JSON. It fails for invalid values.
func (m Mode) MarshalText() ([]byte, error) {
	if m > Enforce {
		return nil, fmt.Errorf("mtasts: %v is not valid", m)
	}
	return []byte(m.String()), nil
}

// UnmarshalText reads only the texts that MarshalText writes.
func (m *Mode) UnmarshalText(text []byte) error {
	for known := None; known <= Enforce; known++ {
		if string(text) == known.String() {
			*m = known
			return nil
		}
	}
	return fmt.Errorf("mtasts: unknown mode %q; want none, testing or enforce", text)
}

// Matches reports whether the policy allows a host: one of the patterns is its name, or
// "*." followed by its name without the first label (RFC 8461 section 4.1). host is the
// canonical name in the MX record, or the domain's own name if it has no MX records.
func (p *Policy) Matches(host string) bool {
	for _, pattern := range p.MX {
		if suffix, wild := strings.CutPrefix(pattern, "*."); wild {
			if _, parent, below := strings.Cut(host, "."); below && parent == suffix {
				return true
			}
		} else if pattern == host {
			return true
		}
	}
	return false
}
