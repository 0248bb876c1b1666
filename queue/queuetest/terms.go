package queuetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func termsChecks() []check {
	return []check{
		{ruleA9, "a hold is shown with its reason, its end and since when", needTerms | needList, heldOnTerms},
		{ruleA9, "a hold without terms has none", needTerms | needList, heldWithoutTerms},
		{ruleA9, "a hold with an end is over then", needTerms, heldUntil},
		{ruleA9, "the next replaces it, and a release ends it", needTerms, heldAnew},
		{ruleA9, "what is not due at the end of a hold is not claimed", needTerms, heldUntilBeforeDue},
		{ruleA9, "Next is not later than the end of a hold", needTerms, nextOfHeld},
		{ruleA9, "what a settlement leaves is on hold until then", needTerms | needList, heldUntilWhileLeased},
		{ruleA9, "many holds end at different times", needTerms, manyHeldUntil},
		{ruleA9, "terms survive a close", needTerms | needList | needReopen, heldUntilAcrossClose},
		{ruleA9, "terms survive a crash", needTerms | needList | needCrash, heldUntilAcrossCrash},
		{ruleA9, "a hold that has ended stays so", needTerms | needFlush | needReopen, endedHoldAcrossClose},
		{ruleA9, "a long reason is cut", needTerms | needList, heldForLongReason},
		{ruleS11, "the reason of a settlement is shown until the next", needList, settledBecause},
		{ruleS11, "it survives a close", needList | needReopen, becauseAcrossClose},
	}
}

func (r *run) holdUntil(id string, until time.Time, reason string) {
	r.Helper()
	r.check("HoldUntil", queue.HoldUntil(r.ctx, r.q, r.now, id, queue.Terms{Until: until, Reason: reason}))
}

// wantTerms compares what is shown of a hold.
func (r *run) wantTerms(id string, since, until time.Time, reason string) {
	r.Helper()
	e := r.entry(id)
	if !e.Held || !r.same(e.Hold.Since, since) || !r.same(e.Hold.Until, until) || e.Hold.Reason != reason {
		r.Errorf("Held is %t and Hold %+v, want since %v until %v because of %q", e.Held, e.Hold, since, until, reason)
	}
}

func heldOnTerms(r *run) {
	id := r.put(r.message("a@one.example", "b@two.example"))
	since := r.now
	r.holdUntil(id, since.Add(time.Hour), "it is looked into")
	r.advance(time.Minute)
	r.wantTerms(id, since, since.Add(time.Hour), "it is looked into")
	r.wantNotFound("HoldUntil", func() error {
		return queue.HoldUntil(r.ctx, r.q, r.now, "nosuchmessage", queue.Terms{})
	})
}

func heldWithoutTerms(r *run) {
	id := r.put(r.message())
	r.holdUntil(id, r.now.Add(time.Hour), "it is looked into")
	r.hold(id)
	if e := r.entry(id); !e.Held || e.Hold != (queue.Terms{}) {
		r.Errorf("Held is %t and Hold %+v after Hold, want no terms", e.Held, e.Hold)
	}
	r.advance(2 * time.Hour)
	r.none("after the end of a hold that was replaced by one without")
}

func heldUntil(r *run) {
	id := r.put(r.message("a@one.example", "b@two.example"))
	r.holdUntil(id, r.now.Add(time.Hour), "")
	r.advance(time.Hour - 2*time.Millisecond)
	r.none("before the end of a hold")
	r.advance(2 * time.Millisecond)
	if got := of(r.due(), messageOf); got[id] != 2 {
		r.Errorf("at the end of a hold Claim returned %v, want both deliveries", got)
	}
	if r.can&needList != 0 {
		if e := r.entry(id); e.Held || e.Hold != (queue.Terms{}) {
			r.Errorf("after the end of a hold Held is %t and Hold %+v", e.Held, e.Hold)
		}
	}
}

