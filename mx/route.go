package mx

import (
	"context"
	"net/netip"
	"time"

	"github.com/nexthop-mail/nexthop/internal/enum"
)

// Route is where mail for one domain goes: next hops in the order to try them,
// and what was left out and why. It is good for one attempt; the next attempt
// asks again (RFC 5321 section 4.5.4.1).
type Route struct {
	// Domain is the destination in canonical form.
	Domain string

	// Kind is how the next hops were found.
	Kind Kind

	// Hosts are the next hops in the order to try them: preference ascending,
	// equals in random order. Each has at least one address. There are none only
	// if there is a Fallback, and LeftOut says why.
	Hosts []Host

	// LeftOut are the hosts that DNS named and the route does not use, in order
	// of preference; at most 100, so that nobody can make a route huge. Unlisted
	// is how many more there were.
	LeftOut  []LeftOut
	Unlisted int

	// Aliases is the CNAME chain of the domain itself, if it has one.
	Aliases []Alias

	// TTL is how long the answers behind this route hold; the least of them.
	TTL time.Duration

	// Secure is whether DNSSEC vouches for the MX set (or its absence).
	Secure bool

	// BySender is whether other mail for the domain may have another route because
	// of who sends it. Then nothing that is learnt of these hosts applies to that mail.
	BySender bool

	// Fallback finds the next hops to turn to in the same attempt once every host
	// above has failed for now, and for nothing else: not after a refusal that is
	// final, not after an unknown outcome. It may be nil. It is called at most once
	// per attempt; the route it returns has no Fallback of its own.
	Fallback func(context.Context) (Route, error)

	// FallbackID is the same for routes whose Fallback leads to the same hosts, so that
	// mail for their domains may go together. An empty one is equal to no other.
	FallbackID string
}

// Kind is how a route was found.
type Kind uint8

// The kinds of route.
const (
	ViaMX        Kind = iota // MX records
	ViaImplicit              // no MX records: the domain's own address (RFC 5321 section 5.1)
	ViaLiteral               // an address literal: no DNS at all (RFC 5321 section 4.1.3)
	ViaSmartHost             // an explicit next hop
	ViaFallback              // a next hop tried after every MX host failed for now
)

var kindNames = [...]string{"mx", "implicit", "literal", "smarthost", "fallback"}

// String is the kind in the words of the command line: mx, implicit, literal, smarthost,
// fallback.
func (k Kind) String() string { return enum.String("mx.Kind", kindNames[:], k) }

// MarshalText is String, for JSON and the like. It fails for a value that has no name.
func (k Kind) MarshalText() ([]byte, error) { return enum.Marshal("mx.Kind", kindNames[:], k) }

// UnmarshalText reads what MarshalText writes, and nothing else.
func (k *Kind) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mx.Kind", kindNames[:], k, text)
}

// Host is one next hop.
type Host struct {
	// Name is the host as the MX record names it, canonical; an address literal
	// in brackets if there is no name. Target is Name after its aliases, the
	// same if it has none.
	Name, Target string

	// Preference is the MX record's, lower is tried first.
	Preference uint16

	// Port is the TCP port. Default: the sender's.
	Port uint16

	// Addrs are the addresses in the order to dial them.
	Addrs []netip.Addr

	// TLS is the level this hop asks for; TLSDefault leaves it to the sender, and
	// is TLSVerify if there is a Login.
	TLS TLSLevel

	// ImplicitTLS is whether TLS begins with the connection, without STARTTLS
	// (RFC 8314 section 3.3).
	ImplicitTLS bool

	// Login is who to log in as before mail is sent, or nil. Package
	// smarthost has the logins there are.
	Login Login

	// Identities are the names of which the host's certificate must bear one at
	// TLSVerify (RFC 9525 calls them reference identifiers); none is Name. The
	// first that is a DNS name goes into the handshake (SNI). One that begins with
	// an underscore is an SRV-ID (RFC 4985), such as "_submissions.example.com".
	Identities []string

	// Secure is whether DNSSEC vouches for the addresses and the whole chain
	// of aliases to them, of each family that gave an address; NameSecure, for the
	// first step of that chain only, and if Name is no alias, the same as Secure
	// (RFC 7672 section 2.2.2 decides by both). A Router finds out both for the hosts
	// of a Secure MX set, for an implicit MX and for a host that is named; a host
	// about which it cannot, because a question fails, is left out. Of hosts of other
	// MX sets, NameSecure may be SecurityUnknown: it was not asked for.
	Secure, NameSecure Security
}

