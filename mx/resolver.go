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

// Resolver asks DNS one question. It is the only way this package, and all of
// nexthop, sees DNS.
//
//   - name is absolute and canonical: lower-case A-labels without a trailing
//     dot. No search list is ever applied (RFC 5321 section 2.3.5).
//   - An answer is a fact: records, or the authoritative absence of them. If
//     there is no answer (SERVFAIL, REFUSED, timeout, malformed or bogus data)
//     Resolve returns a *ResolveError and never an Answer that looks like
//     "no records".
//   - Aliases that the response carries are followed. A response that ends in
//     an alias whose target's records it does not carry is answered with status
//     Aliased; the caller asks again at the last target.
//   - A question of TypeCNAME is not followed: it is answered with Success, the
//     one alias in Aliases, and its target as Name.
//   - Resolve ends when ctx ends, and is safe for concurrent use.
//   - The slices of an Answer may be shared, and must not be changed.
type Resolver interface {
	Resolve(ctx context.Context, name string, t Type) (Answer, error)
}

// Type is a DNS record type by its number in the protocol.
type Type uint16

// The record types nexthop asks for.
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

// String is the type's mnemonic, or TYPEn (RFC 3597 section 5).
func (t Type) String() string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return fmt.Sprintf("TYPE%d", uint16(t))
}

// MarshalText is String, for JSON and the like.
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
	return fmt.Errorf("mx.Type: %.40q is no type of DNS records", text)
}

// Status is what kind of answer DNS gave. The zero value is no answer at all,
// so that a forgotten status never reads as a fact.
type Status uint8

// The kinds of answer.
const (
	StatusNone Status = iota // no answer; never returned without an error
	Success                  // at least one record of the type asked for
	NoData                   // the name exists, without records of this type (RFC 2308 section 2.2)
	NXDomain                 // the name does not exist (RFC 2308 section 2.1)
	NotFound                 // NoData or NXDomain, the resolver cannot tell which
	Aliased                  // the response ended in an alias; ask again at its target
)

var statusNames = [...]string{"none", "success", "no-data", "nxdomain", "not-found", "aliased"}

// String is the kind of answer in one word: none, success, no-data, nxdomain, not-found, aliased.
func (s Status) String() string { return enum.String("mx.Status", statusNames[:], s) }

// MarshalText is String, for JSON and the like. It fails for a value that has no name.
func (s Status) MarshalText() ([]byte, error) { return enum.Marshal("mx.Status", statusNames[:], s) }

// UnmarshalText reads what MarshalText writes, and nothing else.
func (s *Status) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mx.Status", statusNames[:], s, text)
}

// Answer is what DNS says about one name and type.
type Answer struct {
	// Status is never StatusNone in an Answer returned without an error.
	Status Status

	// Name is the owner of the records: the name asked for, or the last target
	// of Aliases.
	Name string

	// Aliases is the chain of CNAMEs from the name asked for to Name, in order;
	// empty if the name is no alias.
	Aliases []Alias

	// TTL is how long the answer as a whole may be reused: the least of the
	// TTLs in the chain and the record set, and for a negative answer RFC 2308
	// section 5's. If zero, the answer may be used once.
	TTL time.Duration

	// Secure is whether a trusted resolver vouched (DNSSEC) for every step.
	Secure bool

	// The records, in the order of the response. Only the field of the type
	// asked for is set.
	MX    []MX
	NS    []string     // names of servers; the root's are what Probe asks for
	Addrs []netip.Addr // A or AAAA
	TXT   []string     // character-strings of one record joined without blanks
	TLSA  []TLSA
	SRV   []SRV

	// Unreadable is how many more records of the type asked for the response
	// had, whose data cannot be read. They are there: an answer without them is
	// not complete. Of TLSA records there may be no others: a domain with a broken
	// one asks for TLS all the same (RFC 7672 section 2.1.1).
	Unreadable int
}

// Alias is one CNAME of a chain. Secure is whether DNSSEC vouches for this one link,
// whatever comes after it. A Resolver says what it knows: one that validates knows it
// of each link, while the AD bit of a server is about a response as a whole, so that a
// response of several links without it leaves each SecurityUnknown. Links of an Answer
// that is Secure are all Secure.
type Alias struct {
	From, To string
	Secure   Security
}

// MX is one mail exchanger record (RFC 1035 section 3.3.9). Host is canonical:
// lower case, no trailing dot; the root is "".
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
