package sasl

import (
	"bytes"
)

// loginClient is LOGIN, which has no RFC (draft-murchison-sasl-login). What the
// challenges say is of no account: servers word them as they like, or not at
// all. The user name is the initial response, and the password answers what
// comes next. One thing is looked for: a server that takes no initial response
// asks for the user name all the same, and must not get the password in its
// place. Where its words may mean either, the exchange begins anew without initial
// response, and the answers are told by their order.
type loginClient struct {
	user, password string
	repeated       bool // the user name was asked for, and given again
	answered       bool // the password was given
}

func (l *loginClient) Start() (string, []byte, error) { return LoginMechanism, []byte(l.user), nil }

func (l *loginClient) Next(challenge []byte) ([]byte, error) {
	switch {
	case l.answered:
		return nil, errChallenge
	case !l.repeated && asksForUser(challenge):
		l.repeated = true
		return []byte(l.user), nil
	default:
		l.answered = true
		return []byte(l.password), nil
	}
}

// Unsure reports whether the first challenge after the initial response may ask for the
// user name in words that are not known here: it says something, and not password.
func (l *loginClient) Unsure(challenge []byte) bool {
	words := bytes.ToLower(bytes.TrimSpace(challenge))
	return len(words) > 0 && !bytes.Contains(words, []byte("pass")) && !asksForUser(challenge)
}

// asksForUser reports whether a challenge names the user, as "Username:" and
// "User Name" with a NUL behind it do, and not the password.
func asksForUser(challenge []byte) bool {
	words := bytes.ToLower(bytes.TrimSpace(challenge))
	return (bytes.HasPrefix(words, []byte("user")) || bytes.HasPrefix(words, []byte("login"))) &&
		!bytes.Contains(words, []byte("pass"))
}
