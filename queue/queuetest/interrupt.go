package queuetest

import (
	"errors"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func interruptChecks() []check {
	return []check{
		{ruleL6, "at most once: a claim alone interrupts nothing", 0, claimedOnly},
		{ruleL6, "at most once: a mark that was not settled is told of", 0, interrupted},
		{ruleL6, "at least once: nothing is told", 0, notInterrupted},
		{ruleL6, "several are marked together or not at all", 0, markedTogether},
		{ruleL6, "a lease that is named twice is marked once", 0, markedTwice},
		{ruleL6, "at most once: a mark survives a crash, and a claim alone is forgotten in it", needCrash, interruptedByCrash},
	}
}

// once makes a message to be sent at most once.
func (r *run) once(to ...string) *queue.Message {
	m := r.message(to...)
	m.Guarantee = queue.AtMostOnce
	return m
}

// mark marks deliveries, which must work.
func (r *run) mark(list ...queue.Delivery) {
	r.Helper()
	r.check("Mark", r.q.Mark(r.ctx, leasesOf(list)))
}

func leasesOf(list []queue.Delivery) (leases []queue.Lease) {
	for _, d := range list {
		leases = append(leases, d.Lease)
	}
	return leases
}

// wantInterrupted claims and checks what is told about earlier marks.
func (r *run) wantInterrupted(want bool, when string) queue.Delivery {
	r.Helper()
	got := r.claim(queue.ClaimOptions{Lease: time.Minute}).Deliveries
	if len(got) != 1 {
		r.Fatalf("%s: Claim returned %s, want one delivery", when, describe(got))
	}
	if got[0].Interrupted != want {
		r.Errorf("%s: Interrupted is %t, want %t", when, got[0].Interrupted, want)
	}
	return got[0]
}

func claimedOnly(r *run) {
	r.put(r.once())
	for range 3 {
		r.wantInterrupted(false, "without a mark")
		r.advance(time.Minute)
	}
}

func interrupted(r *run) {
	r.put(r.once())
	r.mark(r.wantInterrupted(false, "the first claim"))
	r.advance(time.Minute)
	r.wantInterrupted(true, "after a mark whose lease ended")
	r.advance(time.Minute)
	d := r.wantInterrupted(true, "after two leases that ended")
	r.mark(d)
	r.mark(d)
	r.settle(queue.Settlement{Lease: d.Lease})
	d = r.wantInterrupted(false, "after it was given back")
	r.mark(d)
	r.settle(deferred(d, r.now))
	r.wantInterrupted(false, "after it was deferred")
	r.advance(time.Minute)
	r.wantInterrupted(false, "after a claim without a mark")
}

func notInterrupted(r *run) {
	r.put(r.message())
	d := r.wantInterrupted(false, "the first claim")
	r.mark(d)
	r.advance(time.Minute)
	r.wantInterrupted(false, "after a lease that ended")
	if err := r.q.Mark(r.ctx, []queue.Lease{d.Lease}); !errors.Is(err, queue.ErrLeaseLost) {
		r.Errorf("Mark with a lease that is lost = %v, want ErrLeaseLost", err)
	}
	if r.in.Crash != nil {
		r.crash()
		r.advance(time.Minute)
		r.wantInterrupted(false, "after a crash")
	}
}

func markedTogether(r *run) {
	r.put(r.once("a@one.example", "b@two.example"))
	got := r.everything(queue.ClaimOptions{Lease: time.Minute}).Deliveries
	if len(got) != 2 {
		r.Fatalf("Claim returned %s, want 2", describe(got))
	}
	r.settle(deferred(got[0], r.now.Add(time.Hour)))
	for _, list := range [][]queue.Delivery{got, {got[1], got[0]}} {
		if err := r.q.Mark(r.ctx, leasesOf(list)); !errors.Is(err, queue.ErrLeaseLost) {
			r.Errorf("Mark of two, of which one is lost = %v, want ErrLeaseLost", err)
		}
	}
	r.check("Mark of none", r.q.Mark(r.ctx, nil))
	r.advance(time.Minute)
	r.wantInterrupted(false, "after a Mark that failed")
	r.advance(time.Hour)
	got = r.everything(queue.ClaimOptions{Lease: time.Minute}).Deliveries
	r.mark(got...)
	r.advance(time.Minute)
	again := r.due()
	if len(again) != 2 || !again[0].Interrupted || !again[1].Interrupted {
		r.Errorf("after a Mark of two Claim = %+v, want both interrupted", again)
	}
}

func markedTwice(r *run) {
	r.put(r.once("a@one.example", "b@two.example"))
	got := r.everything(queue.ClaimOptions{Lease: time.Minute}).Deliveries
	if len(got) != 2 {
		r.Fatalf("Claim returned %s, want 2", describe(got))
	}
	r.mark(got[0], got[1], got[0])
	r.mark(got[0], got[0])
	r.advance(time.Minute)
	again := r.due()
	if len(again) != 2 || !again[0].Interrupted || !again[1].Interrupted {
		r.Errorf("after a Mark that names one of two twice Claim = %+v, want both interrupted", again)
	}
}

func markedWhileHeld(r *run) {
	id := r.put(r.once())
	d := r.wantInterrupted(false, "the first claim")
	r.hold(id)
	r.mark(d)
	r.advance(time.Minute)
	r.none("on hold")
	r.release(id)
	r.wantInterrupted(true, "after the release of what was marked on hold")
}

func interruptedByCrash(r *run) {
	r.put(r.once())
	r.wantInterrupted(false, "the first claim")
	r.crash()
	r.advance(time.Minute)
	r.mark(r.wantInterrupted(false, "after a crash, claimed and not marked"))
	r.crash()
	r.advance(time.Minute)
	r.wantInterrupted(true, "after a mark and a crash")
	r.crash()
	r.advance(time.Minute)
	d := r.wantInterrupted(true, "after another crash")
	s := deferred(d, r.now)
	s.Create = []*queue.Message{r.message("bounce@bounce.example")} // so that it is durable
	r.settle(s)
	r.crash()
	r.advance(time.Minute)
	got := r.claim(queue.ClaimOptions{Destinations: []string{"example.com"}}).Deliveries
	if len(got) != 1 || got[0].Interrupted {
		r.Errorf("after a settlement and a crash Claim = %+v, want a delivery that was not interrupted", got)
	}
}
