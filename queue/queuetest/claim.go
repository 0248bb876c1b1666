package queuetest

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func claimChecks() []check {
	return []check{
		{ruleC1, "a message is due from its not-before time on", 0, notBefore},
		{ruleC2, "the recipients of a message at one destination are one delivery", 0, grouped},
		{ruleC3, "longest due first, then the lower id", 0, order},
		{ruleC3, "the destinations of one message by name", needOrder, orderOfDestinations},
		{ruleC3, "a step of priority outweighs so much waiting and no more", 0, orderOfPriorities},
		{ruleC3, "no lane is passed over for ever", 0, everyLane},
		{ruleC6, "a claim does not wait for mail to become due", 0, nothingDue},
		{ruleC6, "a claim does not wait for a Put that reads", 0, claimWhileReading},
		{ruleC7, "a damaged message does not delay others", needDamage, damagedRecord},
	}
}

func notBefore(r *run) {
	m := r.message()
	m.NotBefore = r.now.Add(time.Minute)
	r.put(m)
	r.none("a minute before its time")
	r.advance(time.Minute - time.Millisecond)
	r.none("a millisecond before its time")
	r.advance(time.Millisecond)
	if d := r.one(); inMillis(d.Due) != inMillis(m.NotBefore) {
		r.Errorf("Due is %v, want the not-before time, %v", d.Due, m.NotBefore)
	}
}

func grouped(r *run) {
	m := r.message("a@one.example", "b@two.example", "c@ONE.example.", "d@one.example")
	r.put(m)
	want := map[string][]int{"one.example": {0, 2, 3}, "two.example": {1}}
	for _, d := range r.due() {
		indexes := want[d.Lease.Destination]
		delete(want, d.Lease.Destination)
		if len(d.States) != len(indexes) || len(d.Message.Recipients) != len(indexes) {
			r.Fatalf("delivery to %s has %d states and %d recipients, want %d",
				d.Lease.Destination, len(d.States), len(d.Message.Recipients), len(indexes))
		}
		for i, index := range indexes {
			if d.States[i] != (queue.State{Index: index}) {
				r.Errorf("the state of %s is %+v, want a fresh one of index %d", m.Recipients[index].Address, d.States[i], index)
			}
			if d.Message.Recipients[i] != m.Recipients[index] {
				r.Errorf("recipient %d is %+v, want %+v", i, d.Message.Recipients[i], m.Recipients[index])
			}
		}
	}
	if len(want) != 0 {
		r.Errorf("no delivery to %v", want)
	}
}

// order puts messages in an order of its own and claims them one by one in the
// order of the rule: of one destination, which is the order of every queue.
func order(r *run) {
	put := func(wait time.Duration) string {
		m := r.message()
		if wait > 0 {
			m.NotBefore = r.now.Add(wait)
		}
		return r.put(m)
	}
	late := put(2 * time.Minute)
	soon := put(time.Minute)
	first := put(0)
	second := put(0)
	r.advance(90 * time.Second)
	between := put(0)
	r.advance(30 * time.Second)
	last := put(0)
	r.wantOrder([]string{first, second, soon, between, late, last})
}

func orderOfPriorities(r *run) {
	put := func(priority int) string {
		m := r.message()
		m.Priority = priority
		return r.put(m)
	}
	lowest := put(-9)
	old := put(0)
	r.advance(queue.PriorityStep - time.Second)
	urgent := put(9)
	high := put(1)
	low := put(-1)
	r.advance(2 * time.Second)
	late := put(1)
	r.wantOrder([]string{urgent, high, old, late, low, lowest})
}

// everyLane keeps putting mail that comes before what was there first, and wants
// that to have its turn all the same, within the time that priorities are worth.
func everyLane(r *run) {
	low := r.message("a@slow.example")
	low.Priority = -9
	id := r.put(low)
	for range 20 {
		for range 10 {
			m := r.message("a@quick.example")
			m.Priority = 9
			r.put(m)
		}
		for _, d := range r.claim(queue.ClaimOptions{Max: 10}).Deliveries {
			if d.Lease.Message == id {
				return
			}
			r.settle(all(d, queue.Delivered))
		}
		r.advance(queue.PriorityStep)
	}
	r.Errorf("after %v of mail with a higher priority the lowest has not had its turn", 20*queue.PriorityStep)
}

