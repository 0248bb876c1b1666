package sasl

import (
	"bytes"
	"crypto/tls"
	"errors"
	"slices"
	"strconv"

	"github.com/xdg-go/scram"
)

// maxIterations bounds the work a server may ask for: about a second of it.
const maxIterations = 1 << 20

var (
	errPassword   = errors.New("the user name or password has characters that SCRAM does not take (RFC 4013)")
	errIterations = errors.New("the server asks for more iterations than any password is worth")
	errExchange   = errors.New("the server's part of SCRAM makes no sense, or is for another password")
	errImpostor   = errors.New("the server did not prove that it knows the password")
	errNoBinding  = errors.New("the TLS connection has no channel binding")
)

// scramClient is SCRAM-SHA-256, or -PLUS (RFC 5802, RFC 7677). The library's
// errors repeat what the server sent; they are not passed on.
type scramClient struct {
	mechanism    string
	conversation *scram.ClientConversation
	begun        bool
}

// scram is a client with the flag for channel bindings that detects an attacker who takes
// -PLUS out of the server's list (RFC 5802 section 6): "y" if it is not there
// and could have been used, "n" if the login does not want it.
func (l *Login) scram(plus bool) (*Client, error) {
	client, err := scram.SHA256.NewClient(l.User, l.Password, l.Authorize)
	if err != nil {
		return nil, errPassword
	}
	c := &scramClient{mechanism: ScramSHA256}
	switch {
	case plus:
		binding, err := channelBinding(l.TLS)
		if err != nil {
			return nil, errNoBinding
		}
		c.mechanism = ScramSHA256Plus
		c.conversation = client.NewConversationWithChannelBinding(binding)
	case l.TLS != nil && !slices.Contains(l.Offered, ScramSHA256Plus):
		c.conversation = client.NewConversationAdvertisingChannelBinding()
	default:
		c.conversation = client.NewConversation()
	}
	return &Client{inner: c, secrets: []string{l.Password}, proves: true, complete: c.complete}, nil
}

// channelBinding is tls-exporter with TLS 1.3 (RFC 9266 section 2). Before that
// it is tls-unique, which RFC 5802 section 6.1 wants, and if a resumed session
// has none that is safe, the server's certificate (RFC 5929 section 4).
func channelBinding(state *tls.ConnectionState) (scram.ChannelBinding, error) {
	switch {
	case state == nil:
		return scram.ChannelBinding{}, errNoBinding
	case state.Version >= tls.VersionTLS13:
		return scram.NewTLSExporterBinding(state)
	case len(state.TLSUnique) > 0:
		return scram.NewTLSUniqueBinding(state.TLSUnique), nil
	default:
		return scram.NewTLSServerEndpointBinding(state)
	}
}

func (c *scramClient) Start() (string, []byte, error) {
	first, err := c.conversation.Step("")
	if err != nil {
		return "", nil, errExchange
	}
	return c.mechanism, []byte(first), nil
}

func (c *scramClient) Next(challenge []byte) ([]byte, error) {
	if !c.begun {
		c.begun = true
		if iterations(challenge) > maxIterations {
			return nil, errIterations
		}
	}
	answer, err := c.conversation.Step(string(challenge))
	switch {
	case err != nil:
		return nil, errExchange
	case c.conversation.Done():
		return []byte{}, nil
	default:
		return []byte(answer), nil
	}
}

// complete checks that the server has given its proof: 235 alone is not enough.
func (c *scramClient) complete() error {
	if !c.conversation.Valid() {
		return errImpostor
	}
	return nil
}

// iterations is the largest number of iterations that a server's first message
// could be read to ask for.
func iterations(message []byte) (most int) {
	for field := range bytes.SplitSeq(message, []byte(",")) {
		digits, found := bytes.CutPrefix(field, []byte("i="))
		if !found {
			continue
		}
		n, err := strconv.Atoi(string(digits))
		if err != nil {
			return maxIterations + 1
		}
		most = max(most, n)
	}
	return most
}
