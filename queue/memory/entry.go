package memory

import (
	"maps"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// entry is one message.
type entry struct {
	message queue.Message // with all its recipients and without content
	content queue.Bytes
	held    bool
	hold    queue.Terms
	ends    bool // it stands among those whose holds end by themselves
	at      int

	deliveries []*delivery // as put; those that are finished have no states
	left       int         // those that are not done with
}

// delivery is the pending recipients of a message at one destination.
type delivery struct {
	entry       *entry
	destination *destination
	states      []queue.State // of the pending recipients, by Index
	due         time.Time     // since when it is due, or will be: its place in the order
	notBefore   time.Time     // zero is due at once
	warned      bool
	because     string // why it waits, as the last settlement says

	leased bool // claimed and not settled since
	marked bool // about to be sent, and not settled since
	token  uint64
	until  time.Time

	in   *sorted[*delivery] // the heap it is in: of a lane, waiting or none
	lane *lane              // where that is of one
	at   int

	previous, next *delivery // of the same destination
}

// wake is from when on the delivery may be claimed, as far as it is up to the
// delivery; zero is at once.
func (d *delivery) wake() time.Time {
	if d.leased && d.until.After(d.notBefore) {
		return d.until
	}
	return d.notBefore
}

// schedule makes the delivery due at a time, or at once where that is zero.
func (d *delivery) schedule(now, notBefore time.Time) {
	d.due, d.notBefore = notBefore, notBefore
	if notBefore.IsZero() {
		d.due = now
	}
}

// rank is since when the delivery counts as due, its priority included.
func (d *delivery) rank() time.Time {
	return d.due.Add(-time.Duration(d.entry.message.Priority) * queue.PriorityStep)
}

// before is the order of claims.
func (d *delivery) before(o *delivery) bool {
	if a, b := d.rank(), o.rank(); !a.Equal(b) {
		return a.Before(b)
	}
	if d.entry != o.entry {
		return d.entry.message.ID < o.entry.message.ID
	}
	return d.destination.name < o.destination.name
}

// add puts a message in the queue and returns its id.
func (q *Queue) add(now time.Time, f draft) string {
	now = now.Round(0)
	m := *f.message
	m.ID = q.nextID(now)
	m.Recipients = slices.Clone(m.Recipients)
	m.Metadata = maps.Clone(m.Metadata)
	m.Content = nil
	if m.Arrived.IsZero() {
		m.Arrived = now
	}
	e := &entry{message: m, content: f.content, left: len(f.parts)}
	q.entries[m.ID] = e
	q.ids.add(m.ID)
	q.most = max(q.most, len(q.entries))
	if m.Key != "" {
		q.keys[key{m.Tenant, m.Key}] = e
	}
	q.bytes += int64(len(f.content))
	for _, part := range f.parts {
		d := &delivery{entry: e, destination: q.destination(part.Destination)}
		for _, index := range part.Recipients {
			d.states = append(d.states, queue.State{Index: index})
		}
		d.schedule(now, m.NotBefore.Round(0))
		e.deliveries = append(e.deliveries, d)
		d.destination.link(d)
		d.destination.count++
		d.destination.bytes += int64(len(f.content))
		q.deliveries[pair{m.ID, part.Destination}] = d
		q.place(d)
	}
	q.changes.Add()
	return m.ID
}

// finish takes a delivery without pending recipients out of the queue, and its
// message with the last one. It reports whether that was so.
func (q *Queue) finish(d *delivery) (last bool) {
	e := d.entry
	d.states = nil
	q.displace(d)
	q.rank(d.destination, func() {
		d.destination.unlink(d)
		d.destination.count--
		d.destination.bytes -= int64(len(e.content))
	})
	delete(q.deliveries, pair{e.message.ID, d.destination.name})
	if e.left--; e.left > 0 {
		return false
	}
	q.forgetEnd(e)
	delete(q.entries, e.message.ID)
	q.ids.remove(e.message.ID)
	if e.message.Key != "" {
		delete(q.keys, key{e.message.Tenant, e.message.Key})
	}
	q.bytes -= int64(len(e.content))
	q.giveBack()
	return true
}

// giveBack releases memory when most messages have left, because maps keep the room of
// all entries they ever had. It takes time in proportion to the messages that have left
// since the last time.
func (q *Queue) giveBack() {
	if q.most < 10_000 || len(q.entries) > q.most/8 {
		return
	}
	q.most = len(q.entries)
	q.entries, q.keys = anew(q.entries), anew(q.keys)
	q.deliveries, q.destinations = anew(q.deliveries), anew(q.destinations)
	q.waiting.items = slices.Clip(slices.Clone(q.waiting.items))
}

// anew is a map with no more room than it needs.
func anew[K comparable, V any](m map[K]V) map[K]V {
	small := make(map[K]V, len(m))
	maps.Copy(small, m)
	return small
}

// copy is a copy of the entry's message with the recipients of some states.
func (e *entry) copy(states []queue.State) queue.Message {
	m := e.message
	m.Metadata = maps.Clone(m.Metadata)
	m.Recipients = make([]queue.Recipient, len(states))
	for i, s := range states {
		m.Recipients[i] = e.message.Recipients[s.Index]
	}
	return m
}
