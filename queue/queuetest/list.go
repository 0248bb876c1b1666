package queuetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func listChecks() []check {
	return []check{
		{ruleA1, "every message once, oldest first", needList, listAll},
		{ruleA1, "while messages come and go", needList, listMoving},
		{ruleA1, "those of one destination", needList, listDestination},
		{ruleA2, "an entry tells all", needList, entryTells},
		{ruleA2, "an entry tells what is left", needList, entryLeft},
	}
}

// list goes through the pages.
func (r *run) list(want queue.ListOptions, between func(page int)) []string {
	r.Helper()
	var ids []string
	for page := range 100 {
		got, err := queue.List(r.ctx, r.q, want)
		r.check("List", err)
		most := want.Max
		if most == 0 {
			most = queue.DefaultMax
		}
		if len(got.Entries) > most {
			r.Errorf("a page has %d messages, want %d at most", len(got.Entries), most)
		}
		for _, e := range got.Entries {
			ids = append(ids, e.Message.ID)
		}
		if got.Next == "" {
			return ids
		}
		want.After = got.Next
		between(page)
	}
	r.Fatalf("the list has no last page")
	return nil
}

func nothing(int) {}

func listAll(r *run) {
	if got := r.list(queue.ListOptions{}, nothing); len(got) != 0 {
		r.Errorf("List of an empty queue returned %q", got)
	}
	var want []string
	for i := range queue.DefaultMax + 10 {
		m := r.message("a@one.example", "b@two.example")
		m.Priority = i % 3
		want = append(want, r.put(m))
	}
	r.claim(queue.ClaimOptions{Max: 5})
	for _, max := range []int{0, 7, len(want) - 1, len(want), len(want) + 1} {
		if got := r.list(queue.ListOptions{Max: max}, nothing); !slices.Equal(got, want) {
			r.Errorf("pages of %d have the messages %q, want %q", max, got, want)
		}
	}
}

func listMoving(r *run) {
	var ids []string
	for range 12 {
		ids = append(ids, r.put(r.message()))
	}
	leases := make(map[string]queue.Delivery)
	for _, d := range r.due() {
		leases[d.Lease.Message] = d
	}
	got := r.list(queue.ListOptions{Max: 3}, func(page int) {
		if page != 0 {
			return
		}
		for _, i := range []int{0, 2, 3, 5} { // the page's last one among them
			r.settle(all(leases[ids[i]], queue.Delivered))
		}
		ids = append(ids, r.put(r.message()))
	})
	for _, i := range []int{1, 4, 6, 7, 8, 9, 10, 11} {
		if !slices.Contains(got, ids[i]) {
			r.Errorf("the list lacks message %d, which was there all the time", i)
		}
	}
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		r.Errorf("the list is %q, want ascending ids and each once", got)
	}
}

func listDestination(r *run) {
	var want []string
	for i := range 10 {
		m := r.message(fmt.Sprintf("a@d%d.example", i%2), "b@both.example")
		if id := r.put(m); i%2 == 1 {
			want = append(want, id)
		}
	}
	if got := r.list(queue.ListOptions{Max: 2, Destination: "d1.example"}, nothing); !slices.Equal(got, want) {
		r.Errorf("List of d1.example returned %q, want %q", got, want)
	}
	for _, d := range r.claim(queue.ClaimOptions{Destinations: []string{"d1.example"}}).Deliveries {
		r.settle(all(d, queue.Delivered))
	}
	if got := r.list(queue.ListOptions{Destination: "d1.example"}, nothing); len(got) != 0 {
		r.Errorf("List of a destination nothing waits for returned %q", got)
	}
	if got := r.list(queue.ListOptions{Destination: "both.example"}, nothing); len(got) != 10 {
		r.Errorf("List of both.example returned %d messages, want 10", len(got))
	}
}

