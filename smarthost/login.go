package smarthost

import (
	"context"
	"crypto/tls"
	"fmt"
)

// Login is who to log in as at a smart host, and how to prove it (RFC 4954). It
// stands in the Login of an mx.Host. Fill it in before the first use and leave it
// alone; a changed login is a new one.
//
// Secrets are sent only over TLS whose certificate was verified, unless the host's
// TLS level names less: TLSEncrypt or TLSNone beside a Login is consent.
type Login struct {
	// User is the authentication identity. Empty only with a Certificate.
	User string

	// Authorize is the authorization identity, to act as somebody else; empty is
	// the one that goes with User.
	Authorize string

	// Password is for every mechanism but EXTERNAL, OAUTHBEARER and XOAUTH2.
	Password string

	// Token gives the bearer tokens of OAUTHBEARER and XOAUTH2 (RFC 7628). If nil,
	// there are none.
	Token TokenSource

	// Certificate is shown to the server in the TLS handshake, and is what the
	// mechanism EXTERNAL goes by. It may be nil.
	Certificate *tls.Certificate

	// Mechanism is the only one to use, such as "SCRAM-SHA-256"; empty is the
	// strongest that the server offers and that the fields above serve.
	Mechanism string
}

// TokenSource gives bearer tokens. It may be called concurrently.
type TokenSource interface {
	// Token returns a token that is valid now. refused is the token the server has
	// just refused, for which another should be fetched; empty at first. An error
	// is temporary and ends the attempt at this host.
	Token(ctx context.Context, refused string) (string, error)
}

// LoginName is the User, or the subject of the Certificate if there is none.
func (l *Login) LoginName() string {
	if l.User == "" && l.Certificate != nil && l.Certificate.Leaf != nil {
		return l.Certificate.Leaf.Subject.String()
	}
	return l.User
}

// Format writes the LoginName and never the secrets, whatever the verb.
func (l Login) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "login of %q", l.LoginName())
}

// MarshalText is what Format writes, so that a login in a log or a file of JSON
// shows no secret either. Nothing reads it back.
func (l Login) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%v", l), nil }
