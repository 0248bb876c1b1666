package delivery

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// TLSPolicy is what TLS one host must give for one route.
type TLSPolicy struct {
	// Level is the least that will do. TLSDefault is TLSMay.
	Level mx.TLSLevel

	// Exact has Level hold also if Sender.TLS is higher, for a rule of the operator's
	// about part of the mail. What the host itself is configured with, by its TLS or a
	// login, is never lowered.
	Exact bool

	// Source names what asked for it, for reports: "" for configuration, or
	// such as "dane", "mta-sts".
	Source string

	// ServerName is sent as SNI and, at TLSVerify, is the name the certificate
	// must be for. Default: one of the host's Identities, or if it has none its
	// name. Of an address literal it is the address alone, which is not sent as SNI.
	ServerName string

	// Verify, if not nil, replaces the check of the certificate against the
	// roots and ServerName. It runs in the handshake, at TLSVerify only: the
	// levels below it take any certificate.
	Verify func(tls.ConnectionState) error

	// MinVersion is the least version of TLS that will do, such as tls.VersionTLS13.
	// Default: that of Sender.TLSConfig, or TLS 1.2. At TLSMay a host without it gets
	// mail in clear.
	MinVersion uint16

	// Certificate is shown to the host if it asks for one. It may be nil. That of a
	// login comes first.
	Certificate *tls.Certificate

	// Vouched is whether the source knows that the host is one of the domain's,
	// as an MTA-STS policy that names it does and DANE with its secured MX records
	// (RFC 8689 section 4.2.1). A message with REQUIRETLS goes to no host of an MX
	// record without, unless DNSSEC vouches for the route.
	Vouched bool

	// Key tells apart policies that a session made under one must not serve the
	// other. It joins host, address and level in the key of kept sessions; it
	// must differ wherever Verify, MinVersion or Certificate does.
	Key string

	// Expires is when the policy must be asked for again; a session is not
	// reused past it. If zero, never.
	Expires time.Time
}

// PolicySource decides the TLS policy of a host. It is asked after the host's
// addresses are known and before any of them is dialled.
//
//   - An error leaves the host out of this attempt as a temporary failure; the
//     next host is tried. It never leads to less security.
//   - An answer weaker than the level the host or the Sender is configured
//     with is raised to that level, unless it is Exact.
//   - It may be called concurrently.
type PolicySource interface {
	TLSPolicy(ctx context.Context, route *mx.Route, host *mx.Host) (TLSPolicy, error)
}

// Protection is what a session's TLS is worth.
type Protection struct {
	// Level is TLSNone in clear, TLSEncrypt if the peer is not known, and
	// TLSVerify if its certificate was checked as the policy asks.
	Level mx.TLSLevel
	// Source is what asked for the check: "" for configuration, else the
	// policy's, such as "dane" or "mta-sts".
	Source string
}

// String is none, encrypted, verified, or the policy that verified: dane,
// mta-sts.
func (p Protection) String() string {
	switch {
	case p.Level == mx.TLSVerify && p.Source != "":
		return p.Source
	case p.Level == mx.TLSVerify:
		return "verified"
	case p.Level == mx.TLSEncrypt:
		return "encrypted"
	default:
		return "none"
	}
}
