package attempt

import (
	"errors"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/internal/content"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// Job is one message on its way: what was parsed at the door, and the results that
// fill up. Jobs are used again, so that a message costs few allocations.
type Job struct {
	Options
	config   *Config
	observer Observer

	message *queue.Message
	from    address.Mailbox
	utf8    bool // it is internationalized mail
	body    content.Body
	seven   sevenBit
	walks   []Walk // one per destination

	results []Result  // one per recipient of the message
	own     []Attempt // room for the one attempt that most results need
	repeats []repeat
	alone   [1]Walk // where there is one destination
}

// Options are what an agent has to say of a job.
type Options struct {
	// Together lets all destinations go along one route, in one walk.
	Together bool

	// Commit is asked before the octets that make a host take the message: an
	// error keeps them from being sent. Nil is nobody.
	Commit func() error

	// Gate counts the connections, for Site; nil is nobody.
	Gate *session.Gate
	Site string

	// Spread puts equal hosts of a route in the order in which they are tried; nil
	// leaves them as they are.
	Spread func([]mx.Host)
}

// jobs keeps jobs between messages; what they knew is wiped before.
var jobs = sync.Pool{New: func() any { return new(Job) }}

// keptRecipients is how large a job may be to be kept.
const keptRecipients = 16

// Job begins one attempt at a message. Release ends it.
func (c *Config) Job(m *queue.Message, o Observer, options *Options) *Job {
	j := jobs.Get().(*Job)
	n := len(m.Recipients)
	j.Options, j.config, j.observer, j.message, j.walks = *options, c, o, m, j.alone[:0]
	j.results = slices.Grow(j.results[:0], n)[:n]
	j.own = slices.Grow(j.own[:0], n)[:n]
	for i := range j.results {
		j.results[i].Address, j.results[i].Attempts = m.Recipients[i].Address, j.own[i:i:i+1]
	}
	return j
}

// Walks are the walks to be made, one for each destination, once Accept or Group
// has been called.
func (j *Job) Walks() []Walk { return j.walks }

// Results are what became of the recipients, in their order. They are good until
// Release.
func (j *Job) Results() []Result {
	j.settleRepeats()
	return j.results
}

// Release wipes a job that is over.
func (j *Job) Release() {
	j.seven.body.Release()
	j.body.Release()
	if len(j.results) > keptRecipients || len(j.walks) > 1 {
		return
	}
	w := &j.alone[0]
	kept := Walk{ledger: ledger{rcpts: w.ledger.rcpts[:0]}, batch: w.batch[:0], findings: w.findings[:0], to: w.to[:0]}
	clear(w.ledger.rcpts)
	clear(w.batch[:cap(w.batch)])
	clear(w.findings[:cap(w.findings)])
	clear(w.to[:cap(w.to)])
	clear(j.results)
	clear(j.own)
	*j = Job{results: j.results[:0], own: j.own[:0]}
	j.alone[0] = kept
	jobs.Put(j)
}

// Walk is one attempt at one destination: the recipients still open, and what
// the hosts have said so far.
type Walk struct {
	domain string
	ledger ledger

	job *Job

	connections int  // tried so far
	reached     int  // of those, the ones that reached MAIL
	probing     bool // every address failed a moment ago
	probes      bool // this walk is the one that finds out about the address
	metSelf     bool // a host turned out to be this one

	// Where the walk is, and what it works with there.
	hop      session.Hop
	policy   session.Policy
	vouched  bool // the host is known to be the domain's
	batch    []*rcpt
	tx       smtp.Transaction
	to       []smtp.Rcpt
	findings []finding
}

// Domain is the destination.
func (w *Walk) Domain() string { return w.domain }

// sessions are where the walk has its sessions from.
func (w *Walk) sessions() *session.Pool { return w.job.config.Sessions }

// Join takes over the recipients of another walk, which has none then: their
// destinations have the same hosts.
func (w *Walk) Join(other *Walk) {
	w.ledger.rcpts = append(w.ledger.rcpts, other.ledger.rcpts...)
	slices.SortFunc(w.ledger.rcpts, func(a, b rcpt) int { return a.index - b.index })
	other.ledger.rcpts = nil
}

// repeat is a recipient the message names twice: offered once, reported twice.
type repeat struct{ first, again int }

// Errors at the door that are not about an address or the content.
var (
	errNoRecipients = errors.New("the message has no recipients")
	ErrNoContent    = errors.New("the message has no content")
)

// Accept parses the message. What is wrong with a recipient fails that
// recipient; what is wrong with the rest fails the message, and is returned.
func (j *Job) Accept() *Failure {
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
	if j.body, err = content.Prepare(m.Content, j.config.Content); err != nil {
		return j.refuse(err, "5.6.0")
	}
	return nil
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

// Group sorts the recipients by destination, in the order of the first of each.
// An address that is none is settled at once.
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

// BadRecipient is the failure of a recipient that is no address.
func BadRecipient(input string, err error) *Failure {
	e := &Failure{Stage: StageMessage, Recipient: input, Verdict: Refused, Enhanced: "5.1.3", Err: err}
	var ae *address.Error
	if errors.As(err, &ae) {
		e.Enhanced = ae.Enhanced
		e.Recipient = ae.Input // bounded and escaped
	}
	return e
}

// settleRepeats copies what became of a recipient to where the message names it
// again.
func (j *Job) settleRepeats() {
	for _, r := range j.repeats {
		to, from := &j.results[r.again], j.results[r.first]
		from.Address = to.Address
		*to = from
	}
}

// CheckEnvelope says whether a message's reverse-path and recipients are
// addresses mail can be sent to, without asking anybody. Nil if all are, else it is
// about the first that is not.
func CheckEnvelope(m *queue.Message) *Failure {
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

// IsUTF8 reports whether a message is internationalized mail: its submitter has said
// so, or named an address beyond ASCII (RFC 6531 section 3.4). What octets a header has
// does not make it so: mail has had some for longer than there is SMTPUTF8.
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

// pin is what a message keeps over its attempts, so that each is made from the
// same local address.
func (j *Job) pin() string {
	if j.message.ID != "" {
		return j.message.ID
	}
	return j.message.From
}
