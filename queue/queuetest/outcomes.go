package queuetest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func outcomeChecks() []check {
	return []check{
		{ruleK1, "each recipient that is delivered or has failed has its outcome", needOutcomes, outcomesOfAll},
		{ruleK1, "what is settled in vain has no outcome", needOutcomes, noOutcomeInVain},
		{ruleK1, "a message that a settlement creates has outcomes as well", needOutcomes, outcomeOfCreated},
		{ruleK1, "who was pending in a dropped message has no outcome", needOutcomes | needDrop, outcomeOfDropped},
		{ruleK1, "outcomes survive a restart", needOutcomes | needReopen, outcomesAfterReopen},
		{ruleK1, "an outcome that was returned survives a crash", needOutcomes | needCrash, outcomesAfterCrash},
		{ruleK1, "after a crash a recipient has an outcome or is pending", needOutcomes | needCrash, outcomeOrPending},
		{ruleK2, "pages in the order of positions", needOutcomes, outcomePages},
		{ruleK2, "outcomes of one call in the order of its settlements", needOutcomes, outcomesOfABatch},
		{ruleK2, "a page goes on after any position", needOutcomes, outcomesFromAnywhere},
		{ruleK2, "a position is good after a restart", needOutcomes | needReopen, positionAfterReopen},
		{ruleK2, "a clock that jumps back does not change the order", needOutcomes, outcomesWithClockBack},
		{ruleK2, "something else than a position", needOutcomes, noPosition},
		{ruleK3, "an outcome is kept for its time", needOutcomes, outcomeIsKept},
		{ruleK3, "of too many the oldest are forgotten, and missed", needOutcomes | needFewOutcomes, fewOutcomes},
		{ruleK4, "without room for outcomes mail is settled", needOutcomes | needFull, outcomesWithoutRoom},
		{ruleX3, "a closed queue has no outcomes", needOutcomes | needClose, outcomesOfClosed},
	}
}

// outcomes reads all outcomes after a position, in pages of a few, and returns them with
// the position at the end.
func (r *run) outcomes(after string) (list []queue.FinalOutcome, end string) {
	r.Helper()
	for range 1000 {
		page, err := queue.Outcomes(r.ctx, r.q, queue.OutcomeOptions{After: after, Max: 7})
		r.check("Outcomes", err)
		if len(page.Outcomes) > 7 || page.Missed {
			r.Fatalf("Outcomes after %q returned %d outcomes, missed %v, want at most 7 and none missed",
				after, len(page.Outcomes), page.Missed)
		}
		for _, o := range page.Outcomes {
			if o.Position <= after || !isWord(o.Position) {
				r.Fatalf("a position is %q after %q, want a greater one of at most 40 digits and letters", o.Position, after)
			}
			after = o.Position
		}
		list = append(list, page.Outcomes...)
		if len(page.Outcomes) > 0 && page.Next < after {
			r.Fatalf("Next is %q, and the last outcome is at %q", page.Next, after)
		}
		if after = page.Next; !page.More {
			return list, after
		}
	}
	r.Fatalf("a thousand pages of outcomes, and there are more")
	return nil, ""
}

