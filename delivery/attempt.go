package delivery

import (
	"errors"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Reasons for which nothing was asked of a host.
var (
	errLeaseLost   = errors.New("the lease ran out: somebody else may be sending the message")
	errInterrupted = errors.New("an earlier attempt was interrupted: the message may have been delivered")
	errExpired     = errors.New("not delivered in time")
	errPanic       = errors.New("a hook of the application panicked")
)

// deliver makes one attempt at a delivery and says what the queue is to be told.
func (r *run) deliver(d *queue.Delivery) outcome {
	now := r.agent.clock.now()
	switch {
	case d.Interrupted:
		return r.conclude(d, r.local(d, MaybeTaken, "4.4.7", errInterrupted), false)
	case !r.expiry(d).After(now):
		return r.conclude(d, r.local(d, NotNow, "4.4.7", errExpired), true)
	}
	report, given := r.attempt(d)
	if given {
		return outcome{delivery: d, settlement: queue.Settlement{Lease: d.Lease}}
	}
	return r.conclude(d, report, false)
}

// expiry is when a delivery is given up.
func (r *run) expiry(d *queue.Delivery) time.Time {
	if !d.Message.Expires.IsZero() {
		return d.Message.Expires
	}
	return d.Message.Arrived.Add(r.agent.current().Expire)
}

// attempt sends a delivery. given is true where it is to be given back, because
// nothing was decided and nothing was wrong with it.
func (r *run) attempt(d *queue.Delivery) (report *Report, given bool) {
	committed := false
	defer func() {
		if v := recover(); v != nil {
			r.agent.panicked(v)
			verdict := NotNow
			if committed {
				verdict = MaybeTaken
			}
			report, given = r.local(d, verdict, "4.3.0", errPanic), false
		}
	}()
	content, err := r.queue.Open(r.work, d.Message.ID)
	if err != nil {
		if errors.Is(err, queue.ErrNotFound) || r.work.Err() != nil {
			return nil, true
		}
		return r.local(d, NotNow, "4.3.0", err), false
	}
	m := d.Message
	m.Content = content
	report = newReport(&m)
	job := newJob(&m, report)
	defer job.release()
	job.commit = func() error {
		if !r.leases.valid(&d.Lease, r.agent.clock.now()) {
			return errLeaseLost
		}
		committed = true
		return nil
	}
	if r.sender.accept(job) == nil {
		r.sender.deliver(r.work, job)
	}
	return report, r.undecided(report)
}

// undecided reports whether an attempt was cut off before any host decided.
func (r *run) undecided(report *Report) bool {
	if r.work.Err() == nil {
		return false
	}
	for i := range report.Recipients {
		rr := &report.Recipients[i]
		if rr.Outcome != queue.Deferred || rr.Err.Replied() {
			return false
		}
	}
	return true
}

// local is a report of something no host was asked about.
func (r *run) local(d *queue.Delivery, v Verdict, enhanced string, cause error) *Report {
	report := newReport(&d.Message)
	e := &Error{Stage: StageMessage, Verdict: v, Enhanced: enhanced, Err: cause}
	for i := range report.Recipients {
		report.Recipients[i].settle(e, v)
	}
	return report
}
