package smarthost

import (
	"context"
	"crypto/tls"
	"fmt"
)

// Login has the credentials for a smart host (RFC 4954). It is the Login of an mx.Host. Do
// not change it after its first use; make a new Login instead.
//
// Secrets are sent only over TLS with a verified certificate. The host's TLS levels
// TLSEncrypt and TLSNone are consent to less.
type Login struct {
	// User is the authentication identity. It may be empty only if there is a Certificate.
	User string

	// Authorize is the authorization identity, to act as another user. Default: the one
	// that belongs to User.
	Authorize string

	// Password is for all mechanisms except EXTERNAL, OAUTHBEARER and XOAUTH2.
	Password string

	// Token returns the bearer tokens for OAUTHBEARER and XOAUTH2 (RFC 7628). If nil,
	// these are not used.
	Token TokenSource

	// Certificate is sent to the server in the TLS handshake, and used by the mechanism
	// EXTERNAL. It may be nil.
	Certificate *tls.Certificate

	// Mechanism is the only mechanism to use, such as "SCRAM-SHA-256". Default: the
	// strongest that the server offers and for which the fields above suffice.
	Mechanism string
}

// TokenSource returns bearer tokens. It must be safe for concurrent use.
type TokenSource interface {
	// Token returns a token that is valid now. If the server has just refused a token,
	// refused is that token, and another should be fetched; otherwise it is empty. An
	// error is temporary and ends the attempt at this host.
	Token(ctx context.Context, refused string) (string, error)
}

// LoginName returns the User or, if that is empty, the subject of the Certificate.
func (l *Login) LoginName() string {
	if l.User == "" && l.Certificate != nil && l.Certificate.Leaf != nil {
		return l.Certificate.Leaf.Subject.String()
	}
	return l.User
}

// Format writes the LoginName, never the secrets, for every verb.
func (l Login) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "login of %q", l.LoginName())
}

// MarshalText returns the text of Format, so that a login in a log or in JSON shows no
// secret. It cannot be read back.
func (l Login) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%v", l), nil }
