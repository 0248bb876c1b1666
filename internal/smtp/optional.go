package smtp

import "strings"

// What a peer cannot do. Servers offer what does not work, or work only as long
// as nothing unusual is said, and the same inability shows itself in every form
// there is: by any code, by 421, by closing, by a reset, by silence, by nonsense.
// This file is the one place where that is recognised. [optionals] is the table;
// what a session used when something failed, and could have done without, is the
// [Doubt] of the failure.
//
// Two things are never part of a Doubt. What the caller asked for: a TLS level, a
// login, REQUIRETLS, and SMTPUTF8 and BODY, which are only said where the content
// or an address needs them; but 8-bit content may have a 7-bit form. And what has an answer already: a recipient whose
// refusal names the address or a policy is not offered twice, and a message whose
// last octet is out is not sent again before the next attempt.

// Option is a set of things that a session can do without.
type Option uint32

// The options.
const (
	OptEHLO       Option = 1 << iota // EHLO; HELO takes its place
	OptTLS                           // STARTTLS, and the session inside until the server has said something there
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
	Keep        Resort = iota // it is not the option: nothing is left out
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

// optionals is the table of what a session can do without: for each option, what
// follows a 5yz, a 4yz, 421, and a loss. For how long that is remembered, and for
// whom, is the caller's to say; see [Doubt].
func optionals() []optional {
	const (
		same, fresh, next = SameSession, NewSession, NextAttempt
	)
	return []optional{
		// HELO. Not where TLS or a login is required, or the message needs an
		// extension: the caller leaves OptEHLO out of Config.Without there.
		{OptEHLO, "EHLO", [4]Resort{same, next, next, next}},
		// The session goes on in clear, or another one does. Not where TLS is
		// required, nor where the caller's own check refused the certificate, nor
		// after octets that came ahead of the handshake.
		{OptTLS, "STARTTLS", [4]Resort{same, same, fresh, fresh}},
		// Each command waits for its reply. A 5yz counts where it is about the command
		// or the order of commands, and not about what the command says.
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
		// The response waits for a challenge. Where it proves something already, a
		// refusal of the proof is none of the form.
		{OptInitial, "initial response", [4]Resort{same, next, next, next}},
		// Another mechanism that the login can serve, where there is one. Not
		// where the server failed to prove what it had to.
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

// Mechanism is the option that a mechanism of AUTH is; 0 where nobody knows it.
func Mechanism(name string) Option {
	for _, o := range optionals() {
		if o.option >= OptExternal && o.name == name {
			return o.option
		}
	}
	return 0
}

// String lists the options by name, empty where there are none.
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
	// Now are those without which one new session with the same address is to be
	// tried at once.
	Now Option
	// Next are those that the next attempt at the address is to leave out.
	Next Option
	// Brief are those of both that a reply made doubtful which speaks of the
	// moment. They are to be forgotten after the attempt that goes without them,
	// however that ends: to leave out for longer what may be well would cost
	// security, or round trips to a host that is busy as it is.
	Brief Option
}

// doubt is what follows where options were in use and an inability showed itself
// in one form.
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

// unproven is what follows where a session is lost that goes on without what it
// refused: it is gone before it could show whether that was it, and another one does.
func (s *Session) unproven() Doubt {
	return Doubt{Now: s.refused, Next: s.refused, Brief: s.refused & s.brief}
}

// form is how an error shows an inability. ok is false where it shows none: what
// failed was ours, or is an attack.
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

// blames reports whether a refusal of a command may be about its parameters
// (RFC 5321 sections 4.1.1.11 and 4.2.4). The enhanced status says so first: one
// about an address, a mailbox, the message's size or a policy is about that, and
// one about the protocol is about the parameters. Without one the code does: 500
// to 504, 555 and their likes are about the command, and at MAIL so may be what
// names nothing in particular; at RCPT that names the recipient.
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
