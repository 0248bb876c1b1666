package sasl

import (
	"crypto/tls"
	"fmt"
	"slices"

	gosasl "github.com/emersion/go-sasl"
)

// Login is who logs in on one connection, and what there is to prove it.
type Login struct {
	User      string // the authentication identity
	Authorize string // the authorization identity; empty is the one of User
	Password  string
	Mechanism string // the only one to use; empty is any

	// Token is the bearer token to use, and Tokens whether there are any.
	Token  string
	Tokens bool

	// Certificate is whether the client showed one in the handshake.
	Certificate bool

	// TLS is the state of the connection's TLS, nil in clear; Verified, whether
	// the server's certificate was checked. Offered are all the mechanisms the
	// server offers.
	TLS      *tls.ConnectionState
	Verified bool
	Offered  []string

	// Host and Port are the server's, which OAUTHBEARER repeats.
	Host string
	Port int
}

// Format writes that it is a login and never the secrets, whatever the verb.
func (l *Login) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "login of %q", l.User) }

// Client is one side of one exchange. It is a sasl.Client of go-sasl, and says
// what of it is secret and whether the exchange was complete.
type Client struct {
	inner    gosasl.Client
	secrets  []string
	proves   bool         // the initial response does
	complete func() error // nil where the server proves nothing
}

// Client is the client's side of a mechanism that Choose has listed. The error
// says that what the login has does not fit the mechanism; it holds no secret.
func (l *Login) Client(mechanism string) (*Client, error) {
	switch mechanism {
	case External:
		return &Client{inner: gosasl.NewExternalClient(l.Authorize), proves: true}, nil
	case ScramSHA256Plus, ScramSHA256:
		return l.scram(mechanism == ScramSHA256Plus)
	case OAuthBearer:
		opt := &gosasl.OAuthBearerOptions{Username: l.identity(), Token: l.Token, Host: l.Host, Port: l.Port}
		return &Client{inner: &bearer{gosasl.NewOAuthBearerClient(opt)}, secrets: []string{l.Token}, proves: true}, nil
	case XOAuth2:
		return &Client{inner: &xoauth2{user: l.User, token: l.Token}, secrets: []string{l.Token}, proves: true}, nil
	case Plain:
		return &Client{inner: gosasl.NewPlainClient(l.Authorize, l.User, l.Password), secrets: []string{l.Password}, proves: true}, nil
	case LoginMechanism:
		return &Client{inner: &loginClient{user: l.User, password: l.Password}, secrets: []string{l.Password}}, nil
	case CramMD5:
		return &Client{inner: &cramMD5{user: l.User, password: l.Password}, secrets: []string{l.Password}}, nil
	default:
		return nil, fmt.Errorf("unknown mechanism %q", mechanism)
	}
}

// identity is whom OAUTHBEARER asks to be, the only name it has a place for.
func (l *Login) identity() string {
	if l.Authorize != "" {
		return l.Authorize
	}
	return l.User
}

// Start begins the exchange: the mechanism and the initial response, nil where
// there is none.
func (c *Client) Start() (mechanism string, initial []byte, err error) { return c.inner.Start() }

// Next answers a challenge. An error ends the exchange.
func (c *Client) Next(challenge []byte) ([]byte, error) { return c.inner.Next(challenge) }

// Proves reports whether the initial response says anything that a server may
// refuse for what it says: all do but a bare user name.
func (c *Client) Proves() bool { return c.proves }

// Unsure reports whether the first challenge after the initial response may ask for
// what that has said.
func (c *Client) Unsure(challenge []byte) bool {
	l, ok := c.inner.(*loginClient)
	return ok && l.Unsure(challenge)
}

// Complete returns an error if the server says that all is well, and has not
// proven what the mechanism has it prove.
func (c *Client) Complete() error {
	if c.complete == nil {
		return nil
	}
	return c.complete()
}

// Secrets are what must not be shown should the server repeat it.
func (c *Client) Secrets() []string { return slices.Clone(c.secrets) }

// Format writes that it is a client and never the secrets, whatever the verb.
func (c *Client) Format(f fmt.State, _ rune) { fmt.Fprint(f, "SASL client") }
