package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/sasl"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// logIn logs in if the hop has a login (RFC 4954). The session has given the
// TLS that the policy asks for by then.
func logIn(ctx context.Context, m *Memory, h *Hop, made *Session) error {
	login, err := loginOf(h.Host)
	if login == nil {
		return err
	}
	a := attemptLogin(h, made, login)
	offered := made.Extensions().Auth
	mechanisms := inOrder(sasl.Choose(&a.login, offered), h.Without, made.Encrypted())
	if len(mechanisms) == 0 {
		return noMechanism(login, offered)
	}
	refused := smtp.Option(0)
	for i, name := range mechanisms {
		tried := a.try(ctx, name)
		if tried == nil {
			m.Lacks(h.Addr, refused|made.Lacks(), time.Now())
			return nil
		}
		blame(tried, refused)
		if codeOf(err) != 535 { // which says more than that a mechanism is not known
			err = tried
		}
		if i+1 == len(mechanisms) || !made.Reusable() || !wantsOther(tried, name, mechanisms[i+1], made.Encrypted()) {
			break
		}
		refused |= smtp.Mechanism(name)
	}
	return err
}

// blame puts the blame for a lost session on the mechanisms that were refused in it
// before: some servers refuse and close at once, and the mechanism that came next was
// never heard.
func blame(err error, refused smtp.Option) {
	var se *smtp.Error
	if refused == 0 || !errors.As(err, &se) || se.Kind == smtp.Replied || se.Doubt.Next == 0 {
		return
	}
	se.Doubt = smtp.Doubt{Now: refused, Next: refused}
}

// inOrder returns the mechanisms without those that do not or may not work, or all of
// them if no other is left. In clear, mechanisms that keep the secret are never left
// out, because the remaining one might reveal it to a listener.
func inOrder(mechanisms []string, without smtp.Option, encrypted bool) []string {
	left := slices.DeleteFunc(slices.Clone(mechanisms), func(m string) bool {
		return without&smtp.Mechanism(m) != 0 && (encrypted || sasl.HandsOver(m))
	})
	if len(left) == 0 {
		return mechanisms
	}
	return left
}

// loginAttempt is one session's attempt to log in.
type loginAttempt struct {
	session *Session
	tokens  smarthost.TokenSource
	login   sasl.Login
}

func attemptLogin(h *Hop, made *Session, l *smarthost.Login) *loginAttempt {
	return &loginAttempt{session: made, tokens: l.Token, login: sasl.Login{
		User: l.User, Authorize: l.Authorize, Password: l.Password, Mechanism: l.Mechanism,
		Tokens: l.Token != nil, Certificate: l.Certificate != nil,
		TLS: made.TLS(), Verified: made.Protection.Level >= mx.TLSVerify, Offered: made.Extensions().Auth,
		Host: h.Host.Name, Port: int(h.Addr.Port()),
	}}
}

// try logs in by one mechanism; with a token that is refused, once more with
// another one, if the source has another.
func (a *loginAttempt) try(ctx context.Context, mechanism string) error {
	if !sasl.Bearer(mechanism) {
		return a.exchange(ctx, mechanism)
	}
	if a.login.Token == "" {
		if err := a.fetch(ctx, ""); err != nil {
			return err
		}
	}
	refused := a.login.Token
	err := a.exchange(ctx, mechanism)
	if codeOf(err) != 535 || !a.session.Reusable() {
		return err
	}
	if a.fetch(ctx, refused) != nil || a.login.Token == refused {
		return err // that the token was refused says more than that there is no other
	}
	return a.exchange(ctx, mechanism)
}

// fetch asks for a token in the place of one that was refused.
func (a *loginAttempt) fetch(ctx context.Context, refused string) (err error) {
	if a.login.Token, err = a.tokens.Token(ctx, refused); err != nil {
		return &tokenError{err}
	}
	return nil
}

func (a *loginAttempt) exchange(ctx context.Context, mechanism string) error {
	client, err := a.login.Client(mechanism)
	if err != nil {
		return &loginError{mechanism + ": " + err.Error()}
	}
	return a.session.Auth(ctx, client)
}

// wantsOther reports whether another mechanism may work after one was refused: if the
// login does not fit it, or the server refuses it permanently. If the proof was
// refused, a mechanism that sends the secret may work after one that only proves its
// knowledge, since servers offer the latter without the data they need for it. This is
// not done in clear, and only once, because failures lock accounts.
func wantsOther(err error, mechanism, next string, encrypted bool) bool {
	if IsOwnLogin(err) {
		return true
	}
	switch code := codeOf(err); code {
	case 530: // TLS first
		return false
	case 535, 525:
		return encrypted && !sasl.HandsOver(mechanism) && sasl.HandsOver(next)
	default:
		return code/100 == 5
	}
}

// codeOf returns the code of the reply in an error, or 0 if there is none.
func codeOf(err error) int {
	var se *smtp.Error
	if errors.As(err, &se) && se.Kind == smtp.Replied {
		return se.Reply.Code
	}
	return 0
}

// listedMechanisms is how many an error repeats of those a host offers.
const listedMechanisms = 12

func noMechanism(l *smarthost.Login, offered []string) error {
	switch {
	case len(offered) == 0:
		return &loginError{"the host offers no AUTH"}
	case l.Mechanism != "":
		return &loginError{fmt.Sprintf("the host does not offer AUTH %s, or the login lacks what it needs", strings.ToUpper(l.Mechanism))}
	default:
		return &loginError{"the login serves none of the mechanisms that the host offers: " +
			strings.Join(offered[:min(len(offered), listedMechanisms)], " ")}
	}
}
