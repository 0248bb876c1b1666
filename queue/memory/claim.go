package memory

import (
	"context"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Claim leases deliveries that are due.
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
			r.more, r.last = true, d
			break
		}
		r.found.Deliveries = append(r.found.Deliveries, q.lease(d, now, r.want.Lease))
	}
	r.end()
	r.found.Seen = seen
	if len(want.Limits) > 0 {
		r.found.Limits = q.shares.Answer(now, want.Limits)
	}
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

// round is a claim in progress. It takes destinations and deliveries out of the queue's
// heaps while it chooses; end puts back those that it did not lease.
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
	aside   []*destination       // those with nothing more to give
	skipped []*lane              // those with nothing that may be taken
	last    *delivery            // the one that was too many
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

// best returns the destination whose first delivery comes next in order, or nil if
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

// pick removes and returns the next delivery in order, or nil if there is none.
func (r *round) pick() *delivery {
	for dest := r.best(); dest != nil; dest = r.best() {
		l := dest.ready.first()
		d, user := l.ready.first(), l.tenant
		switch {
		case r.except[dest.name]:
			r.putAside(dest)
		case d.wake().After(r.now): // the clock went back
			r.take(dest, d)
			r.q.place(d)
		case r.tenants[user]:
			r.skip(l)
		case full(r.perDest[dest], r.want.PerDestination):
			r.more = true
			r.putAside(dest)
		case full(r.perUser[user], r.want.PerTenant):
			r.more = true
			r.skip(l)
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

// take takes the first delivery of a destination out of its heap, and the destination
// out of the round with its last.
func (r *round) take(dest *destination, d *delivery) {
	l := d.lane
	if l.ready.Len() == 1 && dest.ready.Len() == 1 {
		dest.in.remove(dest)
		dest.in = nil
		dest.remove(d)
		return
	}
	if l.ready.Len() == 1 {
		dest.remove(d)
	} else {
		l.ready.remove(d)
		d.lane, d.in = nil, nil
		dest.ready.fix(l)
	}
	dest.in.fix(dest)
}

// skip takes a lane out of its destination, and that out of the round with its last.
func (r *round) skip(l *lane) {
	dest := l.destination
	r.skipped = append(r.skipped, l)
	if dest.ready.Len() == 1 {
		dest.in.remove(dest)
		dest.in = nil
		dest.ready.remove(l)
		return
	}
	dest.ready.remove(l)
	dest.in.fix(dest)
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
	for _, l := range r.skipped {
		r.q.rank(l.destination, func() { l.destination.ready.add(l) })
	}
	for _, dest := range r.aside {
		r.q.rank(dest, func() {})
	}
	if r.last != nil {
		r.q.ready(r.last)
	}
	r.found.Next = r.q.next(r.want.Owner)
	if r.more {
		r.found.Next = r.now
	}
}