// entries is what Show and List say of one message, which must be the same.
func (r *run) entry(id string) queue.Entry {
	r.Helper()
	e, err := queue.Show(r.ctx, r.q, id)
	r.check("Show", err)
	page, err := queue.List(r.ctx, r.q, queue.ListOptions{})
	r.check("List", err)
	at := slices.IndexFunc(page.Entries, func(e queue.Entry) bool { return e.Message.ID == id })
	if at < 0 {
		r.Fatalf("List lacks the message %s, Show has it", id)
	}
	listed := page.Entries[at]
	if problem := differs(listed.Message, e.Message, e.Message.Recipients); problem != "" {
		r.Errorf("List differs from Show: Message.%s", problem)
	}
	if listed.Held != e.Held || listed.Size != e.Size || !slices.EqualFunc(listed.Waiting, e.Waiting, sameWaiting) {
		r.Errorf("List has %+v, Show has %+v", listed, e)
	}
	return e
}

func sameWaiting(a, b queue.Waiting) bool {
	return sameState(a.State, b.State) && a.Destination == b.Destination && inMillis(a.Next) == inMillis(b.Next) && a.Leased == b.Leased &&
		inMillis(a.Postponed) == inMillis(b.Postponed) && a.Reason == b.Reason
}

// wantWaiting compares where the recipients of a message stand.
func (r *run) wantWaiting(id string, want []queue.Waiting) queue.Entry {
	r.Helper()
	e := r.entry(id)
	if !slices.EqualFunc(e.Waiting, want, sameWaiting) {
		r.Errorf("Waiting is %+v, want %+v", e.Waiting, want)
	}
	return e
}

func entryTells(r *run) {
	m := full(r.now)
	id := r.put(m)
	parts, err := queue.Split(m)
	r.check("Split", err)
	want := make([]queue.Waiting, len(m.Recipients))
	for _, p := range parts {
		for _, i := range p.Recipients {
			want[i] = queue.Waiting{State: queue.State{Index: i}, Destination: p.Destination, Next: m.NotBefore}
		}
	}
	e := r.wantWaiting(id, want)
	if problem := differs(e.Message, *m, m.Recipients); problem != "" || e.Message.ID != id || e.Message.Content != nil {
		r.Errorf("Show of %s: id %s, Message.%s", id, e.Message.ID, problem)
	}
	if e.Size != m.Content.Size() || e.Held {
		r.Errorf("Size is %d and Held %t, want %d and false", e.Size, e.Held, m.Content.Size())
	}
	r.wantNotFound("Show", func() error { _, err := queue.Show(r.ctx, r.q, "nosuchmessage"); return err })
}

func entryLeft(r *run) {
	m := r.message("a@one.example", "b@two.example", "c@one.example", "d@three.example")
	m.Arrived = r.now
	id := r.put(m)
	got := r.claim(queue.ClaimOptions{Destinations: []string{"one.example", "two.example"}}).Deliveries
	if len(got) != 2 {
		r.Fatalf("Claim of two destinations returned %s, want 2", describe(got))
	}
	next := r.now.Add(time.Hour)
	one := queue.Settlement{Lease: got[0].Lease, NotBefore: next, Results: []queue.Result{
		{Recipient: 0, Outcome: queue.Delivered},
		{Recipient: 2, Outcome: queue.Unknown, Reply: queue.Reply{Code: 451, Text: "later"}},
	}}
	r.settle(one)
	e := r.wantWaiting(id, []queue.Waiting{
		{State: queue.State{Index: 1}, Destination: "two.example", Leased: true},
		{State: queue.State{
			Index: 2, Attempts: 1, Outcome: queue.Unknown, Tried: r.now,
			Reply: queue.Reply{Code: 451, Text: "later"},
		}, Destination: "one.example", Next: next},
		{State: queue.State{Index: 3}, Destination: "three.example"},
	})
	if problem := differs(e.Message, *m, m.Recipients[1:]); problem != "" {
		r.Errorf("Message.%s", problem)
	}
}