// wantOrder claims with several bounds and gives everything back in between.
func (r *run) wantOrder(want []string) {
	r.Helper()
	for _, max := range []int{1, 3, len(want)} {
		var got []string
		var claimed []queue.Delivery
		for range (len(want) + max - 1) / max {
			ds := r.claim(queue.ClaimOptions{Max: max}).Deliveries
			claimed = append(claimed, ds...)
			for _, d := range ds {
				got = append(got, d.Lease.Message)
			}
		}
		if !slices.Equal(got, want) {
			r.Errorf("claims of %d returned the messages %q, want %q", max, got, want)
		}
		// A lease that ends changes nothing of a delivery's place.
		for _, d := range claimed {
			_, err := r.extend(d.Lease, 0)
			r.check("Extend", err)
		}
	}
}

func orderOfDestinations(r *run) {
	r.put(r.message("a@c.example", "a@a.example", "a@b.example"))
	r.put(r.message("a@a.example"))
	var got []string
	for _, d := range r.due() {
		got = append(got, d.Lease.Destination)
	}
	if want := []string{"a.example", "b.example", "c.example", "a.example"}; !slices.Equal(got, want) {
		r.Errorf("Claim returned deliveries to %q, want %q", got, want)
	}
}

func nothingDue(r *run) {
	r.none("in an empty queue")
	m := r.message()
	m.NotBefore = r.now.Add(time.Hour)
	r.put(m)
	r.none("an hour before anything is due")
	r.advance(time.Hour)
	r.one()
	r.none("with everything leased")
}

func claimWhileReading(r *run) {
	r.put(r.message())
	read, claimed := make(chan struct{}), make(chan struct{})
	reading := sync.OnceFunc(func() { close(read) })
	m := r.message()
	m.Content = &source{size: -1, open: func() (io.Reader, error) {
		reading()
		select {
		case <-claimed:
		case <-r.ctx.Done():
		}
		return strings.NewReader("late"), nil
	}}
	put := make(chan error, 1)
	go func() {
		_, err := r.q.Put(r.ctx, r.now, m)
		put <- err
	}()
	<-read
	got := make(chan []queue.Delivery, 1)
	ctx, cancel := context.WithTimeout(r.ctx, patience/6)
	defer cancel()
	go func() {
		c, _ := r.q.Claim(ctx, r.now, queue.ClaimOptions{})
		got <- c.Deliveries
	}()
	select {
	case ds := <-got:
		if len(ds) != 1 {
			r.Errorf("Claim beside a Put that reads returned %s, want one delivery", describe(ds))
		}
		close(claimed)
	case <-ctx.Done():
		r.Errorf("Claim waits for a Put that reads its content")
		close(claimed)
		<-got
	}
	r.check("Put", <-put)
	r.one()
}

// damagedRecord damages one message of three. Whether its envelope or its
// content is hit is not known, so it may come back in either way.
func damagedRecord(r *run) {
	before := r.message()
	bad := r.message()
	after := r.message()
	want := map[string]string{r.put(before): textOf(before)}
	damaged := r.put(bad)
	want[r.put(after)] = textOf(after)
	r.check("Damage", r.in.Damage(damaged))
	got := r.claim(queue.ClaimOptions{})
	if n := len(got.Deliveries) + len(got.Unreadable); n != 3 {
		r.Errorf("Claim returned %d deliveries and %d unreadable ones, want 3 together", len(got.Deliveries), len(got.Unreadable))
	}
	for _, d := range got.Deliveries {
		if d.Lease.Message == damaged {
			continue
		}
		if text := r.content(d.Lease.Message); text != want[d.Lease.Message] {
			r.Errorf("the content of a message beside the damaged one is %q, want %q", text, want[d.Lease.Message])
		}
		delete(want, d.Lease.Message)
	}
	if len(want) != 0 {
		r.Errorf("%d messages are missing beside the damaged one", len(want))
	}
	for _, u := range got.Unreadable {
		if u.Lease.Message != damaged || !errors.Is(u.Err, queue.ErrDamaged) {
			r.Errorf("Unreadable is %s because of %v, want %s because of ErrDamaged", u.Lease.Message, u.Err, damaged)
		}
	}
	again := r.claim(queue.ClaimOptions{})
	if n := len(again.Deliveries) + len(again.Unreadable); n != 0 {
		r.Errorf("the next claim returned %d more, want none: all are leased", n)
	}
}
