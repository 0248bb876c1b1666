package queuetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func flushChecks() []check {
	return []check{
		{ruleA5, "all, a destination, a message, or a message's destination", needFlush, flushed},
		{ruleA5, "several selections at once", needFlush, flushedTogether},
		{ruleA5, "what is due keeps its place", needFlush, flushedWhileDue},
		{ruleA5, "what is leased is left to its settlement", needFlush, flushedWhileLeased},
		{ruleA5, "what was taken before it was due, when its lease has ended", needFlush | needTake, flushedAfterTake},
		{ruleA5, "what was claimed, when its lease has ended", needFlush, flushedAfterLease},
		{ruleA5, "what is on hold stays so", needFlush | needHold, flushedWhileHeld},
		{ruleA5, "it lifts a postponement", needFlush | needPostpone, flushedWhilePostponed},
		{ruleA5, "all, where destinations are known that nothing waits for", needFlush | needPostpone, flushedBesideNothing},
	}
}

func (r *run) flush(what ...queue.Selection) int {
	r.Helper()
	n, err := queue.Flush(r.ctx, r.q, r.now, what...)
	r.check("Flush", err)
	return n
}

// wantFlush flushes and compares the number; a shared queue need not know it.
func (r *run) wantFlush(want int, what ...queue.Selection) {
	r.Helper()
	if n := r.flush(what...); n != want && (n != -1 || !r.shared) {
		r.Errorf("Flush of %+v = %d, want %d", what, n, want)
	}
}

func flushedTogether(r *run) {
	var ids []string
	for i := range 4 {
		m := r.message(fmt.Sprintf("a@d%d.example", i%2), "b@both.example")
		m.NotBefore = r.now.Add(time.Hour)
		ids = append(ids, r.put(m))
	}
	_, err := queue.Flush(r.ctx, r.q, r.now, queue.Selection{Message: ids[0]}, queue.Selection{Message: "nosuchmessage"})
	if !errors.Is(err, queue.ErrNotFound) {
		r.Errorf("Flush of a message and of one that is not there = %v, want ErrNotFound", err)
	}
	r.wantFlush(0)
	r.none("after a Flush of nothing, and one that failed")
	r.wantFlush(4, queue.Selection{Message: ids[0]}, queue.Selection{Destination: "d0.example"},
		queue.Selection{Message: ids[1], Destination: "both.example"}, queue.Selection{Message: ids[0], Destination: "both.example"})
	if got := of(r.due(), destinationOf); got["d0.example"] != 2 || got["both.example"] != 2 || len(got) != 2 {
		r.Errorf("Claim returned %v, want two of d0.example and two of both.example", got)
	}
}

func flushed(r *run) {
	var ids []string
	for i := range 4 {
		m := r.message(fmt.Sprintf("a@d%d.example", i%2), "b@both.example")
		m.NotBefore = r.now.Add(time.Hour)
		ids = append(ids, r.put(m))
	}
	r.advance(time.Minute)
	for _, c := range []struct {
		name string
		what queue.Selection
		want int
	}{
		{"a destination nothing waits for", queue.Selection{Destination: "none.example"}, 0},
		{"a message's destination", queue.Selection{Message: ids[0], Destination: "both.example"}, 1},
		{"a destination that is not the message's", queue.Selection{Message: ids[1], Destination: "d0.example"}, 0},
		{"a message", queue.Selection{Message: ids[1]}, 2},
		{"a destination", queue.Selection{Destination: "d0.example"}, 2},
		{"everything", queue.Selection{}, 3},
	} {
		r.wantFlush(c.want, c.what)
		got := r.due()
		if len(got) != c.want {
			r.Errorf("after Flush of %s Claim returned %s, want %d", c.name, describe(got), c.want)
		}
		for _, d := range got {
			if !r.same(d.Due, r.now) {
				r.Errorf("Due is %v after a flush, want its time, %v", d.Due, r.now)
			}
		}
	}
	if _, err := queue.Flush(r.ctx, r.q, r.now, queue.Selection{Message: "nosuchmessage"}); !errors.Is(err, queue.ErrNotFound) {
		r.Errorf("Flush of a message that is not there = %v, want ErrNotFound", err)
	}
}

func flushedWhileDue(r *run) {
	later := r.message()
	later.NotBefore = r.now.Add(time.Hour)
	last := r.put(later)
	first := r.put(r.message())
	since := r.now
	r.advance(time.Minute)
	r.wantFlush(2, queue.Selection{}) // whether they were due already or not
	got := r.due()
	if len(got) != 2 || got[0].Lease.Message != first || got[1].Lease.Message != last || !r.same(got[0].Due, since) {
		r.Errorf("Claim returned %s, want %s, which was due before the flush, and %s", describe(got), first, last)
	}
}