func heldAnew(r *run) {
	start := r.now
	longer, shorter, released, forever := r.put(r.message()), r.put(r.message()), r.put(r.message()), r.put(r.message())
	for _, id := range []string{longer, shorter, released, forever} {
		r.holdUntil(id, start.Add(time.Hour), "first")
	}
	r.holdUntil(longer, start.Add(3*time.Hour), "second")
	r.holdUntil(shorter, start.Add(time.Minute), "second")
	r.release(released)
	r.hold(released)
	r.holdUntil(forever, time.Time{}, "second")
	for _, c := range []struct {
		after time.Duration
		want  string
	}{{time.Minute, shorter}, {time.Hour, ""}, {3*time.Hour - 2*time.Millisecond, ""}, {3 * time.Hour, longer}, {100 * time.Hour, ""}} {
		r.advance(start.Add(c.after).Sub(r.now))
		got := of(r.everything(queue.ClaimOptions{Lease: 1000 * time.Hour}).Deliveries, messageOf)
		if c.want == "" && len(got) != 0 || c.want != "" && (got[c.want] != 1 || len(got) != 1) {
			r.Errorf("%v after the holds Claim returned %v, want %q", c.after, got, c.want)
		}
	}
}

func heldUntilBeforeDue(r *run) {
	m := r.message()
	m.NotBefore = r.now.Add(2 * time.Hour)
	id := r.put(m)
	r.holdUntil(id, r.now.Add(time.Hour), "")
	r.advance(time.Hour)
	r.none("at the end of a hold on what is not due")
	r.advance(time.Hour)
	r.one()
}

func nextOfHeld(r *run) {
	id := r.put(r.message())
	until := r.now.Add(time.Hour)
	r.holdUntil(id, until, "")
	for !r.now.After(until) {
		got := r.claim(queue.ClaimOptions{})
		if len(got.Deliveries) > 0 {
			return
		}
		if got.Next.IsZero() || got.Next.After(until.Add(time.Millisecond)) {
			r.Fatalf("Next is %v, want it not after %v, when a hold ends", got.Next, until)
		}
		r.advance(max(got.Next.Sub(r.now), time.Millisecond))
	}
	r.one()
}

func heldUntilWhileLeased(r *run) {
	id := r.put(r.message("a@one.example", "b@one.example"))
	d := r.one()
	since, until := r.now, r.now.Add(time.Hour)
	r.holdUntil(id, until, "why")
	r.settle(queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Recipient: 0, Outcome: queue.Delivered}, {Recipient: 1}}})
	r.wantTerms(id, since, until, "why")
	r.none("after the settlement of a message on hold")
	r.advance(time.Hour)
	if d := r.one(); len(d.States) != 1 || d.States[0].Index != 1 {
		r.Errorf("at the end of the hold the states are %+v, want index 1", d.States)
	}
}

func manyHeldUntil(r *run) {
	const many = 60
	start := r.now
	for i := range many {
		r.holdUntil(r.put(r.message(fmt.Sprintf("a@d%d.example", i%7))), start.Add(time.Duration(i*37%many+1)*time.Minute), "")
	}
	for i := 1; i <= many; i++ {
		r.advance(start.Add(time.Duration(i) * time.Minute).Sub(r.now))
		got := r.due()
		if len(got) != 1 {
			r.Fatalf("after %d minutes Claim returned %s, want the one whose hold has ended", i, describe(got))
		}
		r.settle(all(got[0], queue.Delivered))
	}
}

