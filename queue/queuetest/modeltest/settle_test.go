package modeltest

import (
	"errors"
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"github.com/nexthop-mail/nexthop/queue"
)

// bounce is a message a settlement creates.
type bounce struct {
	queue.Message
	content string
}

// settlement draws a settlement of a lease, seldom one that makes no sense.
func (m *machine) settlement(t *rapid.T) (queue.Settlement, []bounce) {
	l := m.lease(t)
	s := queue.Settlement{
		Lease:     l,
		NotBefore: m.later(t),
		Warned:    rapid.IntRange(0, 3).Draw(t, "warned") == 0,
	}
	var indexes []int
	if d := m.holds(l); d != nil {
		for _, state := range d.states {
			indexes = append(indexes, state.Index)
		}
	}
	if len(indexes) == 0 || rapid.IntRange(0, 9).Draw(t, "senseless") == 0 {
		indexes = append(indexes, rapid.IntRange(-1, 5).Draw(t, "index"))
	}
	outcome := rapid.SampledFrom([]queue.Outcome{queue.Deferred, queue.Deferred, queue.Delivered, queue.Failed, queue.Unknown})
	for _, i := range indexes {
		if rapid.IntRange(0, 4).Draw(t, "result") == 0 {
			continue
		}
		s.Results = append(s.Results, queue.Result{
			Recipient: i, Outcome: outcome.Draw(t, "outcome"),
			Reply: queue.Reply{Host: "mx.test", Code: 450 + i, Text: fmt.Sprint("text ", m.count)},
		})
	}
	var bounces []bounce
	for range rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "bounces") {
		msg, content := m.draw(t)
		bounces = append(bounces, bounce{msg, content})
		s.Create = append(s.Create, &msg)
	}
	return s, bounces
}

// Settle settles a batch.
func (m *machine) Settle(t *rapid.T) {
	var batch []queue.Settlement
	var bounces [][]bounce
	for range rapid.IntRange(1, 4).Draw(t, "batch") {
		s, b := m.settlement(t)
		batch, bounces = append(batch, s), append(bounces, b)
	}
	got, err := m.q.Settle(ctx(), m.now, batch)
	if err != nil || len(got) != len(batch) {
		t.Fatalf("Settle = %d results, %v, want %d", len(got), err, len(batch))
	}
	for i, s := range batch {
		m.settled(t, s, bounces[i], got[i])
	}
}

// settled compares what became of one settlement.
func (m *machine) settled(t *rapid.T, s queue.Settlement, bounces []bounce, got queue.Settled) {
	d := m.holds(s.Lease)
	switch {
	case d == nil:
		if !errors.Is(got.Err, queue.ErrLeaseLost) || len(got.Created) > 0 {
			t.Fatalf("Settle of a lost lease = %+v", got)
		}
	case !d.sensible(s.Results):
		if !errors.As(got.Err, new(*queue.ResultError)) || len(got.Created) > 0 {
			t.Fatalf("Settle of the results %+v where %+v are pending = %+v", s.Results, d.states, got)
		}
	case got.Err != nil || len(got.Created) != len(bounces):
		t.Fatalf("Settle = %+v, want %d created", got, len(bounces))
	default:
		for i, b := range bounces {
			m.created(t, b, got.Created[i])
		}
		m.settle(d, s)
	}
}

// created records a message that a settlement created.
func (m *machine) created(t *rapid.T, b bounce, id string) {
	if known := m.known(b.Tenant, b.Key); known != nil {
		if id != known.ID {
			t.Fatalf("a message with the key of %s was created as %s", known.ID, id)
		}
		return
	}
	if m.keyed[id] && slices.IndexFunc(m.messages, func(e *message) bool { return e.ID == id }) < 0 {
		return // a key of a message that has left, still remembered
	}
	m.enter(t, id, b.Message, b.content)
}
