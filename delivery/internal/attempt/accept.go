package attempt

import (
	"context"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/internal/content"
	"github.com/nexthop-mail/nexthop/queue"
)

// Errors at the door that are not about an address or the content.
var (
	errNoRecipients = errors.New("the message has no recipients")
	ErrNoContent    = errors.New("the message has no content")
)

// Accept parses the message. An error in a recipient fails that recipient; an error in
// the rest fails the message, and is returned. The content is read until ctx ends.
func (j *Job) Accept(ctx context.Context) *Failure {
	m := j.message
	if len(m.Recipients) == 0 {
		return j.refuse(errNoRecipients, "5.1.0")
	}
	if m.Content == nil {
		return j.refuse(ErrNoContent, "5.6.0")
	}
	var err error
	if j.from, err = address.ParseReverse(m.From); err != nil {
		return j.refuse(err, "5.1.7")
	}
	j.utf8 = IsUTF8(m)
	j.Group()
	if j.Ready != nil {
		j.body = *j.Ready
	} else if j.body, err = content.PrepareUntil(ctx, m.Content, j.config.Content); err != nil {
		return j.refuse(err, "5.6.0")
	}
	j.tls = TLSOf(m, &j.body.Facts)
	return nil
}

// TLSOf is what a message requires of its transport: what its submitter has said, else
// what its header says (RFC 8689 section 4.1).
func TLSOf(m *queue.Message, facts *content.Facts) queue.TLSRequirement {
	if m.TLS == queue.TLSByPolicy && facts.TLSOptional {
		return queue.TLSOptional
	}
	return m.TLS
}

// refuse settles every recipient with an error about the whole message.
// Content that cannot be read just now is a deferral, all else is final.
func (j *Job) refuse(cause error, enhanced string) *Failure {
	verdict := Refused
	var ce *content.Error
	switch {
	case errors.As(cause, &ce):
		enhanced = ce.Enhanced
		if ce.Temporary() {
			verdict = NotNow
		}
	}
	e := &Failure{Stage: StageMessage, Verdict: verdict, Enhanced: enhanced, Err: cause}
	for i := range j.results {
		if r := &j.results[i]; r.Err == nil {
			r.settle(e, verdict)
		}
	}
	return e
}

// Group groups the recipients by destination, in the order of the first of each. An
// invalid address is settled at once.
func (j *Job) Group() {
	var (
		byDomain map[address.Domain]int
		seen     map[address.Mailbox]int
	)
	many := len(j.message.Recipients) > 1
	if many {
		byDomain = make(map[address.Domain]int)
		seen = make(map[address.Mailbox]int, len(j.message.Recipients))
	}
	for i := range j.message.Recipients {
		r := &j.results[i]
		mailbox, err := address.Parse(j.message.Recipients[i].Address)
		if err != nil {
			r.settle(BadRecipient(r.Address, err), Refused)
			continue
		}
		at := len(j.walks)
		if many {
			key := mailbox.Key()
			if first, again := seen[key]; again {
				j.repeats = append(j.repeats, repeat{first, i})
				continue
			}
			seen[key] = i
			if known, ok := byDomain[mailbox.Domain()]; ok {
				at = known
			} else if j.Together {
				at = 0
			} else {
				byDomain[mailbox.Domain()] = at
			}
		}
		w := j.destination(at, mailbox.Domain())
		w.ledger.rcpts = append(w.ledger.rcpts, rcpt{mailbox: mailbox, index: i, result: r})
	}
}

// destination is the at-th walk, a new one where at is their number.
func (j *Job) destination(at int, d address.Domain) *Walk {
	if at == len(j.walks) {
		if at < cap(j.walks) {
			j.walks = j.walks[:at+1] // with the memory of an earlier message
		} else {
			j.walks = append(j.walks, Walk{})
		}
		j.walks[at].domain, j.walks[at].job = d.String(), j
	}
	return &j.walks[at]
}

// BadRecipient returns the failure of a recipient with an invalid address.
func BadRecipient(input string, err error) *Failure {
	e := &Failure{Stage: StageMessage, Recipient: input, Verdict: Refused, Enhanced: "5.1.3", Err: err}
	var ae *address.Error
	if errors.As(err, &ae) {
		e.Enhanced = ae.Enhanced
	}
	return e
}

// ValidateEnvelope checks the addresses of a message's reverse-path and recipients,
// without using DNS. It returns nil if mail can be sent to all of them, and otherwise
// the failure of the first invalid one.
func ValidateEnvelope(m *queue.Message) *Failure {
	if len(m.Recipients) == 0 {
		return &Failure{Stage: StageMessage, Verdict: Refused, Enhanced: "5.1.0", Err: errNoRecipients}
	}
	if _, err := address.ParseReverse(m.From); err != nil {
		return &Failure{Stage: StageMessage, Verdict: Refused, Enhanced: "5.1.7", Err: err}
	}
	for i := range m.Recipients {
		if _, err := address.Parse(m.Recipients[i].Address); err != nil {
			return BadRecipient(m.Recipients[i].Address, err)
		}
	}
	return nil
}

// IsUTF8 reports whether a message is internationalized mail: its submitter has
// declared it, or used an address beyond ASCII (RFC 6531 section 3.4). Octets beyond
// ASCII in a header are not enough: mail had them long before SMTPUTF8.
func IsUTF8(m *queue.Message) bool {
	if m.UTF8 || !isASCII(m.From) {
		return true
	}
	return slices.ContainsFunc(m.Recipients, func(r queue.Recipient) bool { return !isASCII(r.Address) })
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
