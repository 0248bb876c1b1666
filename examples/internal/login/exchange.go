package login

import (
	"bytes"
	"errors"

	"github.com/xdg-go/scram"
)

// Mechanisms are those that there are, as EHLO names them. PLAIN and LOGIN give the
// password to the server: all are for connections with TLS. LOGIN is for clients that know
// nothing else, as there are on desktops, in devices and in libraries.
const Mechanisms = "SCRAM-SHA-256 PLAIN LOGIN"

// The challenges of LOGIN. Some clients look for these very words.
const askUser, askPassword = "Username:", "Password:"

var (
	// ErrRefused ends an exchange in which the user name or the password was wrong.
	ErrRefused = errors.New("the user name or the password is wrong")

	// ErrMalformed ends an exchange in which the client sent invalid data.
	ErrMalformed = errors.New("this makes no sense to the mechanism")
)

// Exchange is one login under way. The client speaks first, or answers Opening.
type Exchange struct {
	users   *Users
	known   bool
	user    *User
	over    bool // a client that sends nothing more is then logged in
	attempt Attempt
	scram   *scram.ServerConversation // nil: PLAIN or LOGIN
	login   bool                      // LOGIN
	name    string                    // as the client gave it, in LOGIN
}

// Attempt has a login decided. It may delay that, like a Guard, or return an error of its
// own without calling decide. user is the name of the user, or empty if there is no such
// user.
type Attempt func(user string, decide func() bool) error

// Begin begins an exchange, or returns nil for an unknown mechanism. The decision is
// made by a function that is passed to attempt.
func (u *Users) Begin(mechanism string, attempt Attempt) *Exchange {
	e := &Exchange{users: u, attempt: attempt}
	switch mechanism {
	case "PLAIN":
		return e
	case "LOGIN":
		e.login = true
		return e
	case "SCRAM-SHA-256":
		server, err := scram.SHA256.NewServer(func(name string) (scram.StoredCredentials, error) {
			e.user, e.known = u.find(name)
			v := &e.user.Verifier
			return scram.StoredCredentials{
				KeyFactors: scram.KeyFactors{Salt: string(v.Salt), Iters: v.Iterations}, StoredKey: v.StoredKey[:], ServerKey: v.ServerKey[:],
			}, nil
		})
		if err != nil {
			return nil
		}
		e.scram = server.NewConversation()
		return e
	default:
		return nil
	}
}

// Opening returns the challenge for a client that sends nothing along with the mechanism.
func (e *Exchange) Opening() []byte {
	if e.login {
		return []byte(askUser)
	}
	return nil
}

// User returns the user who is logged in, or nil if no user is yet.
func (e *Exchange) User() *User {
	if !e.over {
		return nil
	}
	return e.user
}

// Next processes a response of the client. If there is no error and User is nil, the
// challenge must be sent to the client. An error ends the exchange.
func (e *Exchange) Next(response []byte) (challenge []byte, err error) {
	switch {
	case e.login:
		return e.plainByParts(response)
	case e.scram == nil:
		return nil, e.plain(response)
	case e.scram.Valid():
		// The client has read the server's proof.
		if len(response) > 0 {
			return nil, ErrMalformed
		}
		e.over = true
		return nil, nil
	case e.user == nil:
		return e.first(response)
	default:
		return e.final(response)
	}
}

// plain is PLAIN (RFC 4616).
func (e *Exchange) plain(response []byte) error {
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 {
		return ErrMalformed
	}
	return e.password(string(parts[1]), string(parts[0]), string(parts[2]))
}

// plainByParts is LOGIN, which was never a standard: the name, then the password.
func (e *Exchange) plainByParts(response []byte) (challenge []byte, err error) {
	switch {
	case len(response) == 0:
		return nil, ErrMalformed
	case e.name == "":
		e.name = string(response)
		return []byte(askPassword), nil
	default:
		return nil, e.password(e.name, "", string(response))
	}
}

// password decides about a name and a password. as is the user to act for, or empty.
func (e *Exchange) password(name, as, password string) error {
	user, known := e.users.find(name)
	err := e.decide(user.Name, func() bool {
		return user.Verifier.matches(password) && known && (as == "" || as == name)
	})
	if err == nil {
		e.user, e.over = user, true
	}
	return err
}

// first is the first message of SCRAM.
func (e *Exchange) first(response []byte) ([]byte, error) {
	challenge, err := e.scram.Step(string(response))
	if err != nil {
		return nil, ErrMalformed
	}
	if as := e.scram.AuthzID(); as != "" && as != e.scram.Username() {
		e.known = false // found at the end, as a wrong password is
	}
	return []byte(challenge), nil
}

// final is the second.
func (e *Exchange) final(response []byte) (challenge []byte, err error) {
	err = e.decide(e.user.Name, func() bool {
		text, err := e.scram.Step(string(response))
		challenge = []byte(text)
		return err == nil && e.scram.Valid() && e.known
	})
	return challenge, err
}

// decide asks attempt to find out.
func (e *Exchange) decide(user string, right func() bool) error {
	decided := false
	err := e.attempt(user, func() bool {
		decided = right()
		return decided
	})
	if err == nil && !decided {
		err = ErrRefused
	}
	return err
}
