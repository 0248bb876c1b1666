package smtp

import "strings"

// Options that a peer does not support. Servers offer extensions that do not work, or work only in
// common cases, and the same inability shows itself in many forms: any code, 421,
// closing, a reset, silence, nonsense. Only this file recognises them. [optionals] is
// the table; the options that a session used when something failed, and could have left
// out, are the [Doubt] of the failure.
//
// Two things are never part of a Doubt. The first is what the caller asked for: a TLS
// level, a login, REQUIRETLS, and SMTPUTF8 and BODY, which are only used if the content
// or an address needs them (but 8-bit content may have a 7-bit form). The second is
// what already has an answer: a recipient whose refusal is about the address or a
// policy is not offered twice, and a message whose last octet was sent is not sent
// again before the next attempt.

// Option is a set of things that a session can do without.
type Option uint32

// The options.
const (
	OptEHLO       Option = 1 << iota // EHLO; HELO takes its place
	OptTLS                           // STARTTLS, and the session inside until the server has said something there
	OptModern                        // key exchanges of TLS that older servers do not know; key exchange by RSA takes their place
	OptPipelining                    // commands in groups
	OptChunking                      // BDAT; DATA takes its place
	OptSize                          // SIZE=
	OptBody                          // BODY=8BITMIME, if there is a 7-bit form of the content
	OptReturn                        // RET=
	OptEnvelope                      // ENVID=
	OptSubmitter                     // AUTH= of MAIL
	OptNotify                        // NOTIFY=
	OptOriginal                      // ORCPT=
	OptInitial                       // the initial response of AUTH
	OptExternal                      // from here on: mechanisms of AUTH
	OptScramPlus
	OptScram
	OptOAuthBearer
	OptXOAuth2
	OptPlain
	OptLogin
	OptCramMD5
	optionEnd
)

const (
	mailOptions Option = OptSize | OptReturn | OptEnvelope | OptSubmitter
	rcptOptions Option = OptNotify | OptOriginal
)

// Resort is where a session without an option comes in.
type Resort uint8

// The resorts.
const (
	Keep        Resort = iota // the option is not the cause: nothing is left out
	SameSession               // at once, in the session that goes on
	NewSession                // at once, in one new session with the same address
	NextAttempt               // when mail goes to the address again
)

// Form is how an inability shows itself.
type Form uint8

// The forms.
const (
	Refuses Form = iota // 5yz, but for those that speak of something else: see [Reply.blames]
	Defers              // 4yz, which may as well speak of the moment
	HangsUp             // 421
	Loses               // the connection closed or reset, silence, or nonsense
)

// optional is a row of the table.
type optional struct {
	option Option
	name   string    // as traces and reports have it
	resort [4]Resort // by Form
}

// optionals is the table of the options that a session can leave out: for each, what
// follows a 5yz, a 4yz, 421, and a lost session. The caller decides for how long and
// for which mail that is remembered; see [Doubt].
func optionals() []optional {
	const (
		same, fresh, next = SameSession, NewSession, NextAttempt
	)
	return []optional{
		// HELO. Not where TLS or a login is required, or the message needs an
		// extension: the caller leaves OptEHLO out of Config.Without there.
		{OptEHLO, "EHLO", [4]Resort{same, next, next, next}},
		// The session goes on in clear, or another one does. Not where TLS is
		// required, nor if the caller's own check refused the certificate, nor
		// after octets that came ahead of the handshake.
		{OptTLS, "STARTTLS", [4]Resort{same, same, fresh, fresh}},
		// The handshake once more with a shorter ClientHello: see [classic]. TLS is left
		// out only if that fails, too. Not where the caller's configuration of TLS says
		// what is offered.
		{OptModern, "modern key exchange", [4]Resort{Keep, Keep, Keep, fresh}},
		// Each command waits for its reply. A 5yz counts if it is about the command or
		// the order of commands, and not about its argument.
		{OptPipelining, "PIPELINING", [4]Resort{same, next, next, next}},
		// DATA. Once BDAT was refused the session is over, since the content may
		// have been taken for commands. A loss after the last octet leaves the
		// outcome unknown, and the next attempt goes without.
		{OptChunking, "CHUNKING", [4]Resort{fresh, next, next, next}},
		// MAIL without all of them.
		{OptSize, "SIZE", [4]Resort{same, next, next, next}},
		// MAIL without it, and the content in its 7-bit form. It is tried once MAIL was
		// refused without the others.
		{OptBody, "BODY", [4]Resort{same, next, next, next}},
		{OptReturn, "RET", [4]Resort{same, next, next, next}},
		{OptEnvelope, "ENVID", [4]Resort{same, next, next, next}},
		{OptSubmitter, "AUTH=", [4]Resort{same, next, next, next}},
		// RCPT without both.
		{OptNotify, "NOTIFY", [4]Resort{same, next, next, next}},
		{OptOriginal, "ORCPT", [4]Resort{same, next, next, next}},
		// The response waits for a challenge. If it already proves something, a refusal
		// is about the proof and not the form.
		{OptInitial, "initial response", [4]Resort{same, next, next, next}},
		// Another mechanism that the login supports, if there is one. Not if the server
		// failed to prove its identity.
		{OptExternal, "EXTERNAL", [4]Resort{same, next, next, next}},
		{OptScramPlus, "SCRAM-SHA-256-PLUS", [4]Resort{same, next, next, next}},
		{OptScram, "SCRAM-SHA-256", [4]Resort{same, next, next, next}},
		{OptOAuthBearer, "OAUTHBEARER", [4]Resort{same, next, next, next}},
		{OptXOAuth2, "XOAUTH2", [4]Resort{same, next, next, next}},
		{OptPlain, "PLAIN", [4]Resort{same, next, next, next}},
		{OptLogin, "LOGIN", [4]Resort{same, next, next, next}},
		{OptCramMD5, "CRAM-MD5", [4]Resort{same, next, next, next}},
	}
}

