package mtasts

import (
	"fmt"
	"strings"
	"time"
)

// Policy is what a domain says of its mail hosts.
type Policy struct {
	// Mode is what to do about hosts that are not as the policy says.
	Mode Mode `json:"mode"`

	// MX are the patterns of host names: names, or "*." and a name. They are in
	// canonical form.
	MX []string `json:"mx,omitempty"`

	// MaxAge is how long the policy is in force after it was fetched.
	MaxAge time.Duration `json:"max_age"`

	// Lines are the lines of the policy as they came, without those that say nothing:
	// reports have them (RFC 8460 section 4.4).
	Lines []string `json:"lines,omitempty"`

	// Notes say what is odd about it, for people.
	Notes []string `json:"notes,omitempty"`
}

// Mode is what to do about hosts that are not as a policy says (RFC 8461 section 5).
type Mode uint8

// The modes. The zero value is None.
const (
	// None: nothing; the domain has no policy any more.
	None Mode = iota
	// Testing: report it, and deliver.
	Testing
	// Enforce: do not deliver to that host.
	Enforce
)

// String is the mode as a policy has it.
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

// MarshalText is String, for JSON. It fails for what is no mode.
func (m Mode) MarshalText() ([]byte, error) {
	if m > Enforce {
		return nil, fmt.Errorf("mtasts: there is no %v", m)
	}
	return []byte(m.String()), nil
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (m *Mode) UnmarshalText(text []byte) error {
	for known := None; known <= Enforce; known++ {
		if string(text) == known.String() {
			*m = known
			return nil
		}
	}
	return fmt.Errorf("mtasts: mode %q is none of none, testing, enforce", text)
}

// Matches reports whether a host may have mail for the domain: one of the patterns is its
// name, or "*." and all of its name but the first label (RFC 8461 section 4.1). host is
// the name that the MX record has, canonical, or the domain's own if it has no MX records.
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
