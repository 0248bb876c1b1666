package delivery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
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

	// Judge, if not nil, says what each new connection is worth, at every level: once
	// TLS is up, or if there will be none. A Decision that is not accepted ends the
	// connection before mail; one that is may still say what was wrong, which makes a
	// check without consequences.
	//
	// If the Decision says that the host is authenticated, that is enough for TLSVerify.
	// If not and the Level is that, whoever asks for it, the check of before follows:
	// Verify, or roots and ServerName. Judge is called in the handshake, and must return
	// soon; for a session that is kept it is called again if the next message has a
	// policy with another Basis. For explanations it is called with nil, before there is
	// any connection.
	Judge func(*Handshake) *Decision

	// Basis is the same for policies whose Judge says the same of a connection. Mail
	// under policies with different ones shares sessions, if Key is the same, and no
	// transactions: to each its own Decision.
	Basis string

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
	// must differ wherever Verify, MinVersion or Certificate does, and wherever Judge
	// would accept a connection under one that it refuses under the other.
	Key string

	// Expires is when the policy must be asked for again; a session is not
	// reused past it. If zero, never.
	Expires time.Time
}

// Handshake is what a new connection to a host has shown of TLS.
type Handshake struct {
	// Host is the host's name, Addr the address connected to, and Local our own.
	Host        string
	Addr, Local netip.AddrPort

	// Offered is whether the host offers TLS: by STARTTLS, or from the start.
	Offered bool

	// State is the TLS that came about. If it is nil, Err is why there is none though
	// it is offered.
	State *tls.ConnectionState
	Err   error

	// Unparsable is whether TLS failed because the host's certificate cannot be parsed
	// by crypto/x509. Nothing can then be said about the certificate: not that it is
	// right, nor that it is wrong.
	Unparsable bool

	// Roots are who vouches for certificates by the configuration, nil being the
	// system's, and Now is the time they are to be valid at.
	Roots *x509.CertPool
	Now   time.Time
}

// Chain are the certificates that the host has sent, its own first; none without TLS.
func (h *Handshake) Chain() []*x509.Certificate {
	if h.State == nil {
		return nil
	}
	return h.State.PeerCertificates
}

// PolicySource decides the TLS policy of a host. It is asked at each attempt, after the
// host's addresses are known and before any of them is dialled. Package trust has the one
// that goes by DANE, by MTA-STS and by rules of the operator's:
//
//	sender.Policy = &trust.Source{Resolver: resolver}
//
// The contract is:
//
//   - An error leaves the host out of this attempt as a temporary failure; the
//     next host is tried. It never leads to less security. A *PolicyError says why in a
//     way that reports understand.
//   - An answer weaker than the level the host or the Sender is configured
//     with is raised to it, unless it is Exact.
//   - The host has its Port filled in, as it will be dialled.
//   - It is not asked about mail whose sender would rather have it delivered (the field
//     TLS-Required: No, RFC 8689), unless it is an OperatorPolicySource, nor about hosts
//     that are configured to have no TLS.
//   - It may be called concurrently.
//
// What a source is told later comes by TLSPolicy.Judge. One that has more to do implements
// OperatorPolicySource, PolicyRefresher or PolicyRunner, too.
type PolicySource interface {
	TLSPolicy(ctx context.Context, route *mx.Route, host *mx.Host) (TLSPolicy, error)
}

// OperatorPolicySource is a PolicySource that also knows what the operator of this program
// wants of hosts, whatever their domains say. That holds for mail whose sender would
// rather have it delivered, too: the field TLS-Required: No is about policies of the
// recipient's domain (RFC 8689 section 3), and anybody can write it.
type OperatorPolicySource interface {
	PolicySource

	// OperatorTLSPolicy is asked about such mail in place of TLSPolicy, by the same
	// contract. The zero TLSPolicy is that the operator wants nothing.
	OperatorTLSPolicy(ctx context.Context, route *mx.Route, host *mx.Host) (TLSPolicy, error)
}

// PolicyRefresher is a PolicySource that can look again, past what it has stored. It is
// asked before an Agent gives up a message that a policy keeps back (RFC 8461 section 5.1).
type PolicyRefresher interface {
	// RefreshTLS finds out anew what a decision of its own goes by that keeps mail back,
	// and reports whether that has changed: then there is one more attempt.
	RefreshTLS(ctx context.Context, d *Decision) (changed bool)
}

// PolicyRunner is a PolicySource with work of its own, such as fetching policies again
// before they expire.
type PolicyRunner interface {
	// RunTLS does it until ctx ends. An Agent calls it while it runs, and tells what
	// notice is given as an event of the kind PolicyNotice.
	RunTLS(ctx context.Context, notice func(*TLSNotice)) error
}

// TLSNotice is something about policies that people should know, and that is no outcome of
// a message: DANE is off because the resolver does not validate, a policy cannot be
// fetched again, a host no longer proves who it is.
type TLSNotice struct {
	// Domain and Host are what it is about; empty if it is about all.
	Domain, Host string
	// Reason is what happened, as one word, and Text the same for people.
	Reason, Text string
	// Err is the cause; it may be nil.
	Err error
}

// Error is the text, and the cause.
func (n *TLSNotice) Error() string {
	if n.Err == nil {
		return n.Text
	}
	return n.Text + ": " + n.Err.Error()
}

// Unwrap is the cause; it may be nil.
func (n *TLSNotice) Unwrap() error { return n.Err }

// sessionPolicy is a policy as package session has it.
func sessionPolicy(p *TLSPolicy) session.Policy {
	s := session.Policy{
		Level: p.Level, Exact: p.Exact, Source: p.Source, ServerName: p.ServerName, Verify: p.Verify, MinVersion: p.MinVersion,
		Certificate: p.Certificate, Vouched: p.Vouched, Key: p.Key, Expires: p.Expires, Basis: p.Basis,
	}
	if judge := p.Judge; judge != nil {
		s.Judge = func(h *session.Handshake) session.Judgement {
			d := judge((*Handshake)(h))
			if d == nil {
				d = &Decision{Accepted: true}
			}
			return session.Judgement{Err: d.Err(), Authenticated: d.Accepted && d.Authenticated, Source: d.Source, Decision: d}
		}
	}
	return s
}

// policyOf is a policy as users see it; what judges connections is left out.
func policyOf(p *session.Policy) TLSPolicy {
	return TLSPolicy{
		Level: p.Level, Exact: p.Exact, Source: p.Source, ServerName: p.ServerName, Verify: p.Verify, MinVersion: p.MinVersion,
		Certificate: p.Certificate, Vouched: p.Vouched, Key: p.Key, Expires: p.Expires, Basis: p.Basis,
	}
}
