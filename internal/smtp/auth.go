package smtp

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"
)

const (
	// maxAuthLine is how long a challenge or a response may be, with its end
	// (RFC 4954 section 4).
	maxAuthLine = 12288
	// maxCommandLine is how long a command may be, with its end, and so AUTH with
	// an initial response (RFC 4954 section 4).
	maxCommandLine = 512
	// maxChallenges is more than any mechanism has.
	maxChallenges = 10
)

var (
	errNoAuth        = errors.New("AUTH is not offered, or not this mechanism")
	errAuthAgain     = errors.New("logged in already")
	errAuthLate      = errors.New("AUTH after MAIL")
	errChallenge     = errors.New("the challenge is not base64")
	errChallengeLong = errors.New("the challenge is longer than 12,288 octets")
	errChallenges    = errors.New("the server does not stop asking")
	errResponseLong  = errors.New("the response is longer than 12,288 octets")
)

// Completer is a sasl.Client that says whether the server has proven what the
// mechanism has it prove.
type Completer interface {
	sasl.Client
	Complete() error
}

// Confidant is a sasl.Client that says what of it is secret beyond the responses
// as they are sent, lest a server repeat it.
type Confidant interface {
	sasl.Client
	Secrets() []string
}

// Prover is a sasl.Client that says whether its initial response proves something
// already, so that a refusal may be about that proof. One that does not say so is
// taken to.
type Prover interface {
	sasl.Client
	Proves() bool
}

// Asker is a sasl.Client that says whether the first challenge after its initial
// response may ask for just that, so that something else must not answer it.
type Asker interface {
	sasl.Client
	Unsure(challenge []byte) bool
}

// Auth logs in by the mechanism of client (RFC 4954 section 4), which is for this
// exchange only. Call it after the last Hello and before the first Send. EHLO is not
// sent again afterwards: no mechanism in use negotiates a security layer (RFC 4954
// section 4).
//
// What is sent is not part of the trace, and a reply that repeats it is shown without
// its text.
//
// If the server may not support an initial response, AUTH is sent again without it.
//
// The error is an *Error. If it is Replied, the server has refused, and Auth may be
// called again with another client. If it is Unfit, nothing was sent. If it is BadAuth,
// the session can still Quit. Its Doubt has the mechanism if that may not work, but not
// if the server failed to prove its identity.
func (s *Session) Auth(ctx context.Context, client sasl.Client) error {
	if e := s.begin(ctx, StageAuth, 0); e != nil {
		return e
	}
	defer s.end()
	mechanism, initial, err := client.Start()
	switch {
	case err != nil:
		return &Error{Stage: StageAuth, Kind: BadAuth, Err: err}
	case s.authenticated:
		return &Error{Stage: StageAuth, Kind: Unfit, Err: errAuthAgain}
	case s.mails > 0:
		return &Error{Stage: StageAuth, Kind: Unfit, Err: errAuthLate}
	case s.closing || !slices.Contains(s.ext.Auth, mechanism):
		return &Error{Stage: StageAuth, Kind: Unfit, Err: errNoAuth}
	}
	a := &authentication{s: s, client: client, line: "AUTH " + mechanism, option: Mechanism(mechanism)}
	if c, ok := client.(Confidant); ok {
		s.rd.secrets.keep(c.Secrets()...)
	}
	r, e := a.open(initial)
	for n := 1; e == nil && r.Code == 334; n++ {
		if n > maxChallenges {
			return a.cancel(errChallenges)
		}
		r, e = a.answer(&r)
	}
	if e == nil {
		e = a.conclude(r)
	}
	if e == nil {
		return nil
	}
	if form, ok := e.form(); (ok || e.Kind == BadAuth) && e.Stage == StageAuth {
		if e.Kind == BadAuth {
			form = Loses
		}
		e.Doubt.add(doubt(a.option, form))
		if ok && e.Kind != Replied {
			e.Doubt.add(s.unproven())
		}
	}
	return e
}

// authentication is one exchange under way.
type authentication struct {
	s       *Session
	client  sasl.Client
	line    string // AUTH and the mechanism
	option  Option // the mechanism, and the initial response if it was sent and nothing else was
	pending []byte // the initial response, if it was not sent along
	held    bool   // there is one
	along   []byte // the initial response, if it was sent along and accepted a moment ago
}

// open sends AUTH, with the initial response if there is one that fits, and again
// without it if the server refuses that.
func (a *authentication) open(initial []byte) (Reply, *Error) {
	line := a.line
	if initial == nil {
		return a.say(line, line)
	}
	s := a.s
	encoded := encode(initial)
	s.rd.secrets.keep(encoded)
	if s.without&OptInitial == 0 && len(line)+1+len(encoded)+2 <= maxCommandLine {
		a.option |= OptInitial
		r, e := a.say(line+" "+encoded, line+" "+veil(encoded))
		switch {
		case e != nil:
			return r, e
		case r.Code == 334:
			a.option &^= OptInitial
			a.along = initial
			return r, nil
		case !a.initialRefused(&r) || s.closing:
			return r, nil
		}
		s.without |= OptInitial
		s.refused |= OptInitial
	}
	return a.openWithout(initial)
}

