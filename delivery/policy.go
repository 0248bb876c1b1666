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

// TLSPolicy is the TLS required of one host on one route.
type TLSPolicy struct {
	// Level is the least acceptable level. TLSDefault is TLSMay.
	Level mx.TLSLevel

	// Exact makes Level apply even if Sender.TLS is higher. It is for rules of the
	// operator about part of the mail. The configuration of the host itself, by its TLS
	// or a login, is never lowered.
	Exact bool

	// Source names the source of the policy for reports, such as "dane" or "mta-sts";
	// it is "" for configuration.
	Source string

	// ServerName is sent as SNI, and at TLSVerify the certificate must be for this
	// name. Default: one of the host's Identities, or its name if it has none. For an
	// address literal it is the address, which is not sent as SNI.
	ServerName string

	// Verify replaces the check of the certificate against the roots and ServerName. It
	// is called in the handshake, at TLSVerify only, since the lower levels accept any
	// certificate. It may be nil.
	Verify func(tls.ConnectionState) error

	// Judge decides about each new connection, at every level: after TLS was
	// negotiated, or when it is known that there will be none. If the Decision does not
	// accept the connection, it is ended before mail. A Decision that accepts may still
	// say what was wrong, so that a check need not have consequences. Judge may be nil.
	//
	// If the Decision says that the host is authenticated, this suffices for TLSVerify.
	// If it does not, and the policy or the configuration requires TLSVerify, the usual
	// check follows: Verify, or roots and ServerName. Judge is called in the handshake,
	// and must return soon. For a kept session it is called again if the next message
	// has a policy with another Basis. For explanations it is called with nil, before
	// there is a connection.
	Judge func(*Handshake) *Decision

	// Basis is the same string for policies whose Judge returns the same Decision for
	// the same connection. Mail under policies with different bases can share sessions
	// if Key is the same, but no transactions, so that each has its own Decision.
	Basis string

	// MinVersion is the lowest acceptable version of TLS, such as tls.VersionTLS13.
	// Default: that of Sender.TLSConfig, or TLS 1.2. At TLSMay, a host without it gets
	// mail in clear.
	MinVersion uint16

	// Certificate is presented to the host if it asks for one. The certificate of a
	// login takes precedence. It may be nil.
	Certificate *tls.Certificate

	// Vouched is true if the source knows that the host belongs to the domain. MTA-STS
	// knows this for hosts that the policy names, and DANE for hosts with secure MX
	// records (RFC 8689 section 4.2.1). A message with REQUIRETLS is sent to a host of
	// an MX record only if Vouched is true or DNSSEC authenticates the route.
	Vouched bool

	// Unsure is why it is not known for now whether Vouched could be true, such as a policy
	// that cannot be fetched. A message with REQUIRETLS then waits, and does not fail.
	Unsure error

	// Key distinguishes policies whose sessions must not be used for each other. It is
	// part of the key of kept sessions and of TLS sessions to resume, with host, address,
	// level, MinVersion and Certificate, the pointer. It must differ if Verify differs,
	// and if Judge would accept a connection under one policy and refuse it under the
	// other.
	Key string

	// Expires is the time after which the policy must be asked for again and its
	// sessions are not used. If zero, there is no such time.
	Expires time.Time
}

// Handshake describes the TLS of a new connection to a host.
type Handshake struct {
	// Host is the host's name, Addr the address connected to, and Local our own
	// address.
	Host        string
	Addr, Local netip.AddrPort

	// Helo is the name that the host gave itself in its reply to EHLO, before any TLS. It
	// may be any text. With TLS from the start it is empty.
	Helo string

	// Offered is true if the host offers TLS, by STARTTLS or from the start.
	Offered bool

	// State is the state of TLS. If it is nil although TLS is offered, Err says why.
	State *tls.ConnectionState
	Err   error

	// Unparsable is true if TLS failed because crypto/x509 cannot parse the host's
	// certificate. It is then unknown whether the certificate is right or wrong.
	Unparsable bool

	// Roots are the configured certificate authorities; nil means the system's. Now is
	// the time at which certificates must be valid.
	Roots *x509.CertPool
	Now   time.Time
}

