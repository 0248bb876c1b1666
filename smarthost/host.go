package smarthost

import (
	"fmt"
	"strconv"

	"github.com/nexthop-mail/nexthop/internal/enum"
	"github.com/nexthop-mail/nexthop/mx"
)

// Host is a smart host: a next hop that the operator names.
type Host struct {
	// Name is a host name in any spelling, or an IP address with or without brackets. If
	// Lookup is not LookupAddress, Name is a mail domain.
	Name string

	// Lookup says which records of Name to look up. Default: LookupAddress.
	Lookup Lookup

	// Port is the TCP port. Default: 25, or 465 with ImplicitTLS. SRV records contain the
	// port.
	Port uint16

	// ImplicitTLS says that TLS begins with the connection (RFC 8314 section 3.3). With
	// SRV records it follows from the record.
	ImplicitTLS bool

	// TLS is the required level. Default: TLSVerify with a Login; TLSEncrypt with
	// ImplicitTLS or LookupSRV; otherwise the sender's level. TLSEncrypt or TLSNone with a
	// Login is consent to send its secrets to whichever server answers.
	TLS mx.TLSLevel

	// Preference is the host's rank in its list. Default: the host keeps its place.
	Preference Preference

	// Login are the credentials. If nil, there is no login.
	Login *Login

	// Targets are host names outside the domain that its SRV records may name even if
	// DNSSEC does not authenticate the records.
	Targets []string
}

// Lookup says which records to look up for a smart host.
type Lookup uint8

// The ways to look up a smart host.
const (
	LookupAddress Lookup = iota // only its addresses
	LookupMX                    // MX records, as for mail to the domain (RFC 5321 section 5.1)
	LookupSRV                   // SRV records for message submission (RFC 6186)
)

var lookupNames = [...]string{"address", "mx", "srv"}

// String returns address, mx or srv.
func (l Lookup) String() string { return enum.String("smarthost.Lookup", lookupNames[:], l) }

// MarshalText returns the text of String. It fails for a value without a name.
func (l Lookup) MarshalText() ([]byte, error) {
	return enum.Marshal("smarthost.Lookup", lookupNames[:], l)
}

// UnmarshalText reads the form that MarshalText writes, and no other.
func (l *Lookup) UnmarshalText(text []byte) error {
	return enum.Unmarshal("smarthost.Lookup", lookupNames[:], l, text)
}

// Preference is a rank among the hosts of one list. The lowest is tried first, equal ones
// in random order. The zero value means that there is no preference.
type Preference struct{ plus1 uint32 }

// Prefer returns the preference n.
func Prefer(n uint16) Preference { return Preference{uint32(n) + 1} }

// Value returns the number, or false if there is none.
func (p Preference) Value() (uint16, bool) { return uint16(p.plus1 - 1), p.plus1 != 0 }

// String returns the number, or "none" if there is none.
func (p Preference) String() string {
	if n, ok := p.Value(); ok {
		return strconv.Itoa(int(n))
	}
	return "none"
}

// MarshalText returns the text of String.
func (p Preference) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the form that MarshalText writes, and no other.
func (p *Preference) UnmarshalText(text []byte) error {
	if string(text) == "none" {
		*p = Preference{}
		return nil
	}
	n, err := strconv.ParseUint(string(text), 10, 16)
	if err != nil {
		return fmt.Errorf("smarthost.Preference: %.40q: want none or a number from 0 to 65535", text)
	}
	*p = Prefer(uint16(n))
	return nil
}

// The ports of RFC 5321, RFC 8314 and RFC 6409.
const (
	portSMTP        = 25
	portSubmissions = 465
	portSubmission  = 587
)

// port is the port to connect to.
func (h *Host) port() uint16 {
	switch {
	case h.Port != 0:
		return h.Port
	case h.ImplicitTLS:
		return portSubmissions
	default:
		return portSMTP
	}
}

// level is TLS with what its zero value means.
func (h *Host) level() mx.TLSLevel {
	switch {
	case h.TLS != mx.TLSDefault:
		return h.TLS
	case h.Login != nil:
		return mx.TLSVerify
	case h.ImplicitTLS || h.Lookup == LookupSRV:
		return mx.TLSEncrypt
	default:
		return mx.TLSDefault
	}
}
