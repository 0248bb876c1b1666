package tlsrpt

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Times of attempts.
const (
	// lease is how long an attempt can take: ten targets, a minute each.
	lease = 15 * time.Minute
	// holdOff is how long a host that does not answer is left alone.
	holdOff = 5 * time.Minute
	// The waits between attempts: each is twice the one before.
	firstWait, mostWait = 10 * time.Minute, 8 * time.Hour
)

// wait is how long to wait after so many attempts: 10 minutes, 20, 40 and so on. The last
// attempt is 24 hours after the first.
func wait(attempts int) time.Duration {
	if attempts > 10 {
		return mostWait
	}
	return min(firstWait<<max(attempts-1, 0), mostWait)
}

// parcel is a report that is ready to be sent.
type parcel struct {
	day    Day
	domain string
	report *Report
	packed []byte
}

// attempt handles a task that is due, and sets the time of its next step.
func (r *Reporter) attempt(ctx context.Context, t *task) {
	now := time.Now()
	if t.began.IsZero() {
		t.began = now
		t.known.Day, t.known.Domain = t.day, t.domain
	}
	t.at = time.Time{}
	timeUp := !now.Before(t.began.Add(keepTrying))
	record, err := Lookup(ctx, r.Resolver, t.domain)
	_, verdict := errors.AsType[*RecordError](err)
	switch {
	case ctx.Err() != nil:
		t.at = now
	case verdict, err != nil && timeUp:
		r.Trace.notAsked(t.day, t.domain, err)
	case err != nil:
		t.lookups++
		t.at = earliest(now.Add(wait(t.lookups)), t.began.Add(keepTrying))
	default:
		t.lookups = 0
		if until := r.heldUntil(&record, &t.known, now); !until.IsZero() && !timeUp {
			t.at = until
			return
		}
		r.claim(ctx, t, &record, timeUp)
	}
}

// heldUntil is when one of the targets that a report is still to be sent to is no longer
// left alone; the zero time if one is not.
func (r *Reporter) heldUntil(record *Record, d *Delivery, now time.Time) time.Time {
	var until time.Time
	for i := range record.Targets {
		to := &record.Targets[i]
		if !d.open(record, to) {
			continue
		}
		if to.Kind != HTTPS {
			return time.Time{}
		}
		at := r.targets.heldUntil(to.Host, now)
		if at.IsZero() {
			return at
		}
		if until.IsZero() || at.Before(until) {
			until = at
		}
	}
	return until
}

// open reports whether a report is still to be sent to a target: not if it was taken or
// refused there, or taken by another target of the kind.
func (d *Delivery) open(record *Record, to *Target) bool {
	if slices.Contains(d.Taken, to.URI) || slices.Contains(d.Refused, to.URI) {
		return false
	}
	return !slices.ContainsFunc(record.Targets, func(other Target) bool {
		return other.Kind == to.Kind && slices.Contains(d.Taken, other.URI)
	})
}

// claim claims a report, unless another Reporter has, and sends it.
func (r *Reporter) claim(ctx context.Context, t *task, record *Record, timeUp bool) {
	now := time.Now()
	d := t.known.clone()
	d.Revision++
	d.Attempts++
	d.Until = now.Add(lease)
	if d.First.IsZero() {
		d.First = now
	}
	stored, mine, err := r.store().Update(ctx, d)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			r.Trace.storeFailed(err)
		}
		if !timeUp {
			t.at = now.Add(tryStore)
		}
		return
	case !mine:
		t.known = stored
		if !stored.Done {
			t.at = latest(stored.Until, now)
		}
		return
	}
	r.deliver(ctx, t, record, &d)
	d.Revision++
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), atTheEnd)
	defer cancel()
	stored, _, err = r.store().Update(last, d)
	if err != nil {
		// The Store does not know that the report was sent. The Reporter that takes it
		// when the claim has ended sends it again, with the same id.
		r.Trace.storeFailed(err)
		d.Revision--
		stored = d
	}
	if t.known = stored; t.known.Done {
		r.Trace.done(t.known)
		return
	}
	t.at = t.known.Until
}

var (
	errTooMany = errors.New("it has as many reports of that day as one target gets")
	errHeld    = errors.New("the host does not answer, and is left alone for some minutes")
)

// deliver sends a report to the targets that are still open, and records the results in
// d.
func (r *Reporter) deliver(ctx context.Context, t *task, record *Record, d *Delivery) {
	before := d.clone()
	d.Problems = nil
	p, err := r.parcel(t)
	if err != nil {
		d.Problems, d.Done = []string{err.Error()}, true
		return
	}
	for i := range record.Targets {
		to := &record.Targets[i]
		if !before.open(record, to) {
			continue
		}
		err := r.send(ctx, p, to, d)
		if ctx.Err() != nil && err != nil {
			// The targets are not the cause: the next attempt may follow at once.
			d.Attempts, d.Until = before.Attempts-1, time.Now()
			return
		}
		r.Trace.sent(t.day, t.domain, *to, err)
		switch {
		case err == nil:
			d.Taken = append(d.Taken, to.URI)
			continue
		case final(to, err):
			d.Refused = append(d.Refused, to.URI)
		}
		d.Problems = append(d.Problems, clean(to.URI+": "+err.Error(), 500))
	}
	now := time.Now()
	end := d.First.Add(keepTrying)
	d.Done = !now.Before(end) || !slices.ContainsFunc(record.Targets, func(to Target) bool { return d.open(record, &to) })
	if d.Until = earliest(now.Add(wait(d.Attempts)), end); d.Done {
		d.Until = now
	}
}

// parcel makes a report.
func (r *Reporter) parcel(t *task) (*parcel, error) {
	report := r.Submitter.Report(t.day, t.domain, t.tallies)
	packed, err := report.compressed()
	return &parcel{day: t.day, domain: t.domain, report: report, packed: packed}, err
}

// send sends a report to one target. That it counts there is noted in d.
func (r *Reporter) send(ctx context.Context, p *parcel, to *Target, d *Delivery) error {
	if to.Kind == HTTPS && !r.targets.heldUntil(to.Host, time.Now()).IsZero() {
		return errHeld
	}
	if to.Kind == Mail {
		if err := r.mayMail(); err != nil {
			return err
		}
	}
	if !slices.Contains(d.Counted, to.Host) {
		ok, err := r.admit(ctx, p.day, to.Host)
		if err != nil {
			return err
		}
		if !ok {
			return errTooMany
		}
		d.Counted = append(d.Counted, to.Host)
	}
	if to.Kind == Mail {
		return r.mail(ctx, p, *to)
	}
	err := r.poster.Post(ctx, to.URI, p.packed)
	if _, answered := errors.AsType[*StatusError](err); err != nil && !answered && ctx.Err() == nil {
		r.targets.hold(to.Host, time.Now().Add(holdOff))
	}
	return err
}

// final reports whether a target will not take a report later either.
func final(to *Target, err error) bool {
	if errors.Is(err, errTooMany) || errors.Is(err, errNoMailer) || errors.Is(err, errUnsigned) {
		return true
	}
	var known interface{ Temporary() bool }
	return to.Kind == Mail && errors.As(err, &known) && !known.Temporary()
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