// Mechanism returns the option for a mechanism of AUTH, or 0 if it is unknown.
func Mechanism(name string) Option {
	for _, o := range optionals() {
		if o.option >= OptExternal && o.name == name {
			return o.option
		}
	}
	return 0
}

// String lists the options by name, or returns "" if there are none.
func (o Option) String() string {
	if o == 0 {
		return ""
	}
	var names []string
	for _, row := range optionals() {
		if o&row.option != 0 {
			names = append(names, row.name)
		}
	}
	return strings.Join(names, ", ")
}

// Doubt is what may have been the cause of a failure: options that were in use
// and that a session can do without.
type Doubt struct {
	// Now are the options without which one new session with the same address should be
	// tried at once.
	Now Option
	// Next are those that the next attempt at the address is to leave out.
	Next Option
	// Brief are those of both that became doubtful by a reply about the moment. They
	// must be forgotten after the attempt without them, whatever its result: to leave
	// out for longer what may work would cost security, or round trips to a host that
	// is already busy.
	Brief Option
}

// doubt returns what follows if options were in use and a failure had the given form.
func doubt(used Option, form Form) (d Doubt) {
	if used == 0 {
		return d
	}
	for _, row := range optionals() {
		if used&row.option == 0 {
			continue
		}
		switch row.resort[form] {
		case NewSession:
			d.Now |= row.option
		case NextAttempt:
			d.Next |= row.option
		}
	}
	if form == Defers || form == HangsUp {
		d.Brief = d.Now | d.Next
	}
	return d
}

func (d *Doubt) add(other Doubt) {
	d.Now |= other.Now
	d.Next |= other.Next
	d.Brief |= other.Brief
}

// unproven returns what follows if a session is lost that has left out what it refused:
// it was lost before it could show whether that was the cause, and another session can.
func (s *Session) unproven() Doubt {
	return Doubt{Now: s.refused, Next: s.refused, Brief: s.refused & s.brief}
}

// form returns how an error shows an inability. ok is false if it shows none: the
// failure was ours, or is an attack.
func (e *Error) form() (f Form, ok bool) {
	switch e.Kind {
	case Replied:
		return e.Reply.form(), true
	case Timeout, Closed, Protocol, BadTLS:
		return Loses, true
	default:
		return 0, false
	}
}

func (r *Reply) form() Form {
	switch {
	case r.Code == 421:
		return HangsUp
	case r.Class() == 5:
		return Refuses
	default:
		return Defers
	}
}

// blames reports whether a refusal of a command may be about its parameters (RFC 5321
// sections 4.1.1.11 and 4.2.4). The enhanced status decides first: one about an
// address, a mailbox, the message's size or a policy is about that, and one about the
// protocol is about the parameters. Without one the code decides: 500 to 504, 555 and
// similar ones are about the command. An unspecific code may be about the parameters at
// MAIL; at RCPT it is about the recipient.
func (r *Reply) blames(stage Stage) bool {
	if !r.Negative() || r.Code == 421 {
		return false
	}
	_, status, _ := strings.Cut(r.Enhanced, ".")
	subject, _, _ := strings.Cut(status, ".")
	switch {
	case status == "5.3":
		return false // too many recipients
	case status == "3.3", subject == "5":
		return true
	case subject == "1", subject == "2", subject == "3" && status != "3.0", subject == "4", subject == "6", subject == "7":
		return false
	}
	switch r.Code {
	case 500, 501, 502, 503, 504, 555, 455:
		return true
	case 450, 451, 550, 554:
		return stage == StageMail
	case 432, 454, 452, 521, 525, 530, 534, 535, 538, 551, 552, 553, 556:
		return false
	default:
		return stage == StageMail
	}
}

// blamesGroup reports whether a refusal of RCPT or DATA may be for the group it came
// in, as a server says that lost some of it or took two commands for one: it is
// about the command or the order of commands (RFC 5321 section 4.2.2), or about the
// moment and neither the address nor a policy.
func (r *Reply) blamesGroup() bool {
	_, status, _ := strings.Cut(r.Enhanced, ".")
	subject, _, _ := strings.Cut(status, ".")
	switch {
	case r.Code == 421, status == "5.3", subject == "1", subject == "2", subject == "7":
		return false
	case r.Class() == 4:
		return r.Code != 452
	case subject == "5":
		return true
	default:
		return r.Code == 500 || r.Code == 502 || r.Code == 503
	}
}
