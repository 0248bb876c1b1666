package delivery

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"golang.org/x/sync/errgroup"
)

// ErrInFlight says that some deliveries are in flight, from this agent or another, and
// were left unchanged.
var ErrInFlight = errors.New("delivery: being delivered just now")

// Hold keeps a message from being delivered until it is released. Deliveries in flight
// continue. The error is that of queue.Hold.
func (a *Agent) Hold(ctx context.Context, id string) error {
	return a.HoldUntil(ctx, id, queue.Terms{})
}

// HoldUntil holds a message until it is released or until a given time, with a reason.
// Held mail never expires. The error is that of queue.HoldUntil.
func (a *Agent) HoldUntil(ctx context.Context, id string, on queue.Terms) error {
	at := a.time()
	var err error
	if stored := on; stored == (queue.Terms{}) {
		err = queue.Hold(ctx, a.Queue, id)
	} else {
		stored.Until = aheadOf(at, on.Until)
		err = queue.HoldUntil(ctx, a.Queue, at.Now, id, stored)
	}
	if err != nil {
		return err
	}
	if r := a.running(); r != nil {
		r.withdraw(func(p *part) *outcome {
			if p.delivery.Lease.Message != id {
				return nil
			}
			o := unchanged(p)
			return &o
		})
	}
	a.note(Event{Time: time.Now(), Kind: Held, ID: id, Reply: on.Bounded().Reason, Next: on.Until})
	return nil
}

// Release ends a hold. The error is that of queue.Release.
func (a *Agent) Release(ctx context.Context, id string) error {
	err := queue.Release(ctx, a.Queue, id)
	a.Wake()
	return err
}

// Drop removes a message, without a report to the sender; only Events shows it. A
// delivery in flight may still be completed. The error is that of queue.Drop.
func (a *Agent) Drop(ctx context.Context, id string) error {
	err := queue.Drop(ctx, a.Queue, id)
	if err == nil {
		a.note(Event{Time: time.Now(), Kind: Dropped, ID: id})
	}
	return err
}

// Fail ends a message for all pending recipients, on hold or not, and sends a report to
// the sender as if the message had been refused with that reason. Recipients whose
// delivery is in flight are left unchanged, and the error is then ErrInFlight.
// Otherwise the error is that of queue.Take, or of storing the result.
func (a *Agent) Fail(ctx context.Context, id, reason string) error {
	_, err := a.FailAll(ctx, queue.Selection{Message: id}, reason)
	return err
}

// FailAll is like Fail for all recipients that a selection matches. It returns the
// number of messages for which it ended at least one recipient. If some are in flight,
// it continues with the others and returns ErrInFlight.
func (a *Agent) FailAll(ctx context.Context, what queue.Selection, reason string) (int, error) {
	return a.each(ctx, what, func(ctx context.Context, e *queue.Entry, named []int) error {
		return a.end(ctx, e, named, Failed, reason)
	})
}

// DropAll is like Drop for all recipients that a selection matches. If it matches only
// some recipients of a message, the message stays for the others.
func (a *Agent) DropAll(ctx context.Context, what queue.Selection) (int, error) {
	return a.each(ctx, what, func(ctx context.Context, e *queue.Entry, named []int) error {
		if len(named) == len(e.Waiting) {
			return a.Drop(ctx, e.Message.ID)
		}
		return a.end(ctx, e, named, Dropped, "")
	})
}

// HoldAll holds every message of which a selection matches a recipient, and returns
// their number.
func (a *Agent) HoldAll(ctx context.Context, what queue.Selection, on queue.Terms) (int, error) {
	return a.each(ctx, what, func(ctx context.Context, e *queue.Entry, _ []int) error {
		return a.HoldUntil(ctx, e.Message.ID, on)
	})
}

// ReleaseAll ends the hold of every message of which a selection matches a recipient,
// and returns how many were on hold.
func (a *Agent) ReleaseAll(ctx context.Context, what queue.Selection) (int, error) {
	n, err := a.each(ctx, what, func(ctx context.Context, e *queue.Entry, _ []int) error {
		if !e.Held {
			return errSkipped
		}
		return queue.Release(ctx, a.Queue, e.Message.ID)
	})
	a.Wake()
	return n, err
}

// errSkipped says that there was nothing to do.
var errSkipped = errors.New("nothing to do")

// atOnce is how many messages are changed at a time, so that they share what storing
// costs.
const atOnce = 32

// each calls a function for every message that a selection matches, several at a time,
// and counts them. It goes through the queue page by page, so that it blocks no one for
// long.
func (a *Agent) each(
	ctx context.Context, what queue.Selection, do func(ctx context.Context, e *queue.Entry, named []int) error,
) (int, error) {
	var done, busy atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	err := queue.Select(ctx, a.Queue, what, func(e *queue.Entry, named []int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		entry := *e
		group.Go(func() error {
			switch err := do(ctx, &entry, named); {
			case err == nil:
				done.Add(1)
			case errors.Is(err, ErrInFlight):
				busy.Add(1)
			case errors.Is(err, errSkipped), errors.Is(err, queue.ErrNotFound) && what.Message == "":
			default:
				return err
			}
			return nil
		})
		return nil
	}, nil)
	if failed := group.Wait(); failed != nil {
		err = failed
	}
	if err == nil && busy.Load() > 0 {
		err = ErrInFlight
	}
	return int(done.Load()), err
}

