package delivery

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/waiting"
	"github.com/nexthop-mail/nexthop/queue"
)

// sweep handles suspended mail, which is not claimed: it expires when its time is over,
// and its sender is told about a delay. It goes through the list of the queue once, and
// later only through mail that has come since.
type sweep struct {
	r     *run
	table *waiting.Table
	after map[string]string // by destination, "" for all: up to where the list is known
	times waiting.Deadlines
}

// suspendedLook is the longest time between checks for new suspended mail, and between
// questions to a queue that does not report changes.
const suspendedLook = time.Minute

// look does the work that is due, and returns when to call it again; zero means when
// something has changed.
func (w *sweep) look(ctx context.Context) (next time.Duration) {
	r := w.r
	table := r.suspended.Table()
	if table != w.table {
		w.table = table
		w.begin()
	}
	now := r.agent.clock.Now()
	if table == nil {
		return 0
	}
	if r.suspended.Expire(now) {
		r.inform((*sched.Scheduler).MailCame) // to see where its mail goes by now
	}
	w.list(ctx)
	wall := r.agent.clock.Read().Wall
	due, complete := w.times.Due(wall)
	for _, m := range due {
		if again := w.end(ctx, m); !again.IsZero() {
			w.times.Add(again, m)
		}
	}
	if !complete {
		w.begin()
		return time.Millisecond
	}
	next = suspendedLook
	if at := w.times.Next(); !at.IsZero() {
		next = min(next, at.Sub(wall))
	}
	if end := table.End(); !end.IsZero() {
		next = min(next, end.Sub(now))
	}
	return max(next, time.Millisecond)
}

func (w *sweep) begin() {
	w.times.Reset()
	w.after = map[string]string{}
}

// list notes the times of mail that has come since the last time.
func (w *sweep) list(ctx context.Context) {
	r := w.r
	if w.table.Tenants() {
		w.listOne(ctx, "")
		return
	}
	names, _ := w.table.Names(r.agent.clock.Now())
	names = slices.AppendSeq(names, maps.Keys(r.suspended.Sited()))
	for _, name := range names {
		w.listOne(ctx, name)
	}
}

func (w *sweep) listOne(ctx context.Context, destination string) {
	r := w.r
	for {
		page, err := queue.List(ctx, r.queue, queue.ListOptions{After: w.after[destination], Max: 200, Destination: destination})
		if err != nil || len(page.Entries) == 0 {
			return
		}
		now := r.agent.clock.Now()
		for i := range page.Entries {
			e := &page.Entries[i]
			for j := range e.Waiting {
				to := e.Waiting[j].Destination
				if j > 0 && to == e.Waiting[j-1].Destination {
					continue
				}
				if by, _ := r.suspended.Mail(now, to, e.Message.Tenant); by != nil {
					w.times.Add(r.deadline(&queue.Delivery{Message: e.Message}), waiting.Mail{ID: e.Message.ID, Destination: to})
				}
			}
			w.after[destination] = e.Message.ID
		}
		if page.Next == "" {
			return
		}
	}
}

// Times after which a delivery that could not be ended is tried again.
const (
	heldLook   = 10 * time.Minute
	failedLook = time.Minute
)

// end looks at a delivery whose time has come, and returns when to look again; zero is
// never. Held mail does not expire.
func (w *sweep) end(ctx context.Context, m waiting.Mail) (again time.Time) {
	r := w.r
	at := r.agent.clock.Read()
	e, err := queue.Show(ctx, r.queue, m.ID)
	switch {
	case errors.Is(err, queue.ErrNotFound):
		return again
	case err != nil:
		return at.Wall.Add(failedLook)
	case e.Held:
		return at.Wall.Add(heldLook)
	}
	if by, _ := r.suspended.Mail(at.Now, m.Destination, e.Message.Tenant); by == nil {
		return again
	}
	taken, err := queue.Take(ctx, r.queue, at.Now, m.ID, takeLease, m.Destination)
	switch {
	case errors.Is(err, queue.ErrNotFound), errors.Is(err, errors.ErrUnsupported):
		return again
	case err != nil, taken.Leased > 0:
		return at.Wall.Add(failedLook)
	}
	for i := range taken.Deliveries {
		again = w.endOne(ctx, &taken.Deliveries[i])
	}
	return again
}

func (w *sweep) endOne(ctx context.Context, d *queue.Delivery) (again time.Time) {
	r := w.r
	at := r.agent.clock.Read()
	p := &part{delivery: d}
	o := unchanged(p)
	o.settlement.Reason = waiting.Reason{Code: waiting.Suspended}.String()
	switch {
	case !r.expiry(d).After(at.Wall):
		o = r.conclude(p, r.expired(d))
	case r.warnDue(d, at.Wall):
		r.warn(&o, at.Wall)
		again = r.expiry(d)
	default:
		again = r.deadline(d)
	}
	if err := r.agent.record(ctx, &o); err != nil {
		return at.Wall.Add(failedLook)
	}
	return again
}

// takeLease is the lease of mail that will be ended.
const takeLease = 5 * time.Minute
