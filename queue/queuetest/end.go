package queuetest

import (
	"context"
	"errors"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func endChecks() []check {
	return []check{
		{ruleX1, "QUE-9 a clock that jumps back keeps no new mail", 0, clockBack},
		{ruleX1, "QUE-9 a clock that jumps ahead expires nothing", 0, clockAhead},
		{ruleX1, "a clock that jumps to and fro loses nothing", 0, clockToAndFro},
		{ruleX2, "a context that has ended", 0, contextEnded},
		{ruleX3, "a closed queue", needClose, closed},
		{ruleX3, "Close ends those who wait", needClose | needWait, closedWhileWaiting},
		{ruleX5, "a queue that has failed says so to everybody", needFail | needReopen, failedForGood},
	}
}

const tenDays = 10 * 24 * time.Hour

func clockBack(r *run) {
	r.put(r.message())
	waiting := r.message("a@waiting.example")
	waiting.NotBefore = r.now.Add(time.Hour)
	r.put(waiting)
	r.now = r.now.Add(-tenDays)
	r.put(r.message())
	got := r.claim(queue.ClaimOptions{Destinations: []string{"example.com"}, Lease: time.Minute}).Deliveries
	if len(got) != 2 {
		r.Fatalf("ten days earlier Claim returned %s, want the two messages that wait for no time", describe(got))
	}
	r.settle(all(got[0], queue.Delivered))
	r.settle(deferred(got[1], time.Time{}))
	got = r.claim(queue.ClaimOptions{Destinations: []string{"example.com"}}).Deliveries
	if len(got) != 1 || got[0].States[0].Attempts != 1 {
		r.Errorf("ten days earlier Claim returned %s, want the delivery put off to at once", describe(got))
	}
}

func clockAhead(r *run) {
	m := r.message()
	m.Expires = r.now.Add(5 * 24 * time.Hour)
	id := r.put(m)
	r.advance(tenDays)
	d := r.one()
	if inMillis(d.Message.Expires) != inMillis(m.Expires) {
		r.Errorf("Expires is %v, want %v", d.Message.Expires, m.Expires)
	}
	r.settle(deferred(d, time.Time{}))
	r.now = r.now.Add(-tenDays)
	if got := r.one(); got.Lease.Message != id || got.States[0].Attempts != 1 {
		r.Errorf("Claim returned %s, want %s once more", describe([]queue.Delivery{got}), id)
	}
}

func clockToAndFro(r *run) {
	start := r.now
	ids := make(map[string]bool)
	for i := range 24 {
		r.now = start.Add(time.Duration(i%5-2) * tenDays)
		m := r.message()
		if i%2 == 0 {
			m.NotBefore = r.now.Add(time.Minute)
		}
		ids[r.put(m)] = true
		for _, d := range r.claim(queue.ClaimOptions{Max: 2, Lease: time.Minute}).Deliveries {
			if d.States[0].Attempts < 2 {
				r.settle(deferred(d, r.now.Add(time.Minute)))
			}
		}
	}
	r.now = start.Add(3 * tenDays)
	if r.in.Advance != nil {
		r.in.Advance(3 * tenDays)
	}
	for _, d := range r.due() {
		delete(ids, d.Lease.Message)
	}
	if len(ids) != 0 {
		r.Errorf("%d messages were lost on the way", len(ids))
	}
}

func contextEnded(r *run) {
	r.put(r.message())
	d := r.one()
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	_, putErr := r.q.Put(ctx, r.now, r.message("late@late.example"))
	_, claimErr := r.q.Claim(ctx, r.now, queue.ClaimOptions{})
	_, extendErr := r.q.Extend(ctx, r.now, []queue.Lease{d.Lease}, time.Hour)
	markErr := r.q.Mark(ctx, []queue.Lease{d.Lease})
	_, settleErr := r.q.Settle(ctx, r.now, []queue.Settlement{all(d, queue.Delivered)})
	_, openErr := r.q.Open(ctx, d.Lease.Message)
	for what, err := range map[string]error{
		"Put": putErr, "Claim": claimErr, "Extend": extendErr, "Mark": markErr, "Settle": settleErr, "Open": openErr,
	} {
		if !errors.Is(err, context.Canceled) {
			r.Errorf("%s with a context that has ended = %v, want its error", what, err)
		}
	}
	r.none("after a Put with a context that had ended")
	r.settle(deferred(d, r.now))
	r.one()
}

func closed(r *run) {
	id := r.put(r.message())
	d := r.one()
	q := r.q
	for range 2 {
		r.check("Close", queue.Close(q))
	}
	for what, call := range r.calls(q, id, d) {
		if err := call(); !errors.Is(err, queue.ErrClosed) && !errors.Is(err, errors.ErrUnsupported) {
			r.Errorf("%s after Close = %v, want ErrClosed", what, err)
		}
	}
}

// calls are all that can be called on a queue.
func (r *run) calls(q queue.Queue, id string, d queue.Delivery) map[string]func() error {
	return map[string]func() error{
		"Put":   func() error { _, err := q.Put(r.ctx, r.now, r.message()); return err },
		"Claim": func() error { _, err := q.Claim(r.ctx, r.now, queue.ClaimOptions{}); return err },
		"Extend": func() error {
			_, err := q.Extend(r.ctx, r.now, []queue.Lease{d.Lease}, time.Hour)
			return err
		},
		"Mark": func() error { return q.Mark(r.ctx, []queue.Lease{d.Lease}) },
		"Settle": func() error {
			_, err := q.Settle(r.ctx, r.now, []queue.Settlement{all(d, queue.Delivered)})
			return err
		},
		"Open":    func() error { _, err := q.Open(r.ctx, id); return err },
		"List":    func() error { _, err := queue.List(r.ctx, q, queue.ListOptions{}); return err },
		"Show":    func() error { _, err := queue.Show(r.ctx, q, id); return err },
		"Hold":    func() error { return queue.Hold(r.ctx, q, id) },
		"Release": func() error { return queue.Release(r.ctx, q, id) },
		"Drop":    func() error { return queue.Drop(r.ctx, q, id) },
		"Flush":   func() error { _, err := queue.Flush(r.ctx, q, r.now, queue.Selection{}); return err },
		"Postpone": func() error {
			return queue.Postpone(r.ctx, q, r.now, queue.Postponement{Destination: "example.com", Until: r.now})
		},
		"Postpone of an owner": func() error {
			return queue.Postpone(r.ctx, q, r.now, queue.Postponement{Destination: "example.com", Until: r.now, Owner: "o"})
		},
		"Total":  func() error { _, err := queue.Total(r.ctx, q); return err },
		"Survey": func() error { _, err := queue.Survey(r.ctx, q, "", 0); return err },
		"Wait": func() error {
			ctx, cancel := context.WithTimeout(r.ctx, patience/30)
			defer cancel()
			return queue.Wait(ctx, q, 1<<63)
		},
	}
}

// failedForGood wants a queue that has failed to say so to everybody, and to hold after
// all what it had acknowledged.
func failedForGood(r *run) {
	id := r.put(r.message())
	r.put(r.message("a@other.example"))
	d := r.first(queue.ClaimOptions{Destinations: []string{"example.com"}})
	r.check("Fail", r.in.Fail())
	for what, call := range r.calls(r.q, id, d) {
		if err := call(); !errors.Is(err, queue.ErrFailed) && !errors.Is(err, errors.ErrUnsupported) {
			r.Errorf("%s after the queue has failed = %v, want ErrFailed", what, err)
		}
	}
	if err := queue.Close(r.q); err != nil && !errors.Is(err, queue.ErrFailed) {
		r.Errorf("Close after the queue has failed = %v, want nil or ErrFailed", err)
	}
	q, err := r.in.Reopen()
	r.check("opening again", err)
	r.q = q
	r.advance(queue.DefaultLease)
	acknowledged := queue.ClaimOptions{Destinations: []string{"example.com", "other.example"}}
	if got := r.everything(acknowledged).Deliveries; len(got) != 2 {
		r.Errorf("after the failure and a restart Claim returned %s, want the two that were put", describe(got))
	}
}
