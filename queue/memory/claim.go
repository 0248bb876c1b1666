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
	seen := q.changes.Count()
	if !q.wakeUp(&turns{q: q}, now) {
		return queue.Claimed{}, queue.ErrClosed
	}
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
	r.found.Seen = seen
	return r.found, nil
}

// lease hands a delivery out.
func (q *Queue) lease(d *delivery, now time.Time, length time.Duration) queue.Delivery {
	e := d.entry
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
		Interrupted: d.marked,
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
	tenants map[string]bool // left out
	perDest map[*destination]int
	perUser map[string]int

	bit     owners               // of who claims
	named   sorted[*destination] // the destinations asked for, where any are
	aside   []*destination       // those that have nothing more to give
	skipped []*delivery          // due, and over a bound
}

func newRound(q *Queue, now time.Time, want queue.ClaimOptions) *round {
	r := &round{
		q: q, now: now, want: want,
		perDest: make(map[*destination]int),
		perUser: make(map[string]int),
		bit:     q.parking.bit(want.Owner),
	}
	r.except = make(map[string]bool, len(want.Except))
	for _, name := range want.Except {
		r.except[name] = true
	}
	r.tenants = make(map[string]bool, len(want.ExceptTenants))
	for _, name := range want.ExceptTenants {
		r.tenants[name] = true
	}
	r.named.before = firstBefore
	for _, name := range want.Destinations {
		d := q.destinations[name]
		if d == nil || d.in == &r.named || d.parkedBy&r.bit != 0 {
			continue
		}
		if d.in != nil && d.in != &q.asleep {
			d.in.remove(d)
			r.named.add(d)
			d.in = &r.named
		}
	}
	return r
}

// best is the destination whose first delivery comes next in order, nil where
// nothing is due.
func (r *round) best() *destination {
	if len(r.want.Destinations) > 0 {
		if r.named.empty() {
			return nil
		}
		return r.named.first()
	}
	var best *destination
	for by, from := range r.q.active {
		if by != 0 && from.empty() { // there may be as many as there are sets of owners
			delete(r.q.active, by)
			continue
		}
		if by&r.bit == 0 && !from.empty() && (best == nil || firstBefore(from.first(), best)) {
			best = from.first()
		}
	}
	return best
}

// pick takes the next delivery in order out of its heap; nil where there is none.
func (r *round) pick() *delivery {
	for dest := r.best(); dest != nil; dest = r.best() {
		d := dest.ready.first()
		user := d.entry.message.Tenant
		switch {
		case r.except[dest.name]:
			r.putAside(dest)
		case d.wake().After(r.now): // the clock went back
			r.take(dest, d)
			r.q.place(d)
		case r.tenants[user]:
			r.take(dest, d)
			r.skipped = append(r.skipped, d)
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
	r.found.Next = r.q.next(r.want.Owner)
	if r.more {
		r.found.Next = r.now
	}
}
