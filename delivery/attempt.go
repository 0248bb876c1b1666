package delivery

import (
	"errors"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/queue"
)

// Reasons for which nothing was asked of a host.
var (
	errLeaseLost   = errors.New("the lease ran out: somebody else may be sending the message")
	errInterrupted = errors.New("an earlier attempt was interrupted: the message may have been delivered")
	errExpired     = errors.New("not delivered in time")
	errPanic       = errors.New("a hook of the application panicked")
)

// expiry is when a delivery is given up.
func (r *run) expiry(d *queue.Delivery) time.Time {
	if !d.Message.Expires.IsZero() {
		return d.Message.Expires
	}
	return d.Message.Arrived.Add(r.agent.current().Expire)
}

// end settles a delivery that no host was asked about.
func (r *run) end(d *queue.Delivery, report *Report, expired bool) {
	r.depart(nil, d)
	r.settler.add(r.conclude(d, report, expired))
}

// local is a report of something no host was asked about.
func local(m *queue.Message, v Verdict, enhanced string, cause error) *Report {
	report := newReport(m)
	e := &Error{Stage: StageMessage, Verdict: v, Enhanced: enhanced, Err: cause}
	for i := range report.Recipients {
		report.Recipients[i].settle(e, v)
	}
	return report
}

// expired is the report of a delivery whose time is over: what was said last of
// each recipient, or that nothing was.
func (r *run) expired(d *queue.Delivery) *Report {
	report := local(&d.Message, NotNow, "4.4.7", errExpired)
	for i := range report.Recipients {
		if last := &d.States[i]; last.Attempts > 0 {
			report.Recipients[i].Reply, report.Recipients[i].Host = last.Reply, last.Reply.Host
		}
	}
	return report
}

// walkless is the report of a delivery that has no route.
func (r *run) walkless(d *queue.Delivery, err error) *Report {
	report := newReport(&d.Message)
	job := r.sender.job(r.work, &d.Message, &attempt.Options{Together: true})
	defer job.Release()
	job.Group()
	if walks := job.Walks(); len(walks) > 0 {
		walks[0].NoRoute(r.work, err)
	}
	new(results).report(report, job.Results())
	return report
}
