package delivery

import (
	"net/netip"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/internal/enum"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// Report is the result of one attempt for one message.
type Report struct {
	// Recipients has one entry per recipient of the message, in the same order.
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

// RecipientReport is the result for one recipient.
type RecipientReport struct {
	// Address is the recipient's address as it is in the message.
	Address string

	// Outcome is decided from the verdicts of all hosts.
	Outcome queue.Outcome

	// Via says how the next hops were found or looked for. It is ViaNone if they were
	// not looked for, or if it is not known.
	Via mx.Via

	// Host and Addr are the host that decided the outcome: the one that accepted the
	// message, or whose answer counts. They are empty if no host was reached.
	Host string
	Addr netip.AddrPort

	// TLS is the protection of the session that decided the outcome.
	TLS Protection

	// Decision is the decision of the PolicySource about that host; nil if it was not
	// asked.
	Decision *Decision

	// Reply is the reply of that host, or a local reply if there was none.
	Reply queue.Reply

	// Err is the error that decided the outcome, or nil if the recipient was delivered.
	Err *Error

	// Attempts are the steps of the walk in order, including the one that decided.
	// Recipients with the same steps share them.
	Attempts []Attempt
}

// Attempt is one step of a walk: one address of one host, and the result for one
// recipient.
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

	// Without lists the options that were left out of the dialogue because they do not
	// or may not work at the address, such as "CHUNKING" or "PIPELINING, SIZE". Doubted
	// lists the options that may have caused this failure. They are left out
	// immediately if Next is SameHost or InClear, and otherwise the next time mail is
	// sent to the address.
	Without, Doubted string

	// Decision is the decision of the PolicySource about the host; nil if it was not
	// asked. On a kept session it is made under the policy of this message.
	Decision *Decision
}

// Next is what a walk did after an attempt.
type Next uint8

// The ways in which a walk continues or ends.
const (
	NextAddress  Next = iota // this address failed: the host's next one, else the next host
	NextHost                 // the host answered "not now" or "not here": the next host
	SameHost                 // the host is asked again: a session had gone stale, or its limits want another transaction
	InClear                  // TLS does not work there and is not required: once more without TLS
	StopSettled              // taken or refused for good
	StopUnknown              // the message may have been taken: no other host is asked
	StopHosts                // no host is left
	StopLimit                // a limit of the attempt is reached
	StopCanceled             // the caller's context ended
	NextFallback             // no host is left but the fallback hosts
	StopSelf                 // a host is this one: hosts of equal or worse preference are not asked
)

var nextNames = [...]string{
	"next address", "next host", "same host again", "again without TLS",
	"settled", "stop: may have been taken", "no host left", "limit of one attempt reached", "canceled", "fallback host",
	"stop: the host is this one",
}

// String returns the step in a few words.
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

// MarshalText returns one word for programs, such as "next-host". It fails for a value
// without a name.
func (n Next) MarshalText() ([]byte, error) { return enum.Marshal("delivery.Next", nextWords[:], n) }

// UnmarshalText reads only the texts that MarshalText writes.
func (n *Next) UnmarshalText(text []byte) error {
	return enum.Unmarshal("delivery.Next", nextWords[:], n, text)
}

// settle records an outcome that no host was asked for.
func (r *RecipientReport) settle(e *Error, v Verdict) {
	r.Err, r.Outcome, r.Reply = e, attempt.Decide(attempt.Verdict(v)), e.Reply()
}

// Undelivered returns the addresses of the recipients that were not delivered. Their
// Outcome says whether the message may be sent to them again.
func (r *Report) Undelivered() (list []string) {
	for i := range r.Recipients {
		if rr := &r.Recipients[i]; rr.Outcome != queue.Delivered {
			list = append(list, rr.Address)
		}
	}
	return list
}

// Err returns nil if every recipient was delivered. Otherwise it returns the *Error of
// one that was not: preferably a failed one, then an unknown one, then a deferred one.
// If there are several recipients, it names that one and says how many were delivered.
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

// results makes reports from the results of attempts. Data that recipients share in the
// results is shared in the report, too.
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
