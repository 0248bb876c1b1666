package disk

import (
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// results returns the recipients that stay pending after some results, and those that are
// over.
func results(before []record.Recipient, list []queue.Result, now time.Time) (left, over []record.Recipient, err error) {
	after := slices.Clone(before)
	named := make([]bool, len(after))
	for _, r := range list {
		at, pending := slices.BinarySearchFunc(after, r.Recipient,
			func(p record.Recipient, index int) int { return p.Index - index })
		if !pending || named[at] {
			return nil, nil, &queue.ResultError{Recipient: r.Recipient}
		}
		named[at] = true
		p := &after[at]
		p.Attempts++
		p.Outcome, p.Reply, p.Tried = r.Outcome, r.Reply.Bounded(), now
	}
	isOver := func(p record.Recipient) bool { return p.Outcome == queue.Delivered || p.Outcome == queue.Failed }
	for i := range after {
		if isOver(after[i]) {
			over = append(over, after[i])
		}
	}
	return slices.DeleteFunc(after, isOver), over, nil
}

// outcome makes the ticket of a settlement: what stays of the delivery, or its
// end. The lock is held.
func (s *Spool) outcome(slot index.Slot, d *record.Delivery, left leftKey) *ticket {
	if len(d.Recipients) == 0 {
		t := newTicket()
		t.frames = append(t.frames, s.goneFrame(slot, left))
		t.apply = func(_ *hold, g *segment, _ []uint32) { s.gone(g, slot, left) }
		return t
	}
	t := s.rewrite(slot, d, true)
	t.changes = true
	stay := t.apply
	t.apply = func(h *hold, g *segment, at []uint32) {
		stay(h, g, at)
		s.index.Unlease(slot)
	}
	return t
}

func (s *Spool) goneFrame(slot index.Slot, left leftKey) frame {
	e := s.index.Get(slot)
	r := record.Gone{
		ID: e.Message, Destination: e.Destination, Home: s.segments.list[e.Home].number, Key: left.key, Left: left.at,
	}
	f := frame{}
	f.Kind, f.Head = record.KindGone, r.Append(make([]byte, 0, 64))
	return f
}

// gone takes a delivery out of the index that the segment says is gone, and
// remembers the key of its message where that leaves with it.
func (s *Spool) gone(g *segment, slot index.Slot, left leftKey) {
	e := s.index.Get(slot)
	g.keepGone(s.segments.list[e.Home].number)
	s.sinceMaintenance += index.MessageBytes(e.Size, e.Flags)
	s.ends++
	if !s.index.Remove(slot) {
		return
	}
	if e.Flags&index.InFile != 0 {
		s.deadContents = append(s.deadContents, e.Message)
	}
	s.holdEnds.Delete(e.Message)
	s.keys.leave(left, e.Message)
}

// keepGone counts the end of a delivery whose message's record is in a segment. If that
// is g itself, both are deleted together.
func (g *segment) keepGone(home uint64) {
	g.cost += index.SmallCost
	if home != g.number {
		g.gone[home]++
	}
}
