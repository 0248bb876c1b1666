package session

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// Policy is what TLS one host must give for one route.
type Policy struct {
	Level       mx.TLSLevel                     // the least that will do
	Exact       bool                            // it holds though the Config's is higher
	Source      string                          // what asked for it; "" is the configuration
	ServerName  string                          // for SNI and, at TLSVerify, the certificate; "" is the host's
	Verify      func(tls.ConnectionState) error // in place of the check of the certificate, at TLSVerify
	MinVersion  uint16                          // the least version of TLS that will do; 0 is the configuration's
	Certificate *tls.Certificate                // presented to a host that asks, unless the login has one; nil if there is none
	Vouched     bool                            // the source knows that the host is the domain's
	Unsure      error                           // why that is not known for now
	Key         string                          // tells policies apart whose sessions must not be shared
	Expires     time.Time                       // no session is used again past it; zero is never

	// Judge judges a connection: after TLS was negotiated, instead of Verify unless it
	// does not authenticate the host, or when it is known that there is no TLS. It may
	// be nil. Basis is the basis of its judgement, and Domain the domain of the mail.
	Judge  func(*Handshake) Judgement
	Basis  string
	Domain string
}

// Handshake is what a connection has shown of TLS.
type Handshake struct {
	Host        string
	Addr, Local netip.AddrPort
	Helo        string               // the name it gives before TLS
	Offered     bool                 // STARTTLS, or TLS from the start
	State       *tls.ConnectionState // nil if TLS did not come about
	Err         error                // why it did not, though it was offered
	Unparsable  bool                 // since the certificate cannot be parsed
	Roots       *x509.CertPool       // nil is the system's
	Now         time.Time
}

// Judgement is the judgement of a policy source about a connection. The zero value
// means that none was asked.
type Judgement struct {
	Err           error  // why nothing may be sent; nil if the source allows mail
	Authenticated bool   // the host is proved to be the domain's
	Source        string // who says so
	Decision      any    // the complete decision, of the caller's type
}

// Refusal is why a host must not have mail by a policy: Judgement.Err, with what the
// connection came to, if there was one.
type Refusal struct {
	Judgement
	Cause error // may be nil
}

// Error is what the source says.
func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap is what the source says, and the cause.
func (r *Refusal) Unwrap() []error {
	if r.Cause == nil {
		return []error{r.Err}
	}
	return []error{r.Err, r.Cause}
}

// Serves reports whether a session made under one policy serves the other as it is, so that
// mail under both may share a transaction. A session under another Basis may serve if its
// key is the same, once it has been judged anew.
func (p *Policy) Serves(o *Policy) bool {
	return p.Level == o.Level && p.Source == o.Source && p.ServerName == o.ServerName && p.Key == o.Key &&
		p.MinVersion == o.MinVersion && p.Certificate == o.Certificate && p.Vouched == o.Vouched && p.Basis == o.Basis
}

// Protection is what a session's TLS is worth: the level that was reached, and who
// asked for the check of the certificate if there was one; "" is the
// configuration.
type Protection struct {
	Level  mx.TLSLevel
	Source string
}
