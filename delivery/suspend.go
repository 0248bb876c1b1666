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

// Suspend leaves alone what the suspensions name, until their end or until it is
// resumed: mail for a destination, mail that goes to a site, mail of a tenant. A site
// is named as Why shows it, or by the name of any of its hosts. Either covers all mail
// for these hosts, also that of domains which a Rule makes sites of their own; their
// names, as Why shows them, cover their mail alone. What is in flight goes on; nothing
// else begins once Suspend has returned, here, and within about a second if other agents
// work on the queue.
//
// Suspended mail keeps its place. It expires on time, without an attempt, and its sender
// is told of the delay, if the queue can list and hand out single messages. The error is
// that of queue.Suspend.
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

// Resume ends suspensions and returns how many there were. What they kept back is due
// as if it had not been. The error is that of queue.Resume.
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

// aheadOf is a time of the wall clock as the queue has it; zero stays so.
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

// learnSuspended asks the queue what is suspended. What is claimed and not in flight of
// that goes back.
func (r *run) learnSuspended(ctx context.Context) {
	r.suspended.learning.Lock()
	defer r.suspended.learning.Unlock()
	now := r.agent.clock.Now()
	list, err := queue.Suspensions(ctx, r.queue, now)
	if err != nil {
		return // it is asked again
	}
	table, before := waiting.NewTable(list), r.suspended.table.Load()
	if table.Equal(before) {
		return
	}
	r.suspended.table.Store(table)
	r.suspended.forget(func(s *sited) bool { return !table.Has(now, s.by.Subject) })
	r.withdraw(func(p *part) *outcome { return r.keepSuspended(p) })
	r.inform((*sched.Scheduler).MailCame)
}
