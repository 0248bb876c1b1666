package queuetest

import (
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func settleChecks() []check {
	return []check{
		{ruleS1, "QUE-4 a delivered recipient is not tried again with the deferred", 0, perRecipient},
		{ruleS1, "a failed recipient is done with", 0, failed},
		{ruleS2, "a deferred recipient keeps its history", 0, history},
		{ruleS2, "a reply may say anything", 0, oddReplies},
		{ruleS3, "no result, no attempt", 0, uncharged},
		{ruleS3, "the sender stays warned", 0, warned},
		{ruleS4, "the next attempt is not before its time", 0, nextAttempt},
		{ruleS4, "at once where no time is given", 0, atOnce},
		{ruleS10, "a message leaves with its last recipient", 0, leaves},
	}
}

func perRecipient(r *run) {
	m := r.message("r1@example.com", "r2@example.com", "r3@example.com")
	r.put(m)
	d := r.one()
	r.settle(queue.Settlement{Lease: d.Lease, Results: []queue.Result{
		{Recipient: 2, Outcome: queue.Unknown},
		{Recipient: 0, Outcome: queue.Delivered},
		{Recipient: 1, Outcome: queue.Deferred},
	}})
	d = r.one()
	if want := m.Recipients[1:]; !slices.Equal(d.Message.Recipients, want) {
		r.Errorf("the next claim has the recipients %+v, want %+v", d.Message.Recipients, want)
	}
	if len(d.States) != 2 || d.States[0].Index != 1 || d.States[1].Index != 2 {
		r.Fatalf("the next claim has the states %+v, want those of index 1 and 2", d.States)
	}
	r.settle(queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Recipient: 2, Outcome: queue.Delivered}}})
	if d = r.one(); len(d.States) != 1 || d.States[0].Index != 1 || d.Message.Recipients[0] != m.Recipients[1] {
		r.Errorf("the last claim has %+v, want recipient 1 alone", d.Message.Recipients)
	}
}

func failed(r *run) {
	r.put(r.message("a@one.example", "b@one.example", "c@two.example"))
	for _, d := range r.due() {
		r.settle(all(d, queue.Failed))
	}
	r.none("after everybody failed")
}

func history(r *run) {
	id := r.put(r.message("a@one.example", "b@one.example"))
	want := []queue.State{{Index: 0}, {Index: 1}}
	for attempt := 1; attempt <= 3; attempt++ {
		r.advance(time.Hour)
		d := r.one()
		s := queue.Settlement{Lease: d.Lease}
		for i := range want {
			reply := queue.Reply{
				Host: "mx.one.example", Addr: "192.0.2.1:25",
				Code: 450 + attempt, Enhanced: "4.2.0", Text: strings.Repeat("again\n", attempt) + d.Message.Recipients[i].Address,
			}
			outcome := []queue.Outcome{queue.Deferred, queue.Unknown}[i]
			s.Results = append(s.Results, queue.Result{Recipient: i, Outcome: outcome, Reply: reply})
			want[i] = queue.State{Index: i, Attempts: attempt, Outcome: outcome, Reply: reply, Tried: r.now}
		}
		r.settle(s)
	}
	r.wantStates(id, want)
}

// wantStates claims the message and compares the states of its recipients.
func (r *run) wantStates(id string, want []queue.State) {
	r.Helper()
	var d queue.Delivery
	for _, d = range r.due() {
		if d.Lease.Message == id {
			break
		}
	}
	if len(d.States) != len(want) {
		r.Fatalf("Claim returned %d states, want %d", len(d.States), len(want))
	}
	for i, s := range d.States {
		if !sameState(s, want[i]) {
			r.Errorf("state %d is %+v, want %+v", i, s, want[i])
		}
	}
}

func sameState(a, b queue.State) bool {
	if inMillis(a.Tried) != inMillis(b.Tried) {
		return false
	}
	a.Tried = b.Tried
	return a == b
}

