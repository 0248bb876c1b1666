package delivery

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/delivery/internal/reports"
	"github.com/nexthop-mail/nexthop/queue"
)

// conclude makes a settlement from the results of an attempt. Recipients that are not
// delivered when the delivery's time is over have expired.
func (r *run) conclude(p *part, report *Report) outcome {
	d, at := p.delivery, r.agent.clock.Read()
	now, expiry := at.Wall, r.expiry(d)
	expired := !expiry.After(now)
	o := outcome{part: p, settlement: queue.Settlement{Lease: d.Lease}}
	o.settlement.Results = make([]queue.Result, 0, len(report.Recipients))
	o.events = make([]Event, 0, len(report.Recipients))
	var next time.Time // the same for all that stays
	for i := range report.Recipients {
		rr, state := &report.Recipients[i], &d.States[i]
		result, kind := r.judge(d, rr, expired && !unsent(rr.Err))
		result.Recipient = state.Index
		o.settlement.Results = append(o.settlement.Results, result)
		e := eventOf(d, rr, kind, state.Attempts+1)
		if result.Outcome == queue.Deferred || result.Outcome == queue.Unknown {
			if next.IsZero() {
				next = r.retryAt(d, report, now)
			}
			e.Next, o.settlement.NotBefore = next, at.Ahead(next)
		}
		o.events = append(o.events, e)
	}
	r.agent.notices(r.work, now, &o, expiry)
	o.spare(report, at.Now)
	return o
}

// spare leaves out the recipients to which nothing was sent because of the queue. They
// are charged no attempt, and are tried again soon.
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

// unsent reports whether nothing was sent because the queue did not record the mark,
// did not return the content, or a lease of the shipment had ended.
func unsent(err *Error) bool {
	return err != nil && (errors.Is(err, errUnmarked) || errors.Is(err, errUnread) || errors.Is(err, errLeaseLost))
}

// unsentPause is the time after which that is tried again. If the content cannot be
// read it is lastPause, since all claimed deliveries may fail for that reason.
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
		// With at most once, a lost message is preferred to a duplicate.
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

// eventOf returns the event for a recipient's outcome.
func eventOf(d *queue.Delivery, rr *RecipientReport, kind EventKind, attempt int) Event {
	e := Event{
		Kind: kind, ID: d.Message.ID, From: d.Message.From, Recipient: rr.Address,
		Destination: d.Lease.Destination, Attempt: attempt, Host: rr.Host, Addr: rr.Addr,
		Via: rr.Via, TLS: rr.TLS, Decision: rr.Decision, Code: rr.Reply.Code, Enhanced: rr.Reply.Enhanced,
		Reply: rr.Reply.Bounded().Text, Tenant: d.Message.Tenant, Metadata: d.Message.Metadata, Size: d.Size, Err: rr.Err,
	}
	if n := len(rr.Attempts); n > 0 {
		last := &rr.Attempts[n-1]
		e.Duration = last.Began.Sub(rr.Attempts[0].Began) + last.Duration
		for i := range rr.Attempts {
			e.Stages = e.Stages.plus(rr.Attempts[i].Stages)
		}
	}
	return e
}

// nextAttempt is when to try again, but no later than the message expires. If
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

// Reasons why no host was asked.
var (
	errLeaseLost   = errors.New("the lease ended: another agent may be sending the message")
	errInterrupted = errors.New("an earlier attempt was interrupted: the message may have been delivered")
	errExpired     = errors.New("not delivered in time")
	errPanic       = errors.New("a hook of the application panicked")
	errUnread      = errors.New("the queue does not hand out the content")
	errUnmarked    = errors.New("the queue could not record that the message is about to be sent")
)

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

// expired returns the report of a delivery whose time is over: the last reply for each
// recipient, or that there was none.
func (r *run) expired(d *queue.Delivery) *Report {
	report := local(&d.Message, NotNow, "4.4.7", errExpired)
	for i := range report.Recipients {
		if last := &d.States[i]; last.Attempts > 0 {
			report.Recipients[i].Reply, report.Recipients[i].Host = last.Reply, last.Reply.Host
		}
	}
	return report
}

