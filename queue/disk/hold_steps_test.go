package disk

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// countWatch counts how often the lock of a spool is taken and given up.
type countWatch struct {
	held  bool
	holds int
}

func (w *countWatch) locked() { w.held = true }

func (w *countWatch) unlocked() {
	if w.held {
		w.holds++
	}
	w.held = false
}

// TestLockIsGivenUpNowAndThen has functions go through more than is to be gone through
// while the lock is held once: they let others have their turn that often.
func TestLockIsGivenUpNowAndThen(t *testing.T) {
	const turns = 4
	const many = turns * holdMax
	ctx, now := context.Background(), time.Unix(1e9, 0)
	names := make([]string, many)
	for i := range names {
		names[i] = fmt.Sprintf("d%d.example", i)
	}
	frames := func(n int) (list []frame) {
		for range n {
			f := frame{}
			f.Kind = record.KindSaved
			list = append(list, f)
		}
		return list
	}
	wide := func(t *testing.T, s *Spool) (id string, number uint64) {
		m := &queue.Message{Content: queue.String("text")}
		for _, name := range names {
			m.Recipients = append(m.Recipients, queue.Recipient{Address: "a@" + name})
		}
		id, err := s.Put(ctx, now, m)
		must(t, err)
		number, _ = parseID(id)
		return id, number
	}
	leases := func(t *testing.T, s *Spool) (list []queue.Lease) {
		wide(t, s)
		c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 2 * many})
		must(t, err)
		for i := range c.Deliveries {
			list = append(list, c.Deliveries[i].Lease)
		}
		return list
	}
	discard := func(s *Spool) *tableWriter { return &tableWriter{s: s} }
	postponements := func(owner string, until time.Time) (list []queue.Postponement) {
		for _, name := range names {
			list = append(list, queue.Postponement{Destination: name, Owner: owner, Until: until})
		}
		return list
	}
	for what, prepare := range map[string]func(t *testing.T, s *Spool) func(){
		"segments in a checkpoint": func(t *testing.T, s *Spool) func() {
			for n := range uint64(many) {
				s.segments.add(newSegment(1000 + n))
			}
			return func() { s.beginCheckpoint(&record.Table{}) }
		},
		"ends in a segment in a checkpoint": func(t *testing.T, s *Spool) func() {
			for n := range uint64(turns + 2) {
				g := newSegment(1000 + n)
				for i := range uint64(holdMax - 1) {
					g.gone[i] = 1
				}
				s.segments.add(g)
			}
			return func() { s.beginCheckpoint(&record.Table{}) }
		},
		"what was moved to a segment in a checkpoint": func(t *testing.T, s *Spool) func() {
			for n := range uint64(turns + 2) {
				g := newSegment(1000 + n)
				for i := range uint64(holdMax - 1) {
					g.from[i] = true
				}
				s.segments.add(g)
			}
			return func() { s.beginCheckpoint(&record.Table{}) }
		},
		"ends of holds in a checkpoint": func(t *testing.T, s *Spool) func() {
			for n := range uint64(many) {
				s.holdEnds.Set(n, 1)
			}
			return func() { s.writeHolds(discard(s)) }
		},
		"keys in a checkpoint": func(t *testing.T, s *Spool) func() {
			for n := range many {
				s.keys.known[keyHash{byte(n), byte(n >> 8)}] = 1
			}
			return func() { s.writeKnown(discard(s)) }
		},
		"deliveries that a compaction reserves": func(t *testing.T, s *Spool) func() {
			_, number := wide(t, s)
			slots := s.slots(number)
			c := &compaction{s: s, g: s.current, ctx: ctx, slots: map[index.Slot]bool{}}
			return func() { must(t, c.acquire(slots)) }
		},
		"a batch of many": func(t *testing.T, s *Spool) func() {
			b := &batch{}
			for range many {
				b.tickets = append(b.tickets, &ticket{frames: frames(1), at: []uint32{0}, apply: func(*hold, *segment, []uint32) {}})
			}
			return func() {
				s.mu.Lock()
				s.apply(b, false, func() {})
				s.mu.Unlock()
			}
		},
		"a batch of one that many have joined": func(t *testing.T, s *Spool) func() {
			one := &ticket{frames: frames(1), apply: func(*hold, *segment, []uint32) {}}
			for range many {
				one.join(&ticket{frames: frames(1), apply: func(*hold, *segment, []uint32) {}})
			}
			one.at = make([]uint32, len(one.frames))
			return func() {
				s.mu.Lock()
				s.apply(&batch{tickets: []*ticket{one}}, false, func() {})
				s.mu.Unlock()
			}
		},
		"selections of a flush": func(t *testing.T, s *Spool) func() {
			list := make([]queue.Selection, many)
			for i, name := range names {
				list[i].Destination = name
			}
			return func() {
				_, err := s.selected(now, list)
				must(t, err)
			}
		},
		"postponements that a flush of a message ends": func(t *testing.T, s *Spool) func() {
			_, number := wide(t, s)
			must(t, s.Postpone(ctx, now, postponements("", now.Add(time.Hour))...))
			slots := holdsOf(s, func() { s.slots(number) })
			return func() {
				if list := s.toLift(&record.Flush{Message: number}); len(list) != many {
					t.Errorf("%d destinations are lifted, want %d", len(list), many)
				}
				s.mu.watch.(*countWatch).holds -= slots
			}
		},
		"the end of a hold": func(t *testing.T, s *Spool) func() {
			id, number := wide(t, s)
			must(t, s.HoldUntil(ctx, now, id, queue.Terms{Until: now.Add(time.Hour)}))
			slots := s.slots(number)
			return func() {
				s.endHold(number, index.Micros(now.Add(time.Hour)), slots)
				if s.holdEnds.Len() > 0 || s.isHeld(slots[many-1]) {
					t.Error("the hold is not over")
				}
			}
		},
		"postponements": func(t *testing.T, s *Spool) func() {
			return func() { must(t, s.postponeSome(now, postponements("me", now.Add(time.Hour)))) }
		},
		"leases that are extended": func(t *testing.T, s *Spool) func() {
			list := leases(t, s)
			return func() {
				extended, err := s.Extend(ctx, now, list, time.Hour)
				must(t, err)
				for i := range extended {
					must(t, extended[i].Err)
				}
			}
		},
		"leases whose deliveries are to be marked": func(t *testing.T, s *Spool) func() {
			list := leases(t, s)
			return func() { must(t, s.Mark(ctx, list)) }
		},
		"deliveries that have been marked": func(t *testing.T, s *Spool) func() {
			m := &marking{done: make(chan struct{})}
			for n := range index.Slot(many) {
				s.marking[n] = m
				m.slots = append(m.slots, n)
			}
			return func() {
				if s.marked(m); len(s.marking) > 0 {
					t.Errorf("%d deliveries are still being marked", len(s.marking))
				}
			}
		},
		"names that are being written about": func(t *testing.T, s *Spool) func() {
			tk := &ticket{}
			t.Cleanup(func() { must(t, s.wait(tk)) })
			return func() { s.pass(tk, names) }
		},
		"names that were written about": func(t *testing.T, s *Spool) func() {
			tk := &ticket{}
			s.pass(tk, names)
			must(t, s.wait(tk))
			return func() {
				must(t, s.passed(tk, names))
				if len(s.passing) > 0 {
					t.Errorf("%d names are still being written about", len(s.passing))
				}
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			_, s := openSmall(t)
			mustPut(t, s)
			do := prepare(t, s)
			if n := holdsOf(s, do); n < turns || n > 4*turns {
				t.Errorf("the lock is held %d times for %d things, want from %d to %d", n, many, turns, 4*turns)
			}
		})
	}
}

// holdsOf is how often the lock is taken meanwhile.
func holdsOf(s *Spool, do func()) int {
	w := &countWatch{}
	s.mu.watch = w
	do()
	s.mu.watch = nil
	return w.holds
}