// Chain returns the certificates that the host has sent, beginning with its own.
// Without TLS it returns nil.
func (h *Handshake) Chain() []*x509.Certificate {
	if h.State == nil {
		return nil
	}
	return h.State.PeerCertificates
}

// PolicySource decides the TLS policy of a host. It is called at each attempt, after
// the host's addresses are known and before any of them is dialled. Package trust has
// an implementation with DANE, MTA-STS and rules of the operator:
//
//	sender.Policy = &trust.Source{Resolver: resolver}
//
// The contract is:
//
//   - An error skips the host in this attempt as a temporary failure; the next host is
//     tried. It never reduces security. A *PolicyError gives the reason in a form for
//     reports.
//   - A policy that is weaker than the configured level of the host or the Sender is
//     raised to that level, unless it is Exact.
//   - The host's Port is set to the port that will be dialled.
//   - It is not called for hosts that are configured to have no TLS. It is not called
//     for mail whose sender prefers delivery to security (the field TLS-Required: No,
//     RFC 8689), unless it is an OperatorPolicySource.
//   - It may be called concurrently.
//
// TLSPolicy.Judge tells a source about connections. A source with further tasks also
// implements OperatorPolicySource, PolicyRefresher or PolicyRunner.
type PolicySource interface {
	TLSPolicy(ctx context.Context, route *mx.Route, host *mx.Host) (TLSPolicy, error)
}

// OperatorPolicySource is a PolicySource that also knows the requirements of this
// program's operator, which do not depend on what domains publish. They also apply to
// mail with the field TLS-Required: No, because that field is about policies of the
// recipient's domain (RFC 8689 section 3), and anyone can write it.
type OperatorPolicySource interface {
	PolicySource

	// OperatorTLSPolicy is called for such mail instead of TLSPolicy, with the same
	// contract. The zero TLSPolicy means that the operator requires nothing.
	OperatorTLSPolicy(ctx context.Context, route *mx.Route, host *mx.Host) (TLSPolicy, error)
}

// PolicyRefresher is a PolicySource that can renew what it has stored. It is called
// before an Agent gives up a message that a policy holds back (RFC 8461 section 5.1).
type PolicyRefresher interface {
	// RefreshTLS looks again for the policy behind one of its decisions that holds mail
	// back, and reports whether it has changed. If it has, there is one more attempt.
	RefreshTLS(ctx context.Context, d *Decision) (changed bool)
}

// PolicyRunner is a PolicySource with background work, such as renewing policies before
// they expire.
type PolicyRunner interface {
	// RunTLS does this work until ctx ends. An Agent calls it while it runs, and
	// reports each notice as an event of kind PolicyNotice.
	RunTLS(ctx context.Context, notice func(*TLSNotice)) error
}

// TLSNotice is a notice about policies that is not about a single message: DANE is off
// because the resolver does not validate, a policy cannot be renewed, a host can no
// longer be authenticated.
type TLSNotice struct {
	// Domain and Host are the subject; they are empty if the notice is about all mail.
	Domain, Host string
	// Reason is one word, and Text describes the same for people.
	Reason, Text string
	// Err is the cause; it may be nil.
	Err error
}

// Error returns the text and the cause.
func (n *TLSNotice) Error() string {
	if n.Err == nil {
		return n.Text
	}
	return n.Text + ": " + n.Err.Error()
}

// Unwrap returns the cause; it may be nil.
func (n *TLSNotice) Unwrap() error { return n.Err }

// sessionPolicy is a policy as package session has it.
func sessionPolicy(p *TLSPolicy) session.Policy {
	s := session.Policy{
		Level: p.Level, Exact: p.Exact, Source: p.Source, ServerName: p.ServerName, Verify: p.Verify, MinVersion: p.MinVersion,
		Certificate: p.Certificate, Vouched: p.Vouched, Unsure: p.Unsure, Key: p.Key, Expires: p.Expires, Basis: p.Basis,
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
		Certificate: p.Certificate, Vouched: p.Vouched, Unsure: p.Unsure, Key: p.Key, Expires: p.Expires, Basis: p.Basis,
	}
}