// warn adds what tells the sender of the delay of a delivery that waits, without
// charging it an attempt. now is the wall clock's.
func (r *run) warn(o *outcome, now time.Time) {
	d := o.part.delivery
	for i := range d.States {
		last := &d.States[i]
		reply := last.Reply
		if last.Attempts == 0 {
			reply = queue.Reply{Enhanced: "4.4.1", Text: attempt.ErrNoHost.Error()}
		}
		o.settlement.Results = append(o.settlement.Results, queue.Result{Recipient: last.Index, Reply: reply})
	}
	if r.agent.isLate(now, d) {
		fates := slices.Repeat([]reports.Fate{reports.Delayed}, len(d.States))
		r.agent.write(r.work, now, o, fates, r.expiry(d))
	}
	o.settlement.Results = nil
	o.settlement.Warned = true
}

// notices adds to an outcome the reports it causes. now is the wall clock's, and expiry
// when the delivery is given up.
func (a *Agent) notices(ctx context.Context, now time.Time, o *outcome, expiry time.Time) {
	late := a.isLate(now, o.part.delivery)
	var fates []reports.Fate
	for i := range o.events {
		fate := fateOf(o.events[i].Kind, late)
		if fate == reports.Untold {
			continue
		}
		if fates == nil {
			fates = make([]reports.Fate, len(o.events))
		}
		fates[i] = fate
	}
	if fates != nil {
		a.write(ctx, now, o, fates, expiry)
	}
}

// fateOf is what a report may have to tell of a recipient.
func fateOf(k EventKind, late bool) reports.Fate {
	switch {
	case k == Failed:
		return reports.Failed
	case k == Expired:
		return reports.Expired
	case late && (k == Deferred || k == UnknownOutcome):
		return reports.Delayed
	default:
		return reports.Untold
	}
}

// write adds to an outcome the reports about its recipients.
func (a *Agent) write(ctx context.Context, now time.Time, o *outcome, fates []reports.Fate, expiry time.Time) {
	events := o.events
	var whole *queue.Entry
	if slices.Contains(fates, reports.Delayed) {
		whole = a.whole(ctx, o.part.delivery)
	}
	list := a.reports().Write(ctx, &reports.Subject{
		Delivery: o.part.delivery, Results: o.settlement.Results, Fates: fates, Whole: whole, Expiry: expiry, Now: now,
		MayTell: func(i int) bool { return a.mayBounce(&events[i]) },
	})
	for _, n := range list {
		o.notices = append(o.notices, n)
		o.settlement.Create = append(o.settlement.Create, n.Message)
		if n.Delay {
			o.settlement.Warned = true
		}
	}
}

// whole returns the whole message of a delivery whose sender must be told about the
// delay, or nil if the queue cannot show it. It is looked up once. The keys of reports
// ensure that the sender is told only once about each recipient.
func (a *Agent) whole(ctx context.Context, d *queue.Delivery) *queue.Entry {
	if a.told.Has(d.Message.ID) {
		return &queue.Entry{}
	}
	e, err := queue.Show(ctx, a.Queue, d.Message.ID)
	if err != nil {
		return nil
	}
	return &e
}

// isLate reports whether the sender must be told about a delay.
func (a *Agent) isLate(now time.Time, d *queue.Delivery) bool {
	warn := a.current().Warn
	return warn > 0 && !d.Warned && now.Sub(d.Message.Arrived.Add(a.clock.Moved(d.Message.Arrived))) >= warn
}

// reports is what writes the agent's reports.
func (a *Agent) reports() *reports.Writer {
	w := &reports.Writer{
		Reporter: a.reporter(), Postmaster: a.Postmaster, MaxReturn: max(a.MaxReturn, 0),
		Life: a.current().ExpireReport, Open: a.Queue.Open,
	}
	if a.MaxReturn == 0 {
		w.MaxReturn = defaultMaxReturn
	}
	if a.Sign != nil {
		w.Sign = a.sign
	}
	return w
}

// mayBounce asks the Bounce hook.
func (a *Agent) mayBounce(e *Event) bool {
	if a.Bounce == nil {
		return true
	}
	yes := true // also if the hook panics
	a.guard(func() { yes = a.Bounce(*e) })
	return yes
}

// reporter is this host's name.
func (a *Agent) reporter() string {
	if a.Reporter != "" {
		return a.Reporter
	}
	if hello := a.sender().Hello; hello != "" {
		return hello
	}
	if name, err := os.Hostname(); err == nil {
		return name
	}
	return "localhost"
}
