package memory

import "time"

// destination is the deliveries to one domain.
type destination struct {
	name      string
	postponed time.Time // for all claimers; zero if it is not
	reason    string
	parkedBy  owners

	all   *delivery // a list of its deliveries, wherever they are
	walks *walk     // through that list
	count int       // how many those are
	bytes int64     // the content of their messages

	ready sorted[*lane]    // those with something that is due, by the first of it
	home  lane             // one of them
	lanes map[string]*lane // the others, by tenant

	in *sorted[*destination] // the heap it is in: active, asleep or none
	at int
}

func (d *destination) place() *int { return &d.at }
func (d *delivery) place() *int    { return &d.at }
func (e *entry) place() *int       { return &e.at }

// walk goes through the deliveries of a destination, whatever comes or goes between one
// and the next: each that is there all the time is found once.
type walk struct {
	through *destination
	at      *delivery // the next; nil at the end
	other   *walk     // through the same destination
}

// walk begins at the first. It is followed by end.
func (d *destination) walk() *walk {
	w := &walk{through: d, at: d.all, other: d.walks}
	d.walks = w
	return w
}

func (w *walk) next() *delivery {
	d := w.at
	if d != nil {
		w.at = d.next
	}
	return d
}

func (w *walk) end() {
	at := &w.through.walks
	for *at != w {
		at = &(*at).other
	}
	*at = w.other
}

// link adds a delivery to the list of its destination, and unlink takes it out.
func (d *destination) link(one *delivery) {
	if one.next = d.all; one.next != nil {
		one.next.previous = one
	}
	d.all = one
}

func (d *destination) unlink(one *delivery) {
	for w := d.walks; w != nil; w = w.other {
		if w.at == one {
			w.at = one.next
		}
	}
	if one.previous == nil {
		d.all = one.next
	} else {
		one.previous.next = one.next
	}
	if one.next != nil {
		one.next.previous = one.previous
	}
	one.previous, one.next = nil, nil
}

// newOrder sets up the heaps of an empty queue.
func (q *Queue) newOrder() {
	q.waiting.before = func(a, b *delivery) bool { return a.wake().Before(b.wake()) }
	q.active = make(map[owners]*activeHeap)
	q.holds.before = func(a, b *entry) bool { return a.hold.Until.Before(b.hold.Until) }
	q.asleep.before = func(a, b *destination) bool { return a.postponed.Before(b.postponed) }
}

// activeOf is the heap of the destinations with something due that some owners, and
// no others, have postponed for themselves.
func (q *Queue) activeOf(by owners) *activeHeap {
	h := q.active[by]
	if h == nil {
		h = &activeHeap{before: firstBefore}
		q.active[by] = h
	}
	return h
}

func firstBefore(a, b *destination) bool { return laneBefore(a.ready.first(), b.ready.first()) }

// destination returns the destination of that name, and makes it if it is new.
func (q *Queue) destination(name string) *destination {
	d, ok := q.destinations[name]
	if !ok {
		d = &destination{name: name}
		d.ready.before = laneBefore
		d.home.destination = d
		d.home.ready.before = (*delivery).before
		q.destinations[name] = d
	}
	return d
}

// place puts a delivery where it belongs: among those that are due if it is due
// whatever the time, among those that wait for a time, or nowhere while its
// message is on hold.
func (q *Queue) place(d *delivery) {
	switch {
	case d.entry.held:
	case d.wake().IsZero():
		q.ready(d)
	default:
		d.in = &q.waiting
		d.in.add(d)
	}
}

// ready adds a delivery to the due ones of its destination.
func (q *Queue) ready(d *delivery) {
	q.rank(d.destination, func() { d.destination.add(d) })
}

// displace takes a delivery out of whatever heap it lies in.
func (q *Queue) displace(d *delivery) {
	switch d.in {
	case nil:
	case &q.waiting:
		d.in = nil
		q.waiting.remove(d)
	default:
		q.rank(d.destination, func() { d.destination.remove(d) })
	}
}

// rank changes a destination and then puts it where it belongs: asleep while it is
// postponed, active while it has due deliveries, otherwise in no heap; and out of the
// queue when it has no deliveries.
func (q *Queue) rank(d *destination, change func()) {
	if d.in != nil {
		d.in.remove(d)
		d.in = nil
	}
	change()
	switch {
	case !d.postponed.IsZero():
		d.in = &q.asleep
	case !d.ready.empty():
		d.in = q.activeOf(d.parkedBy)
	case d.count == 0 && d.parkedBy == 0:
		delete(q.destinations, d.name)
		return
	default:
		return
	}
	d.in.add(d)
}

// wakeUp moves what has become due to where claims look, unless the queue is closed
// meanwhile.
func (q *Queue) wakeUp(t *turns, now time.Time) (open bool) {
	open = q.endHolds(t, now)
	for open && !q.waiting.empty() && !q.waiting.first().wake().After(now) {
		d := q.waiting.first()
		q.displace(d)
		q.ready(d)
		open = t.next()
	}
	for open && !q.asleep.empty() && !q.asleep.first().postponed.After(now) {
		d := q.asleep.first()
		q.rank(d, func() { d.postponed, d.reason = time.Time{}, "" })
		open = t.next()
	}
	return open && q.unpark(t, now)
}

// next is the earliest time at which wakeUp may find something for an owner; zero
// is never.
func (q *Queue) next(owner string) time.Time {
	var next time.Time
	if len(q.deliveries) == 0 {
		return next
	}
	if !q.waiting.empty() {
		next = q.waiting.first().wake()
	}
	if !q.asleep.empty() {
		if t := q.asleep.first().postponed; next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if !q.holds.empty() {
		if t := q.holds.first().hold.Until; next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if t := q.parking.next(owner); !t.IsZero() && (next.IsZero() || t.Before(next)) {
		next = t
	}
	return next
}
