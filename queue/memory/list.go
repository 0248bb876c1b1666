package memory

import (
	"context"
	"slices"

	"github.com/nexthop-mail/nexthop/queue"
)

// List returns a page of messages, oldest first.
func (q *Queue) List(ctx context.Context, want queue.ListOptions) (queue.Page, error) {
	if err := q.begin(ctx); err != nil {
		return queue.Page{}, err
	}
	defer q.mu.Unlock()
	most := want.Max
	if most <= 0 {
		most = queue.DefaultMax
	}
	var page queue.Page
	t := turns{q: q}
	for id, more := q.ids.after(want.After); more; id, more = q.ids.after(id) {
		if !t.next() {
			return queue.Page{}, queue.ErrClosed
		}
		e := q.entries[id]
		if e == nil {
			continue // it has left meanwhile
		}
		if want.Destination != "" && q.deliveries[pair{id, want.Destination}] == nil {
			continue
		}
		if len(page.Entries) == most {
			page.Next = page.Entries[most-1].Message.ID
			break
		}
		page.Entries = append(page.Entries, e.show())
	}
	return page, nil
}

// Show returns one message.
func (q *Queue) Show(ctx context.Context, id string) (queue.Entry, error) {
	if err := q.begin(ctx); err != nil {
		return queue.Entry{}, err
	}
	defer q.mu.Unlock()
	e, ok := q.entries[id]
	if !ok {
		return queue.Entry{}, queue.ErrNotFound
	}
	return e.show(), nil
}

// show returns the entry in the form of the list.
func (e *entry) show() queue.Entry {
	shown := queue.Entry{Size: e.content.Size(), Held: e.held, Hold: e.hold}
	for _, d := range e.deliveries {
		next := d.notBefore
		if d.destination.postponed.After(next) {
			next = d.destination.postponed
		}
		for _, s := range d.states {
			shown.Waiting = append(shown.Waiting, queue.Waiting{
				State: s, Destination: d.destination.name, Next: next, Leased: d.leased, Because: d.because,
				Postponed: d.destination.postponed, Reason: d.destination.reason,
			})
		}
	}
	slices.SortFunc(shown.Waiting, func(a, b queue.Waiting) int { return a.Index - b.Index })
	states := make([]queue.State, len(shown.Waiting))
	for i, w := range shown.Waiting {
		states[i] = w.State
	}
	shown.Message = e.copy(states)
	return shown
}
