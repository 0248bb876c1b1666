package delivery

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/clock"
	"github.com/nexthop-mail/nexthop/delivery/internal/lease"
	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/trouble"
	"github.com/nexthop-mail/nexthop/queue"
)

// claims takes deliveries from the queue whenever the scheduler wants any, until ctx
// ends.
func (r *run) claims(ctx context.Context) error {
	r.inform((*sched.Scheduler).MailCame)
	looked := true // found that nothing is due or about to be
	for ctx.Err() == nil && r.failed() == nil {
		want, quiet := r.wanted()
		if want == nil && r.untilIdle && quiet && !looked {
			looked = true
			r.inform((*sched.Scheduler).MailCame)
			continue
		}
		if want == nil {
			select {
			case <-ctx.Done():
			case <-r.stir.Seen():
			case <-r.agent.wake.Seen():
				r.inform((*sched.Scheduler).MailCame)
			}
			continue
		}
		now := r.agent.clock.Now()
		options, asked := r.options(want), time.Now()
		found, err := r.queue.Claim(ctx, now, options)
		switch {
		case err != nil && ctx.Err() != nil:
			continue // to the end
		case errors.Is(err, queue.ErrClosed):
			return err
		}
		if r.heed(trouble.Claim, err); err != nil {
			r.inform((*sched.Scheduler).ClaimFailed)
			continue
		}
		if ctx.Err() != nil {
			r.beginNoMore() // what was found goes back
		}
		if len(found.Deliveries) > 0 {
			looked = false
		} else if r.untilIdle && quiet && r.idle(ctx) {
			return nil
		}
		if r.shares.Take(options.Limits, found.Limits, now, asked) {
			r.reshare()
		}
		r.take(found, now)
		r.needShares()
		r.report(found.Unreadable)
		r.watcher.watch(found.Seen)
		r.stale.Set()
	}
	return nil
}

// wanted returns the next claim to make, or nil if there is none. quiet is true if no
// delivery is claimed.
func (r *run) wanted() (want *sched.Claim, quiet bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	want = r.claim
	r.claim = nil
	return want, len(r.parts) == 0
}

// errDue ends a look at what waits.
var errDue = errors.New("something is due")

// idle reports whether all mail in the queue waits for a time or for an administrator,
// and not for a limit of the agent itself. Mail that the queue cannot list is ignored.
func (r *run) idle(ctx context.Context) bool {
	err := r.agent.WhyAll(ctx, queue.Selection{}, func(w Wait) error {
		switch {
		case w.Reason == WaitRate, w.Reason == WaitSiteFull, w.Reason == WaitClaimed, w.State == WaitDue:
			return errDue
		}
		return nil
	})
	return !errors.Is(err, errDue)
}

// options converts a claim to the options of the queue.
func (r *run) options(c *sched.Claim) queue.ClaimOptions {
	o := queue.ClaimOptions{
		Max: c.Max, Lease: r.agent.leaseLength(), PerDestination: c.PerDestination, PerTenant: c.PerTenant,
		Destinations: c.Destinations, Except: c.Except, ExceptTenants: c.ExceptTenants,
	}
	if len(c.Destinations) == 0 && !c.Others {
		o.Owner = r.owner
	}
	r.suspended.LeaveOut(r.agent.clock.Now(), &o)
	o.Limits = r.shares.Requests()
	return o
}

// take passes claimed deliveries to the scheduler.
func (r *run) take(found queue.Claimed, asked time.Time) {
	list := make([]*part, len(found.Deliveries))
	for i := range list {
		d := &found.Deliveries[i]
		list[i] = &part{delivery: d, lease: lease.Held{Lease: d.Lease}}
		r.leases.Add(&list[i].lease)
	}
	list = r.admitted(list)
	more := !found.Next.IsZero() && !found.Next.After(asked)
	r.mu.Lock()
	defer r.mu.Unlock()
	at, now := time.Now(), r.agent.clock.Read()
	r.mails = r.mails[:0]
	for _, p := range list {
		r.lastID++
		p.id, p.claimed = r.lastID, at
		r.parts[p.id], r.mails = p, append(r.mails, r.mail(p, now, at))
	}
	var next time.Time
	if !found.Next.IsZero() {
		next = at.Add(found.Next.Sub(now.Now))
	}
	r.sched.Claimed(at, r.mails, more, next)
	clear(r.mails) // so that it keeps nothing alive
	r.decide(at)
}

// maxReported is the number of unreadable deliveries that are remembered.
const maxReported = 10_000

// report tells of deliveries that cannot be read, each once. They stay leased:
// they are looked at again when that has ended.
func (r *run) report(list []queue.Unreadable) {
	for i := range list {
		l := &list[i].Lease
		key := lease.KeyOf(l)
		if r.unreadable[key] {
			continue
		}
		if len(r.unreadable) >= maxReported {
			clear(r.unreadable)
		}
		r.unreadable[key] = true
		e := &Error{Stage: StageMessage, Verdict: NotNow, Enhanced: "4.3.0", Err: list[i].Err}
		r.agent.note(Event{
			Time: time.Now(), Kind: Deferred, ID: l.Message, Destination: l.Destination,
			Enhanced: e.Enhanced, Reply: e.Reason(), Next: l.Until, Err: e,
		})
	}
}

// admitted settles deliveries that were suspended after the claim was made, and returns
// the others.
func (r *run) admitted(found []*part) []*part {
	return slices.DeleteFunc(found, func(p *part) bool {
		o := r.keepSuspended(p)
		if o == nil {
			return false
		}
		r.settler.add(*o)
		return true
	})
}

// run watches the queue until ctx ends, if that can tell.
func (w *watcher) run(ctx context.Context, r *run) {
	q, able := queue.As[queue.Waiter](r.queue)
	for {
		select {
		case <-ctx.Done():
			return
		case seen := <-w.claimed:
			if !able {
				continue
			}
			err := q.Wait(ctx, seen)
			r.stale.Set()
			if err == nil || errors.Is(err, queue.ErrClosed) || errors.Is(err, queue.ErrFailed) {
				r.inform((*sched.Scheduler).MailCame)
			}
		}
	}
}

// mail is a part as the scheduler knows it. at is the same moment as now, on the clock
// that the scheduler goes by.
func (r *run) mail(p *part, now clock.Time, at time.Time) sched.Mail {
	d := p.delivery
	return sched.Mail{
		ID: p.id, Message: d.Message.ID, Destination: d.Lease.Destination, Tenant: d.Message.Tenant,
		Priority: d.Message.Priority, Recipients: len(d.Message.Recipients),
		Due: at.Add(d.Due.Sub(now.Now)), Deadline: at.Add(r.deadline(d).Sub(now.Wall)),
	}
}