// severalHolds holds messages in different ways, and then wants them to be so.
func severalHolds(r *run) (want func()) {
	since, until := r.now, r.now.Add(time.Hour)
	ends, stays, plain, freed := r.put(r.message("a@one.example", "b@two.example")), r.put(r.message()), r.put(r.message()), r.put(r.message())
	r.holdUntil(ends, until, "it ends")
	r.holdUntil(stays, time.Time{}, "it stays")
	r.hold(plain)
	r.holdUntil(freed, until, "it is over")
	r.release(freed)
	return func() {
		r.wantTerms(ends, since, until, "it ends")
		r.wantTerms(stays, since, time.Time{}, "it stays")
		r.wantTerms(plain, time.Time{}, time.Time{}, "")
		if e := r.entry(freed); e.Held || e.Hold != (queue.Terms{}) {
			r.Errorf("Held is %t and Hold %+v after the release", e.Held, e.Hold)
		}
		r.advance(until.Sub(r.now) - 2*time.Millisecond)
		if got := of(r.everything(queue.ClaimOptions{Lease: 100 * time.Hour}).Deliveries, messageOf); got[freed] != 1 || len(got) != 1 {
			r.Errorf("before the end of the holds Claim returned %v, want %s", got, freed)
		}
		r.advance(2 * time.Millisecond)
		if got := of(r.everything(queue.ClaimOptions{Lease: 100 * time.Hour}).Deliveries, messageOf); got[ends] != 2 || len(got) != 1 {
			r.Errorf("at the end of a hold Claim returned %v, want two of %s", got, ends)
		}
		r.release(stays)
		r.release(plain)
		r.some(2)
	}
}

func heldUntilAcrossClose(r *run) {
	want := severalHolds(r)
	r.reopen()
	r.reopen()
	want()
}

func heldUntilAcrossCrash(r *run) {
	want := severalHolds(r)
	r.crash()
	r.crash()
	want()
}

func endedHoldAcrossClose(r *run) {
	m := r.message()
	m.NotBefore = r.now.Add(3 * time.Hour)
	id := r.put(m)
	other := r.message("b@two.example")
	other.NotBefore = m.NotBefore
	second := r.put(other)
	r.holdUntil(id, r.now.Add(time.Hour), "")
	r.holdUntil(second, r.now.Add(2*time.Hour), "")
	r.advance(time.Hour)
	r.none("at the end of a hold on what is not due")
	r.wantFlush(1, queue.Selection{Message: id})
	r.reopen()
	r.one()
	r.advance(time.Hour)
	r.wantFlush(1, queue.Selection{Message: second}) // no claim has come since
	r.reopen()
	if got := of(r.due(), messageOf); got[second] != 1 {
		r.Errorf("Claim returned %v, want what was flushed at the end of its hold", got)
	}
}

func heldForLongReason(r *run) {
	id := r.put(r.message())
	long := strings.Repeat("why ", queue.MaxReason)
	r.holdUntil(id, time.Time{}, long)
	r.wantTerms(id, r.now, time.Time{}, long[:queue.MaxReason])
}

// wantBecause compares the reasons that are shown, by recipient.
func (r *run) wantBecause(id string, want ...string) {
	r.Helper()
	var got []string
	for _, w := range r.entry(id).Waiting {
		got = append(got, w.Because)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.Errorf("Because is %q, want %q", got, want)
	}
}

func settledBecause(r *run) {
	id := r.put(r.message("a@one.example", "b@one.example", "c@two.example"))
	r.wantBecause(id, "", "", "")
	got := r.some(2)
	r.settle(queue.Settlement{Lease: got[0].Lease, NotBefore: r.now.Add(time.Minute), Reason: "the site is down"})
	r.settle(queue.Settlement{
		Lease: got[1].Lease, Results: []queue.Result{{Recipient: 2}}, NotBefore: r.now.Add(time.Hour),
		Reason: strings.Repeat("x", queue.MaxReason+1),
	})
	r.wantBecause(id, "the site is down", "the site is down", strings.Repeat("x", queue.MaxReason))
	r.advance(time.Minute)
	r.settle(deferred(r.one(), r.now))
	r.wantBecause(id, "", "", strings.Repeat("x", queue.MaxReason))
}

func becauseAcrossClose(r *run) {
	id := r.put(r.message())
	r.settle(queue.Settlement{Lease: r.one().Lease, NotBefore: r.now.Add(time.Minute), Reason: "the site is down"})
	r.reopen()
	r.wantBecause(id, "the site is down")
	r.advance(time.Minute)
	if d := r.one(); d.States[0].Attempts != 0 {
		r.Errorf("a settlement with a reason and no results was charged: %+v", d.States)
	}
	r.wantBecause(id, "the site is down")
}
