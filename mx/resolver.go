package mx

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/enum"
)

// Resolver asks DNS one question. All of nexthop uses DNS through it.
//
//   - name is absolute and canonical: lower-case A-labels without a trailing
//     dot. No search list is ever applied (RFC 5321 section 2.3.5).
//   - An Answer has records, or means that there certainly are none. If there is no answer
//     (SERVFAIL, REFUSED, timeout, malformed or bogus data), Resolve returns a
//     *ResolveError, never an Answer that looks like "no records".
//   - Aliases in the response are followed. If the response ends in an alias, without
//     records of its target, the status is Aliased, and the caller asks again at the last
//     target.
//   - For a question of TypeCNAME, aliases are not followed. The answer has status
//     Success, one alias in Aliases, and its target as Name.
//   - Resolve returns when ctx ends, and is safe for concurrent use.
//   - The slices of an Answer may be shared, and must not be changed.
type Resolver interface {
	Resolve(ctx context.Context, name string, t Type) (Answer, error)
}

// Type is a DNS record type by its number in the protocol.
type Type uint16

// The record types that nexthop asks for.
const (
	TypeA     Type = 1
	TypeNS    Type = 2
	TypeCNAME Type = 5
	TypeMX    Type = 15
	TypeTXT   Type = 16
	TypeAAAA  Type = 28
	TypeSRV   Type = 33
	TypeTLSA  Type = 52
)

var typeNames = map[Type]string{
	TypeA: "A", TypeNS: "NS", TypeCNAME: "CNAME", TypeMX: "MX", TypeTXT: "TXT", TypeAAAA: "AAAA", TypeSRV: "SRV", TypeTLSA: "TLSA",
}

// String returns the mnemonic of the type, or TYPEn (RFC 3597 section 5).
func (t Type) String() string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return fmt.Sprintf("TYPE%d", uint16(t))
}

// MarshalText returns the text of String.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads the mnemonics of the types above, and TYPEn.
func (t *Type) UnmarshalText(text []byte) error {
	for known, name := range typeNames {
		if string(text) == name {
			*t = known
			return nil
		}
	}
	if digits, ok := strings.CutPrefix(string(text), "TYPE"); ok {
		if n, err := strconv.ParseUint(digits, 10, 16); err == nil {
			*t = Type(n)
			return nil
		}
	}
	return fmt.Errorf("mx.Type: %.40q is not a type of DNS record", text)
}

// Status is the kind of an answer. The zero value means that there is no answer, so a
// status that was not set cannot be mistaken for one.
type Status uint8

// The kinds of answer.
const (
	StatusNone Status = iota // no answer; never returned without an error
	Success                  // at least one record of the type asked for
	NoData                   // the name exists, without records of this type (RFC 2308 section 2.2)
	NXDomain                 // the name does not exist (RFC 2308 section 2.1)
	NotFound                 // NoData or NXDomain; the resolver cannot tell which
	Aliased                  // the response ended in an alias; ask again at its target
)

var statusNames = [...]string{"none", "success", "no-data", "nxdomain", "not-found", "aliased"}

// String returns none, success, no-data, nxdomain, not-found or aliased.
func (s Status) String() string { return enum.String("mx.Status", statusNames[:], s) }

// MarshalText returns the text of String. It fails for a value without a name.
func (s Status) MarshalText() ([]byte, error) { return enum.Marshal("mx.Status", statusNames[:], s) }

// UnmarshalText reads the form that MarshalText writes, and no other.
func (s *Status) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mx.Status", statusNames[:], s, text)
}

// Answer is the answer of DNS about one name and type.
type Answer struct {
	// Status is never StatusNone in an Answer returned without an error.
	Status Status

	// Name is the owner of the records: the name asked for or, if there are Aliases, their
	// last target.
	Name string

	// Aliases is the chain of CNAMEs from the name asked for to Name, in order. It is
	// empty if the name is not an alias.
	Aliases []Alias

	// TTL is how long the answer as a whole may be reused: the least TTL in the chain and
	// the record set, and for a negative answer that of RFC 2308 section 5. If zero, the
	// answer may be used once.
	TTL time.Duration

	// Secure reports whether a trusted resolver has authenticated every step with DNSSEC.
	Secure bool

	// The records, in the order of the response. Only the field for the type asked for is
	// set.
	MX    []MX
	NS    []string     // names of servers; the root's are what Probe asks for
	Addrs []netip.Addr // A or AAAA
	TXT   []string     // character-strings of one record joined without blanks
	TLSA  []TLSA
	SRV   []SRV

	// Unreadable is the number of further records of the type asked for whose data cannot
	// be read. Without them the answer is not complete. A TLSA answer may have no other
	// records: a domain with a broken TLSA record still asks for TLS (RFC 7672 section
	// 2.1.1).
	Unreadable int
}

// Alias is one CNAME of a chain. Secure says whether DNSSEC has authenticated this one
// link. A Resolver that validates knows this for each link. The AD bit of a server is
// about a response as a whole: if it is not set on a response with several links, each
// link is SecurityUnknown. All links of a Secure Answer are Secure.
type Alias struct {
	From, To string
	Secure   Security
}

// MX is one mail exchanger record (RFC 1035 section 3.3.9). Host is canonical: in lower
// case and without a trailing dot. The root is "".
type MX struct {
	Preference uint16
	Host       string
}

// TLSA is one DANE record (RFC 6698 section 2.1).
type TLSA struct {
	Usage, Selector, MatchingType uint8
	Data                          []byte
}

// SRV is one service record (RFC 2782). The root target is "".
type SRV struct {
	Priority, Weight, Port uint16
	Target                 string
}
