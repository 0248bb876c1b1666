package delivery

import (
	"errors"
	"sync"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/internal/content"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// job is one message on its way: what was parsed at the door, and the report
// that fills up. Jobs are used again, so that a message costs few allocations.
type job struct {
	message *queue.Message
	from    address.Mailbox
	body    content.Body
	report  *Report
	commit  func() error // asked before the octets that make a host take it; may be nil
	walks   []walk       // one per destination

	// What an agent has to say: whether all destinations go along one route, the
	// most recipients of a transaction, its other limits, and the order among
	// equal hosts.
	together bool
	most     int
	gate     *session.Gate
	site     string
	spread   func([]mx.Host)

	repeats []repeat
	alone   [1]walk // where there is one destination
}

// jobs keeps jobs between messages; what they knew is wiped before.
var jobs = sync.Pool{New: func() any { return new(job) }}

// keptRecipients is how large a job may be to be kept.
const keptRecipients = 16

func newJob(m *queue.Message, report *Report) *job {
	j := jobs.Get().(*job)
	j.message, j.report, j.walks = m, report, j.alone[:0]
	return j
}

// release wipes a job that is over.
func (j *job) release() {
	j.body.Release()
	if len(j.report.Recipients) > keptRecipients || len(j.walks) > 1 {
		return
	}
	w := &j.alone[0]
	kept := walk{ledger: ledger{rcpts: w.ledger.rcpts[:0]}, batch: w.batch[:0], findings: w.findings[:0], to: w.to[:0]}
	clear(w.ledger.rcpts)
	clear(w.batch[:cap(w.batch)])
	clear(w.findings[:cap(w.findings)])
	clear(w.to[:cap(w.to)])
	*j = job{}
	j.alone[0] = kept
	jobs.Put(j)
}

// rcpt is one recipient on its way.
type rcpt struct {
	mailbox address.Mailbox
	index   int // in the message
	report  *RecipientReport
	entry
}

// repeat is a recipient the message names twice: offered once, reported twice.
type repeat struct{ first, again int }

// Errors at the door that are not about an address or the content.
var (
	errNoRecipients = errors.New("the message has no recipients")
	errNoContent    = errors.New("the message has no content")
	errNoHost       = errors.New("no host could be asked")
	errNotOffered   = errors.New("not offered: the attempt ended before")
)

// accept parses the message. What is wrong with a recipient fails that
// recipient; what is wrong with the rest fails the message, and is returned.
func (s *Sender) accept(j *job) error {
	m := j.message
	if len(m.Recipients) == 0 {
		return j.refuse(errNoRecipients, "5.1.0")
	}
	if m.Content == nil {
		return j.refuse(errNoContent, "5.6.0")
	}
	var err error
	if j.from, err = address.ParseReverse(m.From); err != nil {
		return j.refuse(err, "5.1.7")
	}
	j.group()
	if j.body, err = content.Prepare(m.Content, s.Content.policy()); err != nil {
		return j.refuse(err, "5.6.0")
	}
	return nil
}

// refuse settles every recipient with an error about the whole message.
// Content that cannot be read just now is a deferral, all else is final.
func (j *job) refuse(cause error, enhanced string) error {
	verdict := Refused
	var ce *content.Error
	switch {
	case errors.As(cause, &ce):
		enhanced = ce.Enhanced
		if ce.Temporary() {
			verdict = NotNow
		}
	}
	e := &Error{Stage: StageMessage, Verdict: verdict, Enhanced: enhanced, Err: cause}
	for i := range j.report.Recipients {
		if r := &j.report.Recipients[i]; r.Err == nil {
			r.settle(e, verdict)
		}
	}
	return e
}

// settle records an outcome that no host was asked for.
func (r *RecipientReport) settle(e *Error, v Verdict) {
	r.Err, r.Outcome, r.Reply = e, v.outcome(), e.Reply()
}

// group sorts the recipients by destination, in the order of the first of each.
// An address that is none is settled at once.
func (j *job) group() {
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
		r := &j.report.Recipients[i]
		mailbox, err := address.Parse(j.message.Recipients[i].Address)
		if err != nil {
			r.settle(badRecipient(r.Address, err), Refused)
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
			} else if j.together {
				at = 0
			} else {
				byDomain[mailbox.Domain()] = at
			}
		}
		w := j.destination(at, mailbox.Domain())
		w.ledger.rcpts = append(w.ledger.rcpts, rcpt{mailbox: mailbox, index: i, report: r})
	}
}

// destination is the at-th walk, a new one where at is their number.
func (j *job) destination(at int, d address.Domain) *walk {
	if at == len(j.walks) {
		if at < cap(j.walks) {
			j.walks = j.walks[:at+1] // with the memory of an earlier message
		} else {
			j.walks = append(j.walks, walk{})
		}
		j.walks[at].domain = d.String()
	}
	return &j.walks[at]
}

func badRecipient(input string, err error) *Error {
	e := &Error{Stage: StageMessage, Recipient: input, Verdict: Refused, Enhanced: "5.1.3", Err: err}
	var ae *address.Error
	if errors.As(err, &ae) {
		e.Enhanced = ae.Enhanced
		e.Recipient = ae.Input // bounded and escaped
	}
	return e
}

// settleRepeats copies what became of a recipient to where the message names it
// again.
func (j *job) settleRepeats() {
	for _, r := range j.repeats {
		to, from := &j.report.Recipients[r.again], j.report.Recipients[r.first]
		from.Address = to.Address
		*to = from
	}
}

// CheckEnvelope says whether a message's reverse-path and recipients are
// addresses mail can be sent to, without asking anybody. Nil if all are, else an
// *Error about the first that is not.
func CheckEnvelope(m *queue.Message) error {
	if len(m.Recipients) == 0 {
		return &Error{Stage: StageMessage, Verdict: Refused, Enhanced: "5.1.0", Err: errNoRecipients}
	}
	if _, err := address.ParseReverse(m.From); err != nil {
		return &Error{Stage: StageMessage, Verdict: Refused, Enhanced: "5.1.7", Err: err}
	}
	for i := range m.Recipients {
		if _, err := address.Parse(m.Recipients[i].Address); err != nil {
			return badRecipient(m.Recipients[i].Address, err)
		}
	}
	return nil
}

// pin is what a message keeps over its attempts, so that each is made from the
// same local address.
func (j *job) pin() string {
	if j.message.ID != "" {
		return j.message.ID
	}
	return j.message.From
}
