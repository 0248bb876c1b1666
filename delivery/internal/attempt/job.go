package attempt

import (
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/internal/content"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// Job is one message on its way: the parsed envelope, and the results. Jobs are reused,
// so that a message costs few allocations.
type Job struct {
	Options
	config   *Config
	observer Observer

	message *queue.Message
	from    address.Mailbox
	utf8    bool // it is internationalized mail
	tls     queue.TLSRequirement
	body    content.Body
	seven   sevenBit
	walks   []Walk // one per destination

	results []Result  // one per recipient of the message
	own     []Attempt // room for the one attempt that most results need
	repeats []repeat
	alone   [1]Walk // if there is one destination
}

// Options are an agent's settings for a job.
type Options struct {
	// Together lets all destinations go along one route, in one walk.
	Together bool

	// Commit is called before the octets that make a host accept the message: an error
	// keeps them from being sent. It may be nil.
	Commit func() error

	// Ready is the content of the message if it has been prepared already, by the same
	// policy; nil if not. The job releases it.
	Ready *content.Body

	// Gate counts the connections, for Site. It may be nil.
	Gate *session.Gate
	Site string

	// Spread puts equal hosts of a route in the order in which they are tried; nil
	// leaves them as they are.
	Spread func([]mx.Host)
}

// jobs keeps jobs for reuse; their data is cleared before.
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

// Results returns the results of the recipients, in their order. They are valid until
// Release.
func (j *Job) Results() []Result {
	j.settleRepeats()
	return j.results
}

// repeat is a recipient the message names twice: offered once, reported twice.
type repeat struct{ first, again int }

// settleRepeats copies the result of a recipient to the places where the message names
// it again.
func (j *Job) settleRepeats() {
	for _, r := range j.repeats {
		to, from := &j.results[r.again], j.results[r.first]
		from.Address = to.Address
		*to = from
	}
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

// pin is what a message keeps over its attempts, so that each is made from the
// same local address.
func (j *Job) pin() string {
	if j.message.ID != "" {
		return j.message.ID
	}
	return j.message.From
}

// requiresTLS reports whether a message with REQUIRETLS may only be sent if all
// conditions of RFC 8689 section 4.2.1 are met. A report is sent anyway (section 5).
func (j *Job) requiresTLS() bool {
	return j.tls == queue.TLSRequired && j.message.From != ""
}

// sevenBit is the content of a job for hosts that take 7 bits only, made once it is
// needed.
type sevenBit struct {
	once sync.Once
	body content.Body
	err  error // why there is none
}

// bodyFor returns the content for a host: the message's own, or its 7-bit form if the
// host accepts nothing else (RFC 6152 section 3). The error says why there is no such
// form; the body is then the message's own.
func (j *Job) bodyFor(sess *session.Session) (*content.Body, error) {
	if !j.body.EightBit || sess.Extensions().EightBitMIME && sess.Without()&smtp.OptBody == 0 {
		return &j.body, nil
	}
	if !j.convertible() {
		return &j.body, j.seven.err
	}
	return &j.seven.body, nil
}

// convertible reports whether there is a 7-bit form of the content.
func (j *Job) convertible() bool {
	j.seven.once.Do(func() { j.seven.body, j.seven.err = content.SevenBit(&j.body, j.config.Convert) })
	return j.seven.err == nil
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

	// The position of the walk, and what it works with there.
	hop      session.Hop
	policy   session.Policy
	vouched  bool // the host is known to be the domain's
	batch    []*rcpt
	tx       smtp.Transaction
	to       []smtp.Rcpt
	findings []finding
}

// Asked notes how long it took to find the route.
func (w *Walk) Asked(took time.Duration) { w.ledger.dns = took }

// Domain is the destination.
func (w *Walk) Domain() string { return w.domain }

// sessions are where the walk has its sessions from.
func (w *Walk) sessions() *session.Pool { return w.job.config.Sessions }

// Join takes over the recipients of another walk, whose destinations have the same
// hosts. The other walk has none afterwards.
func (w *Walk) Join(other *Walk) {
	w.ledger.rcpts = append(w.ledger.rcpts, other.ledger.rcpts...)
	slices.SortFunc(w.ledger.rcpts, func(a, b rcpt) int { return a.index - b.index })
	other.ledger.rcpts = nil
}

// needsExtensions reports whether the message cannot go to a host that knows no
// extensions.
func (w *Walk) needsExtensions() bool {
	j := w.job
	if j.body.EightBit || j.body.UTF8Header || j.requiresTLS() || j.from.NeedsUTF8() {
		return true
	}
	for i := range w.ledger.rcpts {
		if w.ledger.rcpts[i].mailbox.NeedsUTF8() {
			return true
		}
	}
	return false
}
