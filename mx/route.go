package mx

import (
	"context"
	"net/netip"
	"time"

	"github.com/nexthop-mail/nexthop/internal/enum"
)

// Route says where mail for one domain goes: the next hops in the order to try them, and
// which hosts were left out and why. It is for one attempt; the next attempt asks again
// (RFC 5321 section 4.5.4.1).
type Route struct {
	// Domain is the destination in canonical form.
	Domain string

	// Via says how the next hops were found. In a route of a Router of your own ViaNone
	// counts as ViaMX.
	Via Via

	// Hosts are the next hops in the order to try them: by ascending preference, and in
	// random order within a preference. Each has at least one address. Hosts may be empty
	// only if there is a Fallback; LeftOut then says why.
	Hosts []Host

	// LeftOut are the hosts that DNS named but the route does not use, in order of
	// preference. There are at most 100, so that no domain can make a route huge. Unlisted
	// is how many more there were.
	LeftOut  []LeftOut
	Unlisted int

	// Aliases is the CNAME chain of the domain itself, if it has one.
	Aliases []Alias

	// TTL is the least TTL of the answers that this route is made of.
	TTL time.Duration

	// Secure reports whether DNSSEC has authenticated the MX set (or its absence).
	Secure bool

	// BySender says that mail for the domain from other senders may have another route.
	// What is learnt about these hosts then does not apply to that mail.
	BySender bool

	// Fallback finds next hops for the same attempt once every host above has failed
	// temporarily. It is not used after a final refusal or an unknown outcome. It may be
	// nil. It is called at most once in an attempt, and the route that it returns has no
	// Fallback.
	Fallback func(context.Context) (Route, error)

	// FallbackID is equal for routes whose Fallback leads to the same hosts, so that mail
	// for their domains may be sent together. If it is empty, the route is not like any
	// other.
	FallbackID string
}

// Via says how a route was found.
type Via uint8

// The kinds of route.
const (
	ViaNone      Via = iota // not routed, or not known
	ViaMX                   // MX records
	ViaImplicit             // no MX records: the domain's own address (RFC 5321 section 5.1)
	ViaLiteral              // an address literal: no DNS at all (RFC 5321 section 4.1.3)
	ViaSmartHost            // an explicit next hop
	ViaFallback             // a next hop that is tried after every MX host has failed temporarily
)

var viaNames = [...]string{"none", "mx", "implicit", "literal", "smarthost", "fallback"}

// String returns none, mx, implicit, literal, smarthost or fallback.
func (v Via) String() string { return enum.String("mx.Via", viaNames[:], v) }

// MarshalText returns the text of String. It fails for a value without a name.
func (v Via) MarshalText() ([]byte, error) { return enum.Marshal("mx.Via", viaNames[:], v) }

// UnmarshalText reads the form that MarshalText writes, and no other.
func (v *Via) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mx.Via", viaNames[:], v, text)
}

// Host is one next hop.
type Host struct {
	// Name is the host in canonical form, as the MX record names it, or an address literal
	// in brackets if it has no name. Target is the name at the end of its aliases. If it
	// has none, Target is the same as Name.
	Name, Target string

	// Preference is that of the MX record. The lowest is tried first.
	Preference uint16

	// Port is the TCP port. Default: the sender's.
	Port uint16

	// Addrs are the addresses in the order to dial them.
	Addrs []netip.Addr

	// TLS is the level that this hop requires. Default: the sender's, or TLSVerify if
	// there is a Login.
	TLS TLSLevel

	// ImplicitTLS says that TLS begins with the connection, without STARTTLS (RFC 8314
	// section 3.3).
	ImplicitTLS bool

	// Login are the credentials to log in with before mail is sent. If nil, there is no
	// login. Package smarthost has the implementations.
	Login Login

	// Identities are the names of which the certificate must have one at TLSVerify
	// (reference identifiers in RFC 9525). Default: Name. The first that is a DNS name is
	// sent in the handshake (SNI). If one begins with an underscore, it is an SRV-ID (RFC
	// 4985), such as "_submissions.example.com".
	Identities []string

	// Secure says whether DNSSEC has authenticated the addresses, in each family that has
	// one, and the whole chain of aliases to them. NameSecure is about the first step of
	// that chain only; if Name is not an alias, it is the same as Secure. RFC 7672 section
	// 2.2.2 needs both. A Router finds out both for the hosts of a Secure MX set, for an
	// implicit MX and for a host that the operator named. If it cannot, because a question
	// fails, the host is left out. For hosts of other MX sets it does not ask, so
	// NameSecure may be SecurityUnknown.
	Secure, NameSecure Security
}

