package delivery

import (
	"net/netip"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/internal/enum"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// Report is what became of one message in one attempt.
type Report struct {
	// Recipients has one entry per recipient of the message, in its order.
	Recipients []RecipientReport
}

// newReport is a report without findings, each recipient with room for the one
// attempt that most need.
func newReport(m *queue.Message) *Report {
	n := len(m.Recipients)
	var report *Report
	var attempts []Attempt
	if n == 1 {
		one := &struct {
			report   Report
			rcpts    [1]RecipientReport
			attempts [1]Attempt
		}{}
		report, attempts = &one.report, one.attempts[:]
		report.Recipients = one.rcpts[:]
	} else {
		report, attempts = &Report{Recipients: make([]RecipientReport, n)}, make([]Attempt, n)
	}
	for i := range report.Recipients {
		r := &report.Recipients[i]
		r.Address, r.Attempts = m.Recipients[i].Address, attempts[i:i:i+1]
	}
	return report
}

// RecipientReport is what became of one recipient.
type RecipientReport struct {
	// Address is the recipient as the message has it.
	Address string

	// Outcome is the verdict over all hosts.
	Outcome queue.Outcome

	// Via is how the next hops were found, or looked for in vain. It is ViaNone if
	// that was not done or is not known.
	Via mx.Via

	// Host and Addr are the host that decided: the one that took the message,
	// or whose answer makes the outcome. They are empty if no host was reached.
	Host string
	Addr netip.AddrPort

	// TLS is the protection of the session that decided.
	TLS Protection

	// Decision is what the PolicySource says of the deciding host; nil if it was not
	// asked.
	Decision *Decision

	// Reply is what the deciding host said, or nexthop in its place.
	Reply queue.Reply

	// Err is nil if the recipient was delivered, else the deciding error.
	Err *Error

	// Attempts are the steps of the walk in order, the deciding one among them.
	// Recipients that travelled together share them.
	Attempts []Attempt
}

// Attempt is one step of a walk: one address of one host, and how it ended for
// one recipient.
type Attempt struct {
	Host     string
	Addr     netip.AddrPort
	TLS      Protection
	Reused   bool // on a session kept from before
	Verdict  Verdict
	Err      *Error // nil if Verdict is Taken
	Next     Next   // why the walk went on or ended here
	Began    time.Time
	Duration time.Duration
	Stages   Stages // of that, and what finding the route took before

	// Without was left out of the dialogue because it does not work at the address,
	// or may not work: such as "CHUNKING" or "PIPELINING, SIZE". Doubted
	// may have been the cause of this failure. It is left out at once if Next is
	// SameHost or InClear, else when mail goes to the address again.
	Without, Doubted string

	// Decision is what the PolicySource says of the host; nil if it was not asked. On a
	// session kept from before it is by the policy of this message.
	Decision *Decision
}

// Next is what a walk did after an attempt, and so why.
type Next uint8

// The ways a walk goes on or ends.
const (
	NextAddress  Next = iota // this address failed: the host's next one, else the next host
	NextHost                 // the host answered "not now" or "not here": the next host
	SameHost                 // the host is asked again: a session had gone stale, or its limits want another transaction
	InClear                  // TLS is broken there and nobody requires it: once more without
	StopSettled              // taken or refused for good
	StopUnknown              // may have been taken: nobody else is asked
	StopHosts                // no host is left
	StopLimit                // a limit of the attempt is reached
	StopCanceled             // the caller's context ended
	NextFallback             // no host is left but the fallback hosts
	StopSelf                 // a host is this one: those that are no better than it are not asked
)

var nextNames = [...]string{
	"next address", "next host", "same host again", "again without TLS",
	"settled", "stop: may have been taken", "no host left", "limit of one attempt reached", "canceled", "fallback host",
	"stop: the host is this one",
}

// String is the step in a few words.
func (n Next) String() string {
	if int(n) < len(nextNames) {
		return nextNames[n]
	}
	return "unknown"
}

var nextWords = [...]string{
	"next-address", "next-host", "same-host", "in-clear", "settled", "unknown", "no-host-left", "limit", "canceled",
	"fallback", "self",
}

// MarshalText is one word for programs, such as "next-host". It fails for a value that has no name.
func (n Next) MarshalText() ([]byte, error) { return enum.Marshal("delivery.Next", nextWords[:], n) }

// UnmarshalText reads what MarshalText writes, and nothing else.
func (n *Next) UnmarshalText(text []byte) error {
	return enum.Unmarshal("delivery.Next", nextWords[:], n, text)
}

// settle records an outcome that no host was asked for.
func (r *RecipientReport) settle(e *Error, v Verdict) {
	r.Err, r.Outcome, r.Reply = e, attempt.Decide(attempt.Verdict(v)), e.Reply()
}

// Undelivered are the addresses of the recipients that were not delivered: those for whom
// the message may be sent again, but for the Outcome of each.
func (r *Report) Undelivered() (list []string) {
	for i := range r.Recipients {
		if rr := &r.Recipients[i]; rr.Outcome != queue.Delivered {
			list = append(list, rr.Address)
		}
	}
	return list
}

// Err is nil if every recipient was delivered. Otherwise it is the *Error of
// one that was not: a failed one before an unknown, an unknown before a
// deferred. If there are several recipients it names that one, and says how many were
// delivered.
func (r *Report) Err() error {
	var worst *RecipientReport
	for i := range r.Recipients {
		rr := &r.Recipients[i]
		if rr.Outcome == queue.Delivered {
			continue
		}
		if worst == nil || gravity(rr.Outcome) > gravity(worst.Outcome) {
			worst = rr
		}
	}
	if worst == nil {
		return nil
	}
	n := len(r.Recipients)
	if n == 1 || worst.Err == nil {
		return worst.Err
	}
	e := *worst.Err
	e.Recipient, e.Recipients, e.Delivered = worst.Address, n, n-len(r.Undelivered())
	return &e
}

func gravity(o queue.Outcome) int {
	switch o {
	case queue.Failed:
		return 3
	case queue.Unknown:
		return 2
	case queue.Deferred:
		return 1
	default:
		return 0
	}
}

// results makes reports of what attempts found. What recipients share in there,
// they share in the report.
type results struct {
	failure *attempt.Failure // the last one, and the error that was made of it
	err     *Error
	errors  map[*attempt.Failure]*Error // the others

	shared map[*attempt.Attempt][]Attempt // by the first of the list
}

// report fills in a report of a job.
func (c *results) report(report *Report, list []attempt.Result) {
	for i := range list {
		from, to := &list[i], &report.Recipients[i]
		to.Outcome, to.Via = from.Outcome, from.Via
		to.Host, to.Addr, to.TLS, to.Reply = from.Host, from.Addr, Protection(from.TLS), from.Reply
		to.Decision = decisionOf(from.Decision)
		to.Attempts = c.attempts(to.Attempts, from)
		to.Err = c.error(from.Err)
	}
}

// attempts are the attempts of a recipient, appended to list if they are its
// own.
func (c *results) attempts(list []Attempt, r *attempt.Result) []Attempt {
	switch {
	case !r.Shared:
		return c.appendAll(list, r.Attempts)
	case len(r.Attempts) == 0:
		return nil
	}
	first := &r.Attempts[0]
	all, known := c.shared[first]
	if !known {
		all = c.appendAll(nil, r.Attempts)
		if c.shared == nil {
			c.shared = make(map[*attempt.Attempt][]Attempt)
		}
		c.shared[first] = all
	}
	return all
}

func (c *results) appendAll(list []Attempt, of []attempt.Attempt) []Attempt {
	for i := range of {
		list = append(list, c.attempt(&of[i]))
	}
	return list
}

func (c *results) attempt(a *attempt.Attempt) Attempt {
	return Attempt{
		Host: a.Host, Addr: a.Addr, TLS: Protection(a.TLS), Reused: a.Reused, Verdict: Verdict(a.Verdict),
		Err: c.error(a.Err), Next: Next(a.Next), Began: a.Began, Duration: a.Duration, Stages: Stages(a.Stages),
		Without: a.Without.String(), Doubted: a.Doubted.String(), Decision: decisionOf(a.Decision),
	}
}

// error is the one error that is made of a failure.
func (c *results) error(f *attempt.Failure) *Error {
	switch f {
	case nil:
		return nil
	case c.failure:
		return c.err
	}
	e := c.errors[f]
	if e == nil {
		e = newError(f)
		if c.failure != nil {
			if c.errors == nil {
				c.errors = make(map[*attempt.Failure]*Error)
			}
			c.errors[c.failure], c.errors[f] = c.err, e
		}
	}
	c.failure, c.err = f, e
	return e
}