// Login is a reference to the credentials for a next hop, which this package
// does not look into. Its values are comparable, as pointers are: a session is
// kept for the Login it was made with and serves no other.
type Login interface {
	// LoginName is who logs in, for reports. It is no secret.
	LoginName() string
}

// TLSLevel is how much transport security a next hop must give.
type TLSLevel uint8

// The levels, each stronger than the one before it.
const (
	TLSDefault TLSLevel = iota // as the sender is configured
	TLSNone                    // never use TLS
	TLSMay                     // use it where offered, whatever the certificate
	TLSEncrypt                 // require it, whatever the certificate
	TLSVerify                  // require it, and the certificate must be the host's
)

var levelNames = [...]string{"default", "none", "may", "encrypt", "verify"}

// String is the level in the words of the command line: none, may, encrypt, verify, and
// default for TLSDefault.
func (l TLSLevel) String() string { return enum.String("mx.TLSLevel", levelNames[:], l) }

// MarshalText is String, for JSON and the like. It fails for a value that has no name.
func (l TLSLevel) MarshalText() ([]byte, error) { return enum.Marshal("mx.TLSLevel", levelNames[:], l) }

// UnmarshalText reads what MarshalText writes, and nothing else.
func (l *TLSLevel) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mx.TLSLevel", levelNames[:], l, text)
}

// LeftOut is a host that DNS named and the route does not use.
type LeftOut struct {
	Host   Host
	Reason Reason
	// Err is the failed lookup, if Reason is LookupFailed or BadRecord.
	Err error
}

// Reason is why a host was left out.
type Reason uint8

// The reasons.
const (
	// LookupFailed: no answer about its address for now. It passes by itself,
	// as OverLimit does when other hosts are drawn.
	LookupFailed Reason = iota
	// HasNoAddress: DNS firmly says that the host has none.
	HasNoAddress
	// IsSelf: it is this host.
	IsSelf
	// NotBetter: its preference is not lower than this host's own.
	NotBetter
	// NotAName: the record names an IP address or something that is no host name.
	NotAName
	// NullAmongOthers: a null MX beside real ones (RFC 7505 section 3).
	NullAmongOthers
	// AddressRefused: its addresses are loopback, unspecified, multicast,
	// link-local, or otherwise not to be dialled.
	AddressRefused
	// OverLimit: more hosts than one attempt tries.
	OverLimit
	// BadRecord: a record that cannot be read, so that nobody knows its host. The
	// name is the domain's. It may be better for the next attempt.
	BadRecord
)

// String is the reason in a few words that complete "left out: ...".
func (r Reason) String() string {
	switch r {
	case HasNoAddress:
		return "it has no address"
	case IsSelf:
		return "it is this host"
	case NotBetter:
		return "it is no better than this host"
	case NotAName:
		return "the record names no host"
	case NullAmongOthers:
		return "null MX beside others"
	case AddressRefused:
		return "its address is not to be dialled"
	case OverLimit:
		return "more hosts than one attempt tries"
	case BadRecord:
		return "a record cannot be read"
	default:
		return "no answer about its address for now"
	}
}

var reasonWords = [...]string{
	"lookup-failed", "no-address", "self", "not-better", "not-a-name", "null-mx-among-others", "address-refused",
	"over-limit", "bad-record",
}

// MarshalText is one word for programs, such as "not-better". It fails for a value that has no name.
func (r Reason) MarshalText() ([]byte, error) { return enum.Marshal("mx.Reason", reasonWords[:], r) }

// UnmarshalText reads what MarshalText writes, and nothing else.
func (r *Reason) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mx.Reason", reasonWords[:], r, text)
}

// Permanent is whether asking again within the TTL cannot help this host:
// everything but LookupFailed, OverLimit and BadRecord.
func (r Reason) Permanent() bool { return r != LookupFailed && r != OverLimit && r != BadRecord }
