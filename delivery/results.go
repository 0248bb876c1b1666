package delivery

import "github.com/nexthop-mail/nexthop/delivery/internal/attempt"

// newError is a failure as the package's users see it.
func newError(f *attempt.Failure) *Error {
	if f == nil {
		return nil
	}
	return &Error{
		Stage: Stage(f.Stage), Host: f.Host, Addr: f.Addr, Recipient: f.Recipient, Code: f.Code, Lines: f.Lines,
		Enhanced: f.Enhanced, Verdict: Verdict(f.Verdict),
		AtMostOnce: f.AtMostOnce, Remembered: f.Remembered, Err: f.Err,
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
		to.Outcome, to.Route, to.Routed = from.Outcome, from.Route, from.Routed
		to.Host, to.Addr, to.TLS, to.Reply = from.Host, from.Addr, Protection(from.TLS), from.Reply
		to.Attempts = c.attempts(to.Attempts, from)
		to.Err = c.error(from.Err)
	}
}

// attempts are the attempts of a recipient, appended to list where they are its
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
		Err: c.error(a.Err), Next: Next(a.Next), Began: a.Began, Duration: a.Duration,
		Without: a.Without.String(), Doubted: a.Doubted.String(),
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
