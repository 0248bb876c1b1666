package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/clock"
	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/waiting"
	"github.com/nexthop-mail/nexthop/queue"
)

// Suspend stops the delivery of the mail that the suspensions name, until they end or
// are resumed: mail for a destination, to a site, or of a tenant. A site is named as
// Why shows it, or by the name of any of its hosts. Either name covers all mail for
// these hosts, including that of domains for which a Rule makes separate sites; the
// names of these sites, as Why shows them, cover only their own mail. Deliveries in
// flight continue. When Suspend has returned, this agent begins no other, and other
// agents on the same queue stop within about a second.
//
// Suspended mail keeps its place. It expires on time, without an attempt, and its
// sender is told about the delay, if the queue can list messages and lease single ones.
// The error is that of queue.Suspend.
func (a *Agent) Suspend(ctx context.Context, list ...queue.Suspension) error {
	at := a.time()
	stored := slices.Clone(list)
	for i := range stored {
		stored[i].Until = aheadOf(at, stored[i].Until)
	}
	if err := queue.Suspend(ctx, a.Queue, at.Now, stored...); err != nil {
		return err
	}
	if r := a.running(); r != nil {
		r.learnSuspended(ctx)
	}
	for i := range list {
		e := subjectEvent(Suspended, list[i].Subject)
		e.Reply, e.Next = list[i].Bounded().Reason, list[i].Until
		a.note(e)
	}
	return nil
}

// Resume ends suspensions and returns how many there were. Their mail becomes due at
// the times it would have had without them. The error is that of queue.Resume.
func (a *Agent) Resume(ctx context.Context, list ...queue.Subject) (int, error) {
	before, err := queue.Suspensions(ctx, a.Queue, a.time().Now)
	if err != nil {
		return 0, err
	}
	n, err := queue.Resume(ctx, a.Queue, a.time().Now, list...)
	if err != nil {
		return n, err
	}
	if r := a.running(); r != nil {
		r.learnSuspended(ctx)
	}
	for _, s := range list {
		if slices.ContainsFunc(before, func(o queue.Suspension) bool { return o.Subject == s }) {
			a.note(subjectEvent(Resumed, s))
		}
	}
	return n, nil
}

// aheadOf converts a time of the wall clock to the clock of the queue; zero stays zero.
func aheadOf(at clock.Time, wall time.Time) time.Time {
	if wall.IsZero() {
		return wall
	}
	return at.Ahead(wall)
}

func subjectEvent(k EventKind, s queue.Subject) Event {
	e := Event{Time: time.Now(), Kind: k}
	switch s.Kind {
	case queue.OfSite:
		e.Host = s.Name
	case queue.OfTenant:
		e.Tenant = s.Name
	default:
		e.Destination = s.Name
	}
	return e
}

// learnSuspended asks the queue for the suspensions. Suspended deliveries that are
// claimed and not in flight are returned.
func (r *run) learnSuspended(ctx context.Context) {
	r.learning.Lock()
	defer r.learning.Unlock()
	now := r.agent.clock.Now()
	list, err := queue.Suspensions(ctx, r.queue, now)
	if err != nil {
		return // it is asked again
	}
	if !r.suspended.Replace(now, waiting.NewTable(list)) {
		return
	}
	r.withdraw(func(p *part) *outcome { return r.keepSuspended(p) })
	r.inform((*sched.Scheduler).MailCame)
}
