package sasl

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"
)

var errChallenge = errors.New("the server asks for more than the mechanism has to say")

// cramMD5 is RFC 2195: the server speaks first, once.
type cramMD5 struct {
	user, password string
	answered       bool
}

func (c *cramMD5) Start() (string, []byte, error) { return CramMD5, nil, nil }

func (c *cramMD5) Next(challenge []byte) ([]byte, error) {
	if c.answered {
		return nil, errChallenge
	}
	c.answered = true
	mac := hmac.New(md5.New, []byte(c.password))
	mac.Write(challenge)
	return append([]byte(c.user+" "), hex.EncodeToString(mac.Sum(nil))...), nil
}
