package memory

import (
	"context"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Claim leases what is due.
func (q *Queue) Claim(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
	if err := q.begin(ctx); err != nil {
		return queue.Claimed{}, err
	}
	defer q.mu.Unlock()
	now = now.Round(0)
	q.wakeUp(now)
	r := newRound(q, now, want.WithDefaults())
	for d := r.pick(); d != nil; d = r.pick() {
		if len(r.found.Deliveries) == r.want.Max {
			r.more = true
			r.skipped = append(r.skipped, d)
			break
		}
		r.found.Deliveries = append(r.found.Deliveries, q.lease(d, now, r.want.Lease))
	}
	r.end()
	return r.found, nil
}

// lease hands a delivery out.
func (q *Queue) lease(d *delivery, now time.Time, length time.Duration) queue.Delivery {
	e := d.entry
	if d.leased && e.message.Guarantee == queue.AtMostOnce {
		d.interrupted = true
	}
	q.lastToken++
	d.leased, d.token, d.until = true, q.lastToken, now.Add(length)
	q.place(d)
	return queue.Delivery{
		Lease: queue.Lease{
			Message: e.message.ID, Destination: d.destination.name,
			Token: d.token, Until: d.until,
		},
		Message:     e.copy(d.states),
		States:      slices.Clone(d.states),
		Size:        e.content.Size(),
		Due:         d.due,
		Warned:      d.warned,
		Interrupted: d.interrupted,
	}
}

// round is one claim on its way. It takes destinations and deliveries out of the
// queue's heaps while it chooses; end puts back what it did not lease.
type round struct {
	q       *Queue
	now     time.Time
	want    queue.ClaimOptions
	found   queue.Claimed
	more    bool // something due was left out because of a bound
	except  map[string]bool
	perDest map[*destination]int
	perUser map[string]int

	named   sorted[*destination] // the destinations asked for, where any are
	aside   []*destination       // those that have nothing more to give
	skipped []*delivery          // due, and over a bound
}

func newRound(q *Queue, now time.Time, want queue.ClaimOptions) *round {
	r := &round{
		q: q, now: now, want: want,
		perDest: make(map[*destination]int),
		perUser: make(map[string]int),
	}
	r.except = make(map[string]bool, len(want.Except))
	for _, name := range want.Except {
		r.except[name] = true
	}
	r.named.before = q.active.before
	for _, name := range want.Destinations {
		if d := q.destinations[name]; d != nil && d.in == &q.active {
			q.active.remove(d)
			r.named.add(d)
			d.in = &r.named
		}
	}
	return r
}

// from is the heap of the destinations to choose from.
func (r *round) from() *sorted[*destination] {
	if len(r.want.Destinations) > 0 {
		return &r.named
	}
	return &r.q.active
}

// pick takes the next delivery in order out of its heap; nil where there is none.
func (r *round) pick() *delivery {
	for from := r.from(); !from.empty(); {
		dest := from.first()
		d := dest.ready.first()
		user := d.entry.message.Tenant
		switch {
		case r.except[dest.name]:
			r.putAside(dest)
		case d.wake().After(r.now): // the clock went back
			r.take(dest, d)
			r.q.place(d)
		case full(r.perDest[dest], r.want.PerDestination):
			r.more = true
			r.putAside(dest)
		case full(r.perUser[user], r.want.PerTenant):
			r.more = true
			r.take(dest, d)
			r.skipped = append(r.skipped, d)
		default:
			r.perDest[dest]++
			r.perUser[user]++
			r.take(dest, d)
			return d
		}
	}
	return nil
}

func full(n, most int) bool { return most > 0 && n >= most }

// take takes a delivery out of its destination's heap, and the destination out
// of the round with its last.
func (r *round) take(dest *destination, d *delivery) {
	from := dest.in
	from.remove(dest)
	dest.ready.remove(d)
	d.in = nil
	if dest.ready.empty() {
		dest.in = nil
		return
	}
	from.add(dest)
}

func (r *round) putAside(dest *destination) {
	dest.in.remove(dest)
	dest.in = nil
	r.aside = append(r.aside, dest)
}

// end puts everything back and says when to come again.
func (r *round) end() {
	for !r.named.empty() {
		r.putAside(r.named.first())
	}
	for _, dest := range r.aside {
		r.q.rank(dest, func() {})
	}
	for _, d := range r.skipped {
		r.q.ready(d)
	}
	r.found.Next = r.q.next()
	if r.more {
		r.found.Next = r.now
	}
}