// openWithout says AUTH and holds the initial response back.
func (a *authentication) openWithout(initial []byte) (Reply, *Error) {
	a.option = Mechanism(strings.TrimPrefix(a.line, "AUTH "))
	a.pending, a.held = initial, true
	r, e := a.say(a.line, a.line)
	if e == nil && r.Code == 334 {
		a.s.lacks |= a.s.refused & OptInitial
	}
	return r, e
}

// reopen breaks the exchange off and says AUTH once more, without the initial response
// that the server seems not to have heard.
func (a *authentication) reopen(initial []byte) (Reply, *Error) {
	s := a.s
	a.option = OptInitial
	r, e := a.say("*", "*")
	switch {
	case e != nil || s.closing:
		return r, e
	case !r.Negative():
		return Reply{}, s.senseless(StageAuth, r)
	}
	s.without |= OptInitial
	s.refused |= OptInitial
	return a.openWithout(initial)
}

// initialRefused reports whether a refusal may be about the initial response: about the
// form of the command, or any refusal if the response proved nothing yet.
func (a *authentication) initialRefused(r *Reply) bool {
	switch {
	case r.Class() != 5, r.Code == 530, r.Code == 534, r.Code == 538:
		return false
	case r.Code == 535, r.Code == 525, strings.HasPrefix(r.Enhanced, "5.7."):
		p, ok := a.client.(Prover)
		return ok && !p.Proves()
	default:
		return true
	}
}

// say sends a line, shown as another one, and reads what answers it.
func (a *authentication) say(line, shown string) (Reply, *Error) {
	s := a.s
	if s.rd.buffered() > 0 {
		e := s.unasked()
		e.Stage = StageAuth
		return Reply{}, e
	}
	sealed, err := appendCommand(nil, line, "")
	if err != nil {
		return Reply{}, &Error{Stage: StageAuth, Kind: Local, Err: err}
	}
	s.traceCommands([]byte(shown))
	return s.put(StageAuth, s.cfg.Timeouts.Auth, sealed)
}

// answer answers one challenge.
func (a *authentication) answer(r *Reply) (Reply, *Error) {
	given, err := decodeChallenge(r.Text)
	if err != nil {
		return Reply{}, a.cancel(err)
	}
	a.option &^= OptInitial
	along := a.along
	a.along = nil
	if c, ok := a.client.(Asker); ok && along != nil && c.Unsure(given) {
		return a.reopen(along)
	}
	response := a.pending
	if a.held {
		// Whatever the server asks for, it comes first (RFC 4954 section 4).
		a.pending, a.held = nil, false
	} else if response, err = a.client.Next(given); err != nil {
		return Reply{}, a.cancel(err)
	}
	encoded := base64.StdEncoding.EncodeToString(response)
	if len(encoded)+2 > maxAuthLine {
		return Reply{}, a.cancel(errResponseLong)
	}
	a.s.rd.secrets.keep(encoded)
	return a.say(encoded, veil(encoded))
}

// cancel ends the exchange from our side. Whatever the server makes of that, the
// session carries no mail.
func (a *authentication) cancel(cause error) *Error {
	_, e := a.say("*", "*")
	a.s.closing = true
	if e != nil && e.Kind == Canceled {
		return e
	}
	return &Error{Stage: StageAuth, Kind: BadAuth, Err: cause}
}

// conclude judges the last reply.
func (a *authentication) conclude(r Reply) *Error {
	switch {
	case r.Negative():
		return &Error{Stage: StageAuth, Kind: Replied, Reply: r}
	case !r.Positive():
		return a.s.senseless(StageAuth, r)
	}
	if c, ok := a.client.(Completer); ok {
		if err := c.Complete(); err != nil {
			a.s.closing = true
			a.option = 0 // this may not be the right server: send it nothing more
			return &Error{Stage: StageAuth, Kind: BadAuth, Err: err}
		}
	}
	a.s.authenticated = true
	return nil
}

// Authenticated reports whether Auth has succeeded.
func (s *Session) Authenticated() bool { return s.authenticated }

// encode is a response as it is sent with AUTH: "=" is an empty one.
func encode(response []byte) string {
	if len(response) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(response)
}

// decodeChallenge decodes the text of a 334 reply; an empty line is an empty challenge.
func decodeChallenge(text string) ([]byte, error) {
	if len(text)+len("334 \r\n") > maxAuthLine {
		return nil, errChallengeLong
	}
	// The decoder passes over line ends, which join the lines of a reply.
	if strings.Contains(text, "\n") {
		return nil, errChallenge
	}
	challenge, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errChallenge
	}
	return challenge, nil
}