func oddReplies(r *run) {
	id := r.put(r.message())
	for _, reply := range []queue.Reply{
		{Text: "latin-1 \xe9\xff, NUL \x00, escape \x1b[2J and\r\n.\r\n"},
		{Host: strings.Repeat("h", 3*queue.MaxReplyText), Text: strings.Repeat("t", 3*queue.MaxReplyText)},
		{Code: -1, Enhanced: "what?"},
		{},
	} {
		d := r.one()
		s := queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Reply: reply}}}
		r.settle(s)
		want := d.States[0]
		want.Attempts++
		want.Reply, want.Tried = reply.Bounded(), r.now
		r.wantStates(id, []queue.State{want})
		r.advance(time.Hour)
	}
}

func uncharged(r *run) {
	r.put(r.message("a@one.example", "b@one.example"))
	d := r.one()
	r.settle(queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Recipient: 1, Reply: queue.Reply{Code: 450}}}})
	d = r.one()
	if d.States[0] != (queue.State{Index: 0}) || d.States[1].Attempts != 1 {
		r.Errorf("the states are %+v, want no attempt for the first and one for the second", d.States)
	}
	before := d.States
	r.settle(queue.Settlement{Lease: d.Lease, NotBefore: r.now.Add(time.Minute)})
	r.none("before the time at which it was given back for")
	r.advance(time.Minute)
	if d = r.one(); !slices.Equal(d.States, before) {
		r.Errorf("the states are %+v after the delivery was given back, want %+v", d.States, before)
	}
}

func warned(r *run) {
	r.put(r.message())
	for i, warn := range []bool{false, true, false} {
		d := r.one()
		if want := i > 1; d.Warned != want {
			r.Errorf("claim %d: Warned is %t, want %t", i, d.Warned, want)
		}
		s := deferred(d, r.now)
		s.Warned = warn
		r.settle(s)
	}
	if !r.one().Warned {
		r.Errorf("Warned is false after a settlement that did not say it again")
	}
}

func nextAttempt(r *run) {
	r.put(r.message("a@one.example", "b@two.example"))
	got := r.some(2)
	at := r.now.Add(30 * time.Minute)
	r.settle(deferred(got[0], at))
	r.settle(deferred(got[1], at.Add(time.Millisecond)))
	r.advance(30*time.Minute - time.Millisecond)
	r.none("a millisecond before the next attempt")
	r.advance(time.Millisecond)
	if d := r.one(); d.Lease.Destination != got[0].Lease.Destination || inMillis(d.Due) != inMillis(at) {
		r.Errorf("Claim returned %s due since %v, want %s since %v", d.Lease.Destination, d.Due, got[0].Lease.Destination, at)
	}
}

func atOnce(r *run) {
	r.put(r.message())
	d := r.one()
	r.advance(time.Minute)
	r.settle(deferred(d, time.Time{}))
	if d = r.one(); inMillis(d.Due) != inMillis(r.now) {
		r.Errorf("Due is %v, want the time of the settlement, %v", d.Due, r.now)
	}
}

func leaves(r *run) {
	id := r.put(r.message("a@one.example", "b@two.example"))
	got := r.some(2)
	r.settle(all(got[0], queue.Delivered))
	r.content(id)
	r.settle(all(got[1], queue.Failed))
	r.wantGone(id)
}

// wantGone checks that a message is not in the queue.
func (r *run) wantGone(id string) {
	r.Helper()
	r.wantNotFound("Open", func() error { _, err := r.q.Open(r.ctx, id); return err })
	if _, is := r.q.(queue.Lister); is {
		r.wantNotFound("Show", func() error { _, err := queue.Show(r.ctx, r.q, id); return err })
		page, err := queue.List(r.ctx, r.q, queue.ListOptions{})
		r.check("List", err)
		for _, e := range page.Entries {
			if e.Message.ID == id {
				r.Errorf("List still has the message %s", id)
			}
		}
	}
}
