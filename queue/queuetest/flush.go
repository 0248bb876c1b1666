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
		{ruleA5, "what is due keeps its place", needFlush, flushedWhileDue},
		{ruleA5, "what is leased is left to its settlement", needFlush, flushedWhileLeased},
		{ruleA5, "what is on hold stays so", needFlush | needHold, flushedWhileHeld},
		{ruleA5, "it lifts a postponement", needFlush | needPostpone, flushedWhilePostponed},
	}
}

func (r *run) flush(what queue.Selection) int {
	r.Helper()
	n, err := queue.Flush(r.ctx, r.q, r.now, what)
	r.check("Flush", err)
	return n
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
		if n := r.flush(c.what); n != c.want {
			r.Errorf("Flush of %s = %d, want %d", c.name, n, c.want)
		}
		got := r.due()
		if len(got) != c.want {
			r.Errorf("after Flush of %s Claim returned %s, want %d", c.name, describe(got), c.want)
		}
		for _, d := range got {
			if !d.Due.Equal(r.now) {
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
	if n := r.flush(queue.Selection{}); n != 2 {
		r.Errorf("Flush = %d, want 2, whether they were due already or not", n)
	}
	got := r.due()
	if len(got) != 2 || got[0].Lease.Message != first || got[1].Lease.Message != last || !got[0].Due.Equal(since) {
		r.Errorf("Claim returned %s, want %s, which was due before the flush, and %s", describe(got), first, last)
	}
}

func flushedWhileLeased(r *run) {
	r.put(r.message())
	d := r.one()
	if n := r.flush(queue.Selection{}); n != 0 {
		r.Errorf("Flush = %d, want 0: the only delivery is leased", n)
	}
	r.none("after a flush of what is leased")
	r.settle(deferred(d, r.now.Add(time.Hour)))
	r.none("after a settlement that came after the flush")
}

func flushedWhileHeld(r *run) {
	m := r.message()
	m.NotBefore = r.now.Add(time.Hour)
	id := r.put(m)
	r.hold(id)
	if n := r.flush(queue.Selection{}); n != 0 {
		r.Errorf("Flush = %d, want 0: the only message is on hold", n)
	}
	r.none("after a flush of what is on hold")
}

func flushedWhilePostponed(r *run) {
	for range 3 {
		r.put(r.message("a@one.example"))
	}
	r.put(r.message("a@two.example"))
	for _, name := range []string{"one.example", "two.example"} {
		r.check("Postpone", queue.Postpone(r.ctx, r.q, r.now, name, r.now.Add(time.Hour)))
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
