package queuetest

import (
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func interruptChecks() []check {
	return []check{
		{ruleL6, "at most once: a lease that ended is told of", 0, interrupted},
		{ruleL6, "at least once: nothing is told", 0, notInterrupted},
		{ruleL6, "at most once: a claim that died with the process is told of", needCrash, interruptedByCrash},
	}
}

// once makes a message to be sent at most once.
func (r *run) once() *queue.Message {
	m := r.message()
	m.Guarantee = queue.AtMostOnce
	return m
}

// wantInterrupted claims and checks what is told about earlier claims.
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

func interrupted(r *run) {
	r.put(r.once())
	r.wantInterrupted(false, "the first claim")
	r.advance(time.Minute)
	r.wantInterrupted(true, "after a lease that ended")
	r.advance(time.Minute)
	d := r.wantInterrupted(true, "after two leases that ended")
	r.settle(queue.Settlement{Lease: d.Lease})
	d = r.wantInterrupted(false, "after it was given back")
	r.settle(deferred(d, r.now))
	r.wantInterrupted(false, "after it was deferred")
}

func notInterrupted(r *run) {
	r.put(r.message())
	r.wantInterrupted(false, "the first claim")
	r.advance(time.Minute)
	r.wantInterrupted(false, "after a lease that ended")
	if r.in.Crash != nil {
		r.crash()
		r.advance(time.Minute)
		r.wantInterrupted(false, "after a crash")
	}
}

func interruptedByCrash(r *run) {
	r.put(r.once())
	r.wantInterrupted(false, "the first claim")
	r.crash()
	r.advance(time.Minute)
	r.wantInterrupted(true, "after a crash")
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