// end ends some recipients of a message: as failed, with a report to the sender, or as
// dropped.
func (a *Agent) end(ctx context.Context, e *queue.Entry, named []int, kind EventKind, reason string) error {
	var (
		ending       = make(map[int]bool, len(named)) // by index
		destinations []string
	)
	for _, i := range named {
		w := &e.Waiting[i]
		if ending[w.Index] = true; !slices.Contains(destinations, w.Destination) {
			destinations = append(destinations, w.Destination)
		}
	}
	mine := a.takeClaimed(e.Message.ID, destinations)
	taken, err := queue.Take(ctx, a.Queue, a.time().Now, e.Message.ID, takeLease, destinations...)
	if err != nil && len(mine) == 0 {
		return err
	}
	taken.Leased -= len(mine)
	for _, p := range mine {
		err = errors.Join(err, a.endOne(ctx, p, ending, kind, reason))
	}
	for i := range taken.Deliveries {
		err = errors.Join(err, a.endOne(ctx, &part{delivery: &taken.Deliveries[i]}, ending, kind, reason))
	}
	for i := range taken.Unreadable {
		err = errors.Join(err, taken.Unreadable[i].Err)
	}
	if err == nil && taken.Leased > 0 {
		return ErrInFlight
	}
	return err
}

// takeClaimed takes deliveries of a message that a running agent has claimed and that
// are not in flight. The caller settles them.
func (a *Agent) takeClaimed(id string, destinations []string) (list []*part) {
	r := a.running()
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for n, p := range r.parts {
		l := &p.delivery.Lease
		if l.Message == id && slices.Contains(destinations, l.Destination) && r.sched.Withdraw(now, n) {
			list = append(list, p)
		}
	}
	r.decide(now)
	return list
}

// endOne ends recipients of one delivery that was taken. The others stay as they were.
func (a *Agent) endOne(ctx context.Context, p *part, ending map[int]bool, kind EventKind, reason string) error {
	d := p.delivery
	o := outcome{part: p, settlement: queue.Settlement{Lease: d.Lease, NotBefore: d.Due}}
	report := local(&d.Message, Refused, "5.3.0", &endedError{reason})
	for i := range report.Recipients {
		rr, state := &report.Recipients[i], &d.States[i]
		if !ending[state.Index] {
			continue
		}
		o.settlement.Results = append(o.settlement.Results, queue.Result{
			Recipient: state.Index, Outcome: queue.Failed, Reply: rr.Reply,
		})
		event := eventOf(d, rr, kind, state.Attempts)
		if kind == Dropped {
			event.Err, event.Enhanced, event.Reply = nil, "", ""
		}
		o.events = append(o.events, event)
	}
	if kind == Failed {
		a.notices(ctx, a.clock.Read().Wall, &o, d.Message.Expires)
	}
	err := a.record(ctx, &o)
	if r := a.running(); r != nil && p.id != 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		now := time.Now()
		r.done(now, &o, err == nil)
		r.decide(now)
	}
	return err
}

// endedError is the reason of mail that was ended by Fail.
type endedError struct{ reason string }

// Error returns the given reason.
func (e *endedError) Error() string {
	if e.reason == "" {
		return "ended by the administrator"
	}
	return "ended by the administrator: " + e.reason
}

// Flush makes the deliveries that the selection matches due now, and returns their
// number. A running agent also forgets the failures of their hosts: the back-off of
// their sites, addresses that failed, logins that were refused. The error is that of
// queue.Flush.
func (a *Agent) Flush(ctx context.Context, what queue.Selection) (int, error) {
	if r := a.running(); r != nil {
		r.forget(ctx, what)
	}
	n, err := queue.Flush(ctx, a.Queue, a.time().Now, what)
	a.Wake()
	return n, err
}

// maxForgiven is the number of destinations of a selection up to which their failures
// are forgotten one by one. For more, the failures of all destinations are forgotten.
const maxForgiven = 100

// forget forgets the failures of the hosts of a selection.
func (r *run) forget(ctx context.Context, what queue.Selection) {
	var names []string
	switch {
	case what == queue.Selection{}:
		r.forgiveAll()
		return
	case what.Destination != "":
		names = []string{what.Destination}
	default:
		err := queue.Select(ctx, r.queue, what, func(e *queue.Entry, named []int) error {
			for _, i := range named {
				if name := e.Waiting[i].Destination; !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
			if len(names) > maxForgiven {
				return errSkipped
			}
			return nil
		}, nil)
		if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, errSkipped) {
			r.forgiveAll()
			return
		}
	}
	for _, name := range names {
		r.forgive(ctx, name)
	}
}

// forgive forgets the failures of the hosts of a destination.
func (r *run) forgive(ctx context.Context, destination string) {
	var route mx.Route
	r.agent.guard(func() { route, _ = r.sender.route(ctx, "", destination) })
	for i := range route.Hosts {
		for _, ip := range route.Hosts[i].Addrs {
			r.sender.sessions.Memory.Succeed(r.sender.sessions.AddrPort(&route.Hosts[i], ip))
		}
	}
	key := r.site(&route)
	r.inform(func(s *sched.Scheduler, now time.Time) { s.Flush(now, key, destination) })
}
