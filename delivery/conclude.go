package delivery

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/queue"
)

// conclude makes a settlement of what an attempt found. What is not delivered when
// the delivery's time is over has expired.
func (r *run) conclude(p *part, report *Report) outcome {
	d, at := p.delivery, r.agent.clock.Read()
	now := at.Wall
	expired := !r.expiry(d).After(now)
	o := outcome{part: p, settlement: queue.Settlement{Lease: d.Lease}}
	next := r.retryAt(d, report, now)
	for i := range report.Recipients {
		rr, state := &report.Recipients[i], &d.States[i]
		result, kind := r.judge(d, rr, expired && !unsent(rr.Err))
		result.Recipient = state.Index
		o.settlement.Results = append(o.settlement.Results, result)
		e := eventOf(d, rr, kind, state.Attempts+1)
		if result.Outcome == queue.Deferred || result.Outcome == queue.Unknown {
			e.Next, o.settlement.NotBefore = next, at.Ahead(next)
		}
		o.events = append(o.events, e)
	}
	r.agent.notices(r.work, now, &o, r.expiry(d))
	o.spare(report, at.Now)
	return o
}

// spare leaves out the recipients that nothing was sent to for the queue's sake: no
// attempt is charged for that, and it is tried again soon.
func (o *outcome) spare(report *Report, now time.Time) {
	kept := 0
	for i := range report.Recipients {
		if err := report.Recipients[i].Err; unsent(err) {
			pause := unsentPause
			if errors.Is(err, errUnread) {
				pause = lastPause
			}
			o.settlement.NotBefore = now.Add(pause)
			continue
		}
		o.settlement.Results[kept], o.events[kept] = o.settlement.Results[i], o.events[i]
		kept++
	}
	o.settlement.Results, o.events = o.settlement.Results[:kept], o.events[:kept]
}

// unsent reports whether nothing was sent because the queue could not be told before,
// did not hand out the content, or a lease of the shipment had run out.
func unsent(err *Error) bool {
	return err != nil && (errors.Is(err, errUnmarked) || errors.Is(err, errUnread) || errors.Is(err, errLeaseLost))
}

// unsentPause is how soon that is tried again; where the content cannot be read it is
// lastPause, since the whole of what is claimed may fail so.
const unsentPause = time.Second

// judge is what a recipient's outcome means for the queue, and what to call it.
func (r *run) judge(d *queue.Delivery, rr *RecipientReport, expired bool) (queue.Result, EventKind) {
	result := queue.Result{Outcome: rr.Outcome, Reply: rr.Reply}
	switch {
	case rr.Outcome == queue.Delivered:
		return result, Delivered
	case rr.Outcome == queue.Failed:
		return result, Failed
	case rr.Outcome == queue.Unknown && d.Message.Guarantee == queue.AtMostOnce:
		// Whoever wants it at most once would rather have it not at all than
		// twice.
		result.Outcome = queue.Failed
		return result, Failed
	case expired:
		result.Outcome = queue.Failed
		return result, Expired
	case rr.Outcome == queue.Unknown:
		return result, UnknownOutcome
	default:
		return result, Deferred
	}
}

// retryAt is when what stays of a delivery is tried again: by the schedule, but no
// later than it expires.
func (r *run) retryAt(d *queue.Delivery, report *Report, now time.Time) time.Time {
	retry := Retry{Destination: d.Lease.Destination, Arrived: d.Message.Arrived, Expires: r.expiry(d), Now: now}
	for i := range report.Recipients {
		retry.Attempts = max(retry.Attempts, d.States[i].Attempts+1)
		if rr := &report.Recipients[i]; rr.Outcome == queue.Deferred || rr.Outcome == queue.Unknown {
			retry.Outcome, retry.Reply = rr.Outcome, rr.Reply
		}
	}
	return r.agent.nextAttempt(retry)
}

// eventOf is what is told of a recipient's outcome.
func eventOf(d *queue.Delivery, rr *RecipientReport, kind EventKind, attempt int) Event {
	return Event{
		Kind: kind, ID: d.Message.ID, From: d.Message.From, Recipient: rr.Address,
		Destination: d.Lease.Destination, Attempt: attempt, Host: rr.Host, Addr: rr.Addr,
		Route: rr.Route, TLS: rr.TLS, Code: rr.Reply.Code, Enhanced: rr.Reply.Enhanced,
		Reply: rr.Reply.Bounded().Text, Tenant: d.Message.Tenant, Metadata: d.Message.Metadata, Err: rr.Err,
	}
}

// tell hands on the events of an outcome that the queue has. Where the lease was
// lost only what really happened is told: somebody else decides about the rest.
func (a *Agent) tell(o *outcome, s *queue.Settled) {
	now := time.Now()
	if s.Err == nil {
		o.events = append(o.events, a.created(o, s.Created, now)...)
	}
	for i := range o.events {
		o.events[i].Time = now
		kind := o.events[i].Kind
		if s.NoRoom && (kind == Failed || kind == Expired) {
			continue // who could not be told of stays, and is tried again
		}
		if s.Err == nil || kind == Delivered {
			a.note(o.events[i])
		}
	}
}

// Reasons for which nothing was asked of a host.
var (
	errLeaseLost   = errors.New("the lease ran out: somebody else may be sending the message")
	errInterrupted = errors.New("an earlier attempt was interrupted: the message may have been delivered")
	errExpired     = errors.New("not delivered in time")
	errPanic       = errors.New("a hook of the application panicked")
	errUnread      = errors.New("the queue does not hand out the content")
	errUnmarked    = errors.New("the queue could not record that the message is about to be sent")
)

// expiry is when, by the wall clock, a delivery is given up: later than was said where
// that clock has jumped ahead since the message arrived.
func (r *run) expiry(d *queue.Delivery) time.Time {
	at := d.Message.Expires
	if at.IsZero() {
		at = d.Message.Arrived.Add(r.agent.current().Expire)
	}
	return at.Add(r.agent.clock.Moved(d.Message.Arrived))
}

// end settles a delivery that no host was asked about.
func (r *run) end(p *part, report *Report) {
	o := r.conclude(p, report)
	r.inform(func(s *sched.Scheduler, now time.Time) { s.Gone(now, p.id) })
	r.settler.add(o)
}

// local is a report of something no host was asked about.
func local(m *queue.Message, v Verdict, enhanced string, cause error) *Report {
	report := newReport(m)
	e := &Error{Stage: StageMessage, Verdict: v, Enhanced: enhanced, Err: cause}
	e.AtMostOnce = v == MaybeTaken && m.Guarantee == queue.AtMostOnce
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

// leastWait is how soon a delivery is tried again at the earliest.
const leastWait = 100 * time.Millisecond

// nextAttempt is when to try again: by the schedule, with jitter. rnd answers
// with a number from 0 up to 1.
func (s *Settings) nextAttempt(r Retry, rnd func() float64) time.Time {
	wait := max(s.Schedule.Delay(r), leastWait)
	if s.Jitter > 0 {
		wait = max(wait, wait+time.Duration(float64(wait)*s.Jitter*rnd())) // a sum too large is negative
	}
	return r.Now.Add(wait)
}

// nextAttempt is when to try again, but no later than the message expires. Where
// the application's schedule panics the default one takes its place.
func (a *Agent) nextAttempt(r Retry) (next time.Time) {
	settings := a.current()
	if !a.guard(func() { next = settings.nextAttempt(r, rand.Float64) }) {
		usual := *settings
		usual.Schedule = DefaultSchedule()
		next = usual.nextAttempt(r, rand.Float64)
	}
	if next.After(r.Expires) {
		return r.Expires
	}
	return next
}
