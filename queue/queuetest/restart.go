package queuetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func restartChecks() []check {
	return []check{
		{ruleP3, "QUE-1 every field survives a restart", needReopen, everyFieldAfterReopen},
		{ruleX4, "states, times and holds survive a restart", needReopen, statesAfterReopen},
		{ruleX4, "what was settled does not come back after a restart", needReopen, settledAfterReopen},
		{ruleX4, "a postponement survives a restart", needReopen | needPostpone, postponedAfterReopen},
		{ruleX4, "the order survives a restart", needReopen, orderAfterReopen},
		{ruleP2, "QUE-2 what Put acknowledged survives a crash", needCrash, acknowledged},
		{ruleP2, "large contents survive a crash", needCrash, largeAfterCrash},
		{ruleP2, "crash after crash", needCrash, crashAfterCrash},
	}
}

func everyFieldAfterReopen(r *run) {
	m := full(r.now)
	id := r.put(m)
	r.reopen()
	r.compareAll(m, id)
	if text := r.content(id); text != textOf(m) {
		r.Errorf("the content is %q, want %q", text, textOf(m))
	}
}

func statesAfterReopen(r *run) {
	id := r.put(r.message("a@one.example", "b@one.example", "c@one.example"))
	reply := queue.Reply{Host: "mx", Addr: "192.0.2.1", Code: 451, Enhanced: "4.7.1", Text: "greylisted\nfor \xff"}
	next := r.now.Add(time.Hour)
	r.settle(queue.Settlement{Lease: r.one().Lease, NotBefore: next, Warned: true, Results: []queue.Result{
		{Recipient: 0, Outcome: queue.Unknown, Reply: reply}, {Recipient: 1, Outcome: queue.Delivered},
	}})
	tried := r.now
	_, holds := r.q.(queue.Holder)
	if holds {
		r.hold(id)
	}
	r.reopen()
	r.advance(time.Hour - time.Millisecond)
	r.none("a millisecond before the next attempt, after a restart")
	r.advance(time.Millisecond)
	if holds {
		r.none("on hold, after a restart")
		r.release(id)
	}
	d := r.one()
	want := []queue.State{{Index: 0, Attempts: 1, Outcome: queue.Unknown, Reply: reply, Tried: tried}, {Index: 2}}
	if !slices.EqualFunc(d.States, want, sameState) || !d.Warned || !r.same(d.Due, next) {
		r.Errorf("after a restart the delivery is %+v, want the states %+v, warned, due since %v", d, want, next)
	}
}

func settledAfterReopen(r *run) {
	keep := r.put(r.message("a@one.example", "b@two.example"))
	gone := r.put(r.message("a@three.example"))
	for _, d := range r.due() {
		if d.Lease.Destination != "two.example" {
			r.settle(all(d, queue.Delivered))
		}
	}
	r.reopen()
	r.wantGone(gone)
	r.advance(queue.DefaultLease)
	if d := r.one(); d.Lease.Message != keep || d.Lease.Destination != "two.example" {
		r.Errorf("after a restart Claim returned %s, want %s/two.example", describe([]queue.Delivery{d}), keep)
	}
}

func postponedAfterReopen(r *run) {
	r.put(r.message())
	until := r.now.Add(time.Hour)
	r.postpone("example.com", until)
	r.reopen()
	r.none("of a destination that was postponed before a restart")
	if r.can&needSurvey != 0 {
		if got := r.survey(); len(got) != 1 || inMillis(got[0].Postponed) != inMillis(until) || got[0].Reason != because(until) {
			r.Errorf("after a restart Survey = %+v, want it postponed until %v with its reason", got, until)
		}
	}
	r.advance(time.Hour)
	r.one()
}

func orderAfterReopen(r *run) {
	var want []string
	for i := range 30 {
		m := r.message()
		m.Priority = 9 - i/3
		want = append(want, r.put(m))
		r.advance(time.Second)
	}
	r.reopen()
	var got []string
	for _, d := range r.due() {
		got = append(got, d.Lease.Message)
	}
	if !slices.Equal(got, want) {
		r.Errorf("after a restart Claim returned %q, want %q", got, want)
	}
}

// wantContents claims everything and compares the contents.
func (r *run) wantContents(want map[string]string, when string) {
	r.Helper()
	got := r.due()
	if len(got) != len(want) {
		r.Errorf("%s: Claim returned %s, want %d", when, describe(got), len(want))
	}
	for _, d := range got {
		id := d.Lease.Message
		if text := r.content(id); text != want[id] {
			r.Errorf("%s: the content of %s has %d bytes, want the %d that were put", when, id, len(text), len(want[id]))
		}
	}
}

func acknowledged(r *run) {
	m := full(r.now)
	id := r.put(m)
	r.crash()
	r.compareAll(m, id)
	r.advance(queue.DefaultLease)
	want := make(map[string]string)
	for range 20 {
		m := r.message("a@other.test")
		want[r.put(m)] = textOf(m)
	}
	r.crash()
	got := r.claim(queue.ClaimOptions{Destinations: []string{"other.test"}}).Deliveries
	if len(got) != len(want) {
		r.Errorf("after a crash Claim returned %s, want %d", describe(got), len(want))
	}
	for _, d := range got {
		if text := r.content(d.Lease.Message); text != want[d.Lease.Message] {
			r.Errorf("after a crash the content of %s is %q, want %q", d.Lease.Message, text, want[d.Lease.Message])
		}
	}
}

func largeAfterCrash(r *run) {
	want := make(map[string]string)
	for _, size := range []int{100, 255 << 10, 257 << 10, 5 << 20} {
		text := strings.Repeat(fmt.Sprintf("%015d\n", size), size/16)
		m := r.message()
		m.Content = stream(int64(len(text)), text)
		want[r.put(m)] = text
	}
	r.crash()
	r.wantContents(want, "after a crash")
}

func crashAfterCrash(r *run) {
	want := make(map[string]string)
	for round := range 10 {
		m := r.message()
		want[r.put(m)] = textOf(m)
		r.crash()
		if round%3 == 2 {
			r.advance(queue.DefaultLease)
			r.wantContents(want, fmt.Sprintf("after %d crashes", round+1))
		}
	}
}