// Login is a reference to the credentials for a next hop. This package does not look into
// it. Values must be comparable, as pointers are, because a session is used again only for
// the Login with which it was made.
type Login interface {
	// LoginName returns the name of the user, for reports. It must not be a secret.
	LoginName() string
}

// TLSLevel is how much transport security a next hop must offer.
type TLSLevel uint8

// The levels, each stronger than the one before it.
const (
	TLSDefault TLSLevel = iota // as the sender is configured
	TLSNone                    // never use TLS
	TLSMay                     // use it if offered, with any certificate
	TLSEncrypt                 // require it, with any certificate
	TLSVerify                  // require it, with a valid certificate for the host
)

var levelNames = [...]string{"default", "none", "may", "encrypt", "verify"}

// String returns default, none, may, encrypt or verify.
func (l TLSLevel) String() string { return enum.String("mx.TLSLevel", levelNames[:], l) }

// MarshalText returns the text of String. It fails for a value without a name.
func (l TLSLevel) MarshalText() ([]byte, error) { return enum.Marshal("mx.TLSLevel", levelNames[:], l) }

// UnmarshalText reads the form that MarshalText writes, and no other.
func (l *TLSLevel) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mx.TLSLevel", levelNames[:], l, text)
}

// LeftOut is a host that DNS named but the route does not use.
type LeftOut struct {
	Host   Host
	Reason Reason
	// Err is the failed lookup, if Reason is LookupFailed or BadRecord.
	Err error
}

// Reason says why a host was left out.
type Reason uint8

// The reasons.
const (
	// LookupFailed: for now there is no answer about its address.
	LookupFailed Reason = iota
	// HasNoAddress: DNS answers that the host has no address.
	HasNoAddress
	// IsSelf: it is this host.
	IsSelf
	// NotBetter: its preference is not lower than this host's own.
	NotBetter
	// NotAName: the record has an IP address or something else that is not a host name.
	NotAName
	// NullAmongOthers: a null MX among other records (RFC 7505 section 3).
	NullAmongOthers
	// AddressRefused: its addresses may not be dialled, because they are loopback,
	// unspecified, multicast or link-local, or in a network that the Router refuses.
	AddressRefused
	// OverLimit: there are more hosts than one attempt tries. The next attempt may choose
	// others.
	OverLimit
	// BadRecord: the record cannot be read, so its host is not known, and the name is the
	// domain's. The next attempt may be able to read it.
	BadRecord
)

// String describes the reason in a few words that complete "left out: ...".
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
		return "null MX among others"
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

// MarshalText returns a word for programs, such as "not-better". It fails for a value without a name.
func (r Reason) MarshalText() ([]byte, error) { return enum.Marshal("mx.Reason", reasonWords[:], r) }

// UnmarshalText reads the form that MarshalText writes, and no other.
func (r *Reason) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mx.Reason", reasonWords[:], r, text)
}

// Permanent reports whether the reason will be the same if the host is looked up again
// within the TTL. This is so for all reasons except LookupFailed, OverLimit and BadRecord.
func (r Reason) Permanent() bool { return r != LookupFailed && r != OverLimit && r != BadRecord }