func isWord(s string) bool {
	return s != "" && len(s) <= 40 && strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// wantOutcomes compares outcomes with what is wanted, as summary says it.
func (r *run) wantOutcomes(when string, got []queue.FinalOutcome, want ...string) {
	r.Helper()
	var text []string
	for _, o := range got {
		text = append(text, summary(o))
	}
	if strings.Join(text, ", ") != strings.Join(want, ", ") {
		r.Errorf("%s: the outcomes are %q, want %q", when, text, want)
	}
}

func summary(o queue.FinalOutcome) string {
	return fmt.Sprintf("%s/%d/%s", o.Message, o.Recipient, o.Outcome)
}

// ends puts a message and has it delivered, and returns the summary of its outcome.
func (r *run) ends() string {
	r.Helper()
	id := r.put(r.message())
	r.settle(all(r.one(), queue.Delivered))
	return id + "/0/delivered"
}

func outcomesOfAll(r *run) {
	m := r.keyed("tenant", "key")
	m.Recipients = r.message("a@one.example", "b@one.example", "c@one.example", "d@one.example").Recipients
	id := r.put(m)
	reply := queue.Reply{Host: "mx", Addr: "192.0.2.1", Code: 550, Enhanced: "5.1.1", Text: "no\nsuch \xff user"}
	d := r.one()
	r.settle(queue.Settlement{Lease: d.Lease, NotBefore: r.now, Results: []queue.Result{
		{Recipient: 0, Outcome: queue.Deferred}, {Recipient: 1, Outcome: queue.Delivered}, {Recipient: 2, Outcome: queue.Unknown},
	}})
	first := r.now
	r.advance(time.Minute)
	r.settle(queue.Settlement{Lease: r.one().Lease, Results: []queue.Result{
		{Recipient: 0, Outcome: queue.Failed, Reply: reply}, {Recipient: 3, Outcome: queue.Failed},
	}})
	got, _ := r.outcomes("")
	r.wantOutcomes("two settlements", got, id+"/1/delivered", id+"/0/failed", id+"/3/failed")
	if r.settle(all(r.one(), queue.Delivered)); len(got) != 3 {
		return
	}
	if o := got[0]; o.Address != "b@one.example" || o.Attempts != 1 || !r.same(o.Time, first) || o.Tenant != "tenant" || o.Key != "key" {
		r.Errorf("the first outcome is %+v, want that of b at %v with the tenant and the key", o, first)
	}
	if o := got[1]; o.Address != "a@one.example" || o.Attempts != 2 || o.Reply != reply || !r.same(o.Time, r.now) || o.Tenant != "tenant" || o.Key != "key" {
		r.Errorf("the second outcome is %+v, want that of a at %v with the reply %+v, the tenant and the key", o, r.now, reply)
	}
	more, _ := r.outcomes(got[2].Position)
	r.wantOutcomes("the last settlement", more, id+"/2/delivered")
}

func noOutcomeInVain(r *run) {
	r.put(r.message("a@one.example", "b@one.example"))
	d := r.one()
	results := func(list ...queue.Result) queue.Settlement { return queue.Settlement{Lease: d.Lease, Results: list} }
	for _, s := range []queue.Settlement{
		results(queue.Result{Outcome: queue.Delivered}, queue.Result{Outcome: queue.Delivered}),
		results(queue.Result{Outcome: queue.Delivered}, queue.Result{Recipient: 2, Outcome: queue.Delivered}),
		{Lease: d.Lease, Results: []queue.Result{{Outcome: queue.Delivered}}, Create: []*queue.Message{{}}},
		{Lease: queue.Lease{Message: d.Lease.Message, Destination: d.Lease.Destination, Token: d.Lease.Token + 1},
			Results: []queue.Result{{Outcome: queue.Delivered}}},
	} {
		if got := r.trySettle(s); got.Err == nil {
			r.Errorf("Settle of %+v = nil, want an error", s)
		}
	}
	r.settle(results(queue.Result{Outcome: queue.Deferred}, queue.Result{Recipient: 1, Outcome: queue.Unknown}))
	got, _ := r.outcomes("")
	r.wantOutcomes("nothing has ended", got)
}

func outcomeOfCreated(r *run) {
	id := r.put(r.message())
	s := all(r.one(), queue.Failed)
	s.Create = []*queue.Message{r.message("sender@example.org")}
	report := r.settle(s).Created[0]
	r.settle(all(r.one(), queue.Delivered))
	got, _ := r.outcomes("")
	r.wantOutcomes("a report", got, id+"/0/failed", report+"/0/delivered")
}

func outcomeOfDropped(r *run) {
	id := r.put(r.message("a@one.example", "b@one.example"))
	r.settle(queue.Settlement{Lease: r.one().Lease, Results: []queue.Result{{Recipient: 1, Outcome: queue.Delivered}}})
	r.drop(id)
	got, _ := r.outcomes("")
	r.wantOutcomes("a dropped message", got, id+"/1/delivered")
}

func outcomesAfterReopen(r *run) {
	var want []string
	for range 3 {
		for range 20 {
			want = append(want, r.ends())
		}
		r.reopen()
		got, _ := r.outcomes("")
		r.wantOutcomes("after a restart", got, want...)
	}
}

func outcomesAfterCrash(r *run) {
	var want []string
	for range 3 {
		for range 20 {
			want = append(want, r.ends())
		}
		before, end := r.outcomes("")
		r.wantOutcomes("before a crash", before, want...)
		r.crash()
		after, same := r.outcomes("")
		r.wantOutcomes("after a crash", after, want...)
		if same != end {
			r.Errorf("the position at the end is %q after a crash, want %q as before", same, end)
		}
	}
}

func outcomeOrPending(r *run) {
	ended, after := make(map[string]bool), ""
	for range 5 {
		for range 10 {
			r.put(r.message("a@one.example", "b@two.example"))
		}
		for i, d := range r.due() {
			r.settle(all(d, queue.Delivered))
			if i == 12 {
				for _, o := range r.next(&after) {
					ended[o.Message+o.Address] = true
				}
			}
		}
		r.crash()
		r.advance(queue.DefaultLease) // of a shared queue leases may be left
		for _, o := range r.next(&after) {
			if ended[o.Message+o.Address] {
				r.Errorf("%s has two outcomes", summary(o))
			}
			ended[o.Message+o.Address] = true
		}
		for _, d := range r.due() {
			if ended[d.Lease.Message+d.Message.Recipients[0].Address] {
				r.Errorf("after a crash a recipient of %s is pending, and has an outcome", d.Lease.Message)
			}
			r.settle(all(d, queue.Delivered))
		}
	}
	for _, o := range r.next(&after) {
		ended[o.Message+o.Address] = true
	}
	if len(ended) != 100 {
		r.Errorf("%d of 100 recipients have an outcome, and none is pending", len(ended))
	}
}

// next reads the outcomes after a position, and moves that.
func (r *run) next(after *string) (list []queue.FinalOutcome) {
	r.Helper()
	list, *after = r.outcomes(*after)
	return list
}

func outcomePages(r *run) {
	var want []string
	for range 23 {
		want = append(want, r.ends())
	}
	var got []queue.FinalOutcome
	after := ""
	for range 100 {
		page, err := queue.Outcomes(r.ctx, r.q, queue.OutcomeOptions{After: after, Max: 5})
		r.check("Outcomes", err)
		got, after = append(got, page.Outcomes...), page.Next
		if !page.More {
			break
		}
		if len(want) < 30 { // others come
			want = append(want, r.ends())
		}
	}
	r.wantOutcomes("pages while others come", got, want...)
	page, err := queue.Outcomes(r.ctx, r.q, queue.OutcomeOptions{})
	r.check("Outcomes", err)
	r.wantOutcomes("a page without Max", page.Outcomes, want...)
	if page.More {
		r.Errorf("More is set on the only page")
	}
}

// outcomesOfABatch settles several messages at once, in another order than they were put,
// some with a message that is created and some without.
func outcomesOfABatch(r *run) {
	for range 6 {
		r.put(r.message("a@one.example", "b@one.example"))
	}
	due := r.due()
	if len(due) != 6 {
		r.Fatalf("%d deliveries are due, want 6", len(due))
	}
	var batch []queue.Settlement
	var want []string
	for i, at := range []int{4, 1, 5, 0, 2, 3} {
		s := all(due[at], queue.Failed)
		if i%3 == 1 {
			s.Create = append(s.Create, r.message("sender@three.example"))
		}
		batch = append(batch, s)
		want = append(want, due[at].Message.ID+"/0/failed", due[at].Message.ID+"/1/failed")
	}
	settled, err := r.q.Settle(r.ctx, r.now, batch)
	r.check("Settle", err)
	for i := range settled {
		r.check("Settle", settled[i].Err)
	}
	got, _ := r.outcomes("")
	r.wantOutcomes("one call", got, want...)
}

func outcomesFromAnywhere(r *run) {
	start, end := r.outcomes("")
	r.wantOutcomes("an empty queue", start)
	var want []string
	m := r.message("a@one.example", "b@one.example", "c@one.example") // in one settlement
	id := r.put(m)
	r.settle(all(r.one(), queue.Failed))
	for i := range m.Recipients {
		want = append(want, fmt.Sprintf("%s/%d/failed", id, i))
	}
	for range 9 {
		want = append(want, r.ends())
	}
	got, last := r.outcomes(end)
	r.wantOutcomes("after the position of an empty queue", got, want...)
	for i, o := range got {
		rest, _ := r.outcomes(o.Position)
		r.wantOutcomes(fmt.Sprint("after the outcome ", i), rest, want[i+1:]...)
	}
	rest, again := r.outcomes(last)
	if r.wantOutcomes("at the end", rest); again != last {
		r.Errorf("at the end %q Next is %q, want the same", last, again)
	}
}

func positionAfterReopen(r *run) {
	after := ""
	for range 4 {
		var want []string
		for range 10 {
			want = append(want, r.ends())
		}
		r.reopen()
		r.wantOutcomes("after the last position before a restart", r.next(&after), want...)
	}
}

func outcomesWithClockBack(r *run) {
	want := []string{r.ends()}
	r.now = r.now.Add(-r.keepOutcomes / 2)
	want = append(want, r.ends())
	r.now = r.now.Add(r.keepOutcomes / 4)
	want = append(want, r.ends())
	got, _ := r.outcomes("")
	r.wantOutcomes("a clock that jumps", got, want...)
}

func noPosition(r *run) {
	r.ends()
	for _, after := range []string{"?", "1", strings.Repeat("z", 500)} {
		_, err := queue.Outcomes(r.ctx, r.q, queue.OutcomeOptions{After: after})
		if e := (*queue.PositionError)(nil); !errors.As(err, &e) || e.Position != after {
			r.Errorf("Outcomes after %.10q = %v, want a *PositionError", after, err)
		}
	}
}

func outcomeIsKept(r *run) {
	want := []string{r.ends()}
	for range 4 {
		r.advance(r.keepOutcomes/4 - time.Second)
		want = append(want, r.ends())
	}
	got, _ := r.outcomes("")
	r.wantOutcomes("before the first is too old", got, want...)
}

func fewOutcomes(r *run) {
	const many = 300
	var want []string
	for range 3 {
		want = append(want, r.ends())
	}
	seen, after := r.outcomes("")
	r.wantOutcomes("before they are too many", seen, want...)
	for range many {
		want = append(want, r.ends())
	}
	oldest, err := queue.Outcomes(r.ctx, r.q, queue.OutcomeOptions{Max: 1})
	r.check("Outcomes", err)
	if len(oldest.Outcomes) != 1 || oldest.Missed {
		r.Fatalf("the first page has %d outcomes, missed %v, want one, and none missed that was not asked for",
			len(oldest.Outcomes), oldest.Missed)
	}
	rest, _ := r.outcomes(oldest.Next)
	if n := len(rest) + 1; n >= 100 || n < 2 {
		r.Fatalf("%d outcomes are kept, want a few, and fewer than a hundred", n)
	}
	r.wantOutcomes("the newest", append(oldest.Outcomes, rest...), want[len(want)-len(rest)-1:]...)
	page, err := queue.Outcomes(r.ctx, r.q, queue.OutcomeOptions{After: after, Max: 1})
	r.check("Outcomes", err)
	if len(page.Outcomes) != 1 || summary(page.Outcomes[0]) != summary(oldest.Outcomes[0]) || !page.Missed {
		r.Errorf("after a position since which some are forgotten: %+v, want the oldest, and Missed", page)
	}
}

// outcomesWithoutRoom settles mail while there is no room for anything but its end.
func outcomesWithoutRoom(r *run) {
	var want []string
	for range 40 {
		want = append(want, r.put(r.message())+"/0/delivered")
	}
	list := r.due()
	r.check("taking the room away", r.in.Full(true))
	for _, d := range list {
		r.settle(all(d, queue.Delivered))
	}
	r.check("giving the room back", r.in.Full(false))
	r.none("after everything was delivered without room")
	got, _ := r.outcomes("")
	r.wantOutcomes("those without room", got, want...)
}

func outcomesOfClosed(r *run) {
	r.check("Close", queue.Close(r.q))
	if _, err := queue.Outcomes(r.ctx, r.q, queue.OutcomeOptions{}); !errors.Is(err, queue.ErrClosed) {
		r.Errorf("Outcomes of a closed queue = %v, want ErrClosed", err)
	}
}