func flushedWhileLeased(r *run) {
	r.put(r.message())
	d := r.one()
	r.wantFlush(0, queue.Selection{}) // the only delivery is leased
	r.none("after a flush of what is leased")
	r.settle(deferred(d, r.now.Add(time.Hour)))
	r.none("after a settlement that came after the flush")
}

// flushedAfterTake flushes what a process took early that died, or forgot about it: a
// lease that has ended keeps mail from nobody. Its holder may still settle.
func flushedAfterTake(r *run) {
	m := r.message("a@one.example")
	m.NotBefore = r.now.Add(100 * time.Hour)
	id := r.put(m)
	for _, what := range []queue.Selection{{}, {Destination: "one.example"}, {Message: id}, {Message: id, Destination: "one.example"}} {
		d := r.wantTaken(id, 1, 0)[0]
		d.Lease, _ = r.extend(d.Lease, time.Minute)
		r.wantFlush(0, what)
		r.advance(time.Minute)
		r.none("of what was flushed while it was taken, and is not due")
		r.wantFlush(1, what)
		again := r.one()
		if !r.same(again.Due, r.now) {
			r.Errorf("Due is %v after a flush, want its time, %v", again.Due, r.now)
		}
		r.settle(deferred(again, m.NotBefore))

		d = r.wantTaken(id, 1, 0)[0]
		d.Lease, _ = r.extend(d.Lease, time.Minute)
		r.advance(time.Minute)
		r.wantFlush(1, what)
		r.settle(deferred(d, m.NotBefore))
		r.none("of what was settled after a flush, under a lease that had ended")
	}
}

// flushedAfterLease flushes what is due again because its lease has ended. It keeps its
// place.
func flushedAfterLease(r *run) {
	id := r.put(r.message())
	since := r.now
	r.first(queue.ClaimOptions{Lease: time.Minute})
	r.advance(time.Minute)
	later := r.message()
	later.NotBefore = r.now.Add(time.Hour)
	r.put(later)
	r.wantFlush(2, queue.Selection{})
	if got := r.due(); len(got) != 2 || got[0].Lease.Message != id || !r.same(got[0].Due, since) {
		r.Errorf("Claim returned %s, want %s first, due since %v", describe(got), id, since)
	}
}

func flushedWhileHeld(r *run) {
	m := r.message()
	m.NotBefore = r.now.Add(time.Hour)
	id := r.put(m)
	r.hold(id)
	r.wantFlush(0, queue.Selection{}) // the only message is on hold
	r.none("after a flush of what is on hold")
}

func flushedWhilePostponed(r *run) {
	for range 3 {
		r.put(r.message("a@one.example"))
	}
	r.put(r.message("a@two.example"))
	for _, name := range []string{"one.example", "two.example"} {
		r.postpone(name, r.now.Add(time.Hour))
	}
	r.flush(queue.Selection{Destination: "one.example"})
	if got := of(r.due(), destinationOf); got["one.example"] != 3 || len(got) != 1 {
		r.Errorf("after Flush of one.example Claim returned %v, want 3 of it", got)
	}
	r.flush(queue.Selection{})
	if got := of(r.due(), destinationOf); got["two.example"] != 1 || len(got) != 1 {
		r.Errorf("after Flush of everything Claim returned %v, want 1 of two.example", got)
	}
	for _, what := range []queue.Selection{{Destination: "three.example"}, {}} {
		r.postpone("three.example", r.now.Add(time.Hour))
		r.flush(what)
		r.put(r.message("a@three.example"))
		r.one()
	}
}

// flushedBesideNothing flushes all where a destination was postponed, or lifted
// though it was not, to which no mail has come yet or any more.
func flushedBesideNothing(r *run) {
	r.postpone("never.example", time.Time{})
	r.wantFlush(0, queue.Selection{})
	for _, to := range []string{"a@one.example", "a@two.example"} {
		m := r.message(to)
		m.NotBefore = r.now.Add(time.Hour)
		r.put(m)
	}
	r.postpone("never.example", r.now.Add(time.Hour))
	r.postpone("never.example", time.Time{})
	r.wantFlush(2, queue.Selection{})
	for _, d := range r.some(2) {
		r.settle(all(d, queue.Delivered))
	}
	r.wantFlush(0, queue.Selection{})
}
