package sasl

import (
	"errors"

	gosasl "github.com/emersion/go-sasl"
)

// A server refuses a token by a challenge that says why, and waits for an answer
// before it gives its reply. The answer is the mechanism's own, so that the reply
// is 535 and not what a cancelled exchange gets.

// bearer is OAUTHBEARER (RFC 7628). The answer is one octet (section 3.2.3).
type bearer struct{ gosasl.Client }

func (b *bearer) Next(challenge []byte) ([]byte, error) {
	_, err := b.Client.Next(challenge)
	var refused *gosasl.OAuthBearerError
	if errors.As(err, &refused) {
		return []byte{1}, nil
	}
	return nil, errChallenge
}

// xoauth2 is the mechanism of Google and Microsoft from before RFC 7628. The
// answer is empty.
type xoauth2 struct {
	user, token string
	refused     bool
}

func (x *xoauth2) Start() (string, []byte, error) {
	return XOAuth2, []byte("user=" + x.user + "\x01auth=Bearer " + x.token + "\x01\x01"), nil
}

func (x *xoauth2) Next([]byte) ([]byte, error) {
	if x.refused {
		return nil, errChallenge
	}
	x.refused = true
	return []byte{}, nil
}
