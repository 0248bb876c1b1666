package queuetest

import (
	"errors"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func leaseChecks() []check {
	return []check{
		{ruleL1, "nobody else gets a leased delivery", 0, leased},
		{ruleL2, "a delivery comes back when its lease ends", 0, leaseEnds},
		{ruleL3, "a lease that has ended can be settled while nobody claims", 0, settleLate},
		{ruleL3, "a delivery claimed again is lost to the first", 0, reclaimed},
		{ruleL3, "a settled delivery is lost", 0, settledTwice},
		{ruleL3, "a token of another delivery is no lease", 0, foreignLease},
		{ruleL4, "tokens differ from claim to claim", 0, tokens},
		{ruleL4, "a lease from before a restart is no lease on what was claimed since", needReopen, tokensAfterReopen},
		{ruleL5, "Extend moves the end of a lease to later", 0, extendLater},
		{ruleL5, "Extend moves the end of a lease to earlier", 0, extendEarlier},
		{ruleL5, "Extend of many, of which one is lost", 0, extendMany},
	}
}

func leased(r *run) {
	r.put(r.message("a@one.example", "b@two.example"))
	for range 2 {
		got := r.claim(queue.ClaimOptions{Max: 1, Lease: time.Minute}).Deliveries
		if len(got) != 1 || !r.same(got[0].Lease.Until, r.now.Add(time.Minute)) {
			r.Fatalf("Claim = %+v, want one delivery leased for a minute", got)
		}
	}
	r.none("with both destinations leased")
	r.advance(time.Minute - time.Millisecond)
	r.none("a millisecond before the leases end")
}

func leaseEnds(r *run) {
	r.put(r.message("a@one.example", "b@one.example"))
	r.settle(deferred(r.one(), r.now))
	before := r.first(queue.ClaimOptions{Lease: time.Minute})
	r.advance(time.Minute)
	after := r.one()
	for i, s := range after.States {
		if s.Attempts != 1 || s != before.States[i] {
			r.Errorf("the state of recipient %d is %+v after a lease that ended, want %+v", i, s, before.States[i])
		}
	}
	if !r.same(after.Due, before.Due) {
		r.Errorf("Due is %v after a lease that ended, want %v", after.Due, before.Due)
	}
}

func settleLate(r *run) {
	r.put(r.message())
	d := r.first(queue.ClaimOptions{Lease: time.Minute})
	r.advance(time.Hour)
	if got := r.trySettle(all(d, queue.Delivered)); got.Err != nil {
		r.Errorf("Settle after the end of the lease = %v, want nil: nobody has claimed since", got.Err)
	}
	r.none("after a late settlement")
}

// wantLost checks that nothing can be done under a lease.
func (r *run) wantLost(d queue.Delivery, when string) {
	r.Helper()
	s := all(d, queue.Failed)
	s.Create = []*queue.Message{r.message("bounce@bounce.example")}
	if got := r.trySettle(s); !errors.Is(got.Err, queue.ErrLeaseLost) || len(got.Created) != 0 {
		r.Errorf("%s: Settle = %+v, want ErrLeaseLost", when, got)
	}
	if _, err := r.extend(d.Lease, time.Hour); !errors.Is(err, queue.ErrLeaseLost) {
		r.Errorf("%s: Extend = %v, want ErrLeaseLost", when, err)
	}
	bounces := r.claim(queue.ClaimOptions{Destinations: []string{"bounce.example"}}).Deliveries
	if len(bounces) != 0 {
		r.Errorf("%s: Settle put the message it was to create", when)
	}
}

func reclaimed(r *run) {
	r.put(r.message())
	first := r.first(queue.ClaimOptions{Lease: time.Minute})
	r.advance(time.Minute)
	second := r.one()
	r.wantLost(first, "with the lease of the first claim")
	r.settle(deferred(second, r.now))
	if d := r.one(); d.States[0].Attempts != 1 {
		r.Errorf("the delivery has %d attempts, want 1", d.States[0].Attempts)
	}
}

func settledTwice(r *run) {
	r.put(r.message())
	d := r.one()
	r.settle(deferred(d, r.now))
	r.wantLost(d, "after it was settled")
	d = r.one()
	r.settle(all(d, queue.Delivered))
	r.wantLost(d, "after its last recipient was settled")
}

func foreignLease(r *run) {
	r.put(r.message("a@one.example", "b@two.example"))
	got := r.some(2)
	one, two := got[0], got[1]
	wrong := one
	wrong.Lease.Token += 12345
	r.wantLost(wrong, "with a token nobody gave")
	wrong = one
	wrong.Lease.Message = "nosuchmessage"
	r.wantLost(wrong, "with an id that is not there")
	wrong = one
	wrong.Lease.Destination = "nosuch.example"
	r.wantLost(wrong, "with a destination that is not there")
	wrong = one
	wrong.Lease.Destination, wrong.States = two.Lease.Destination, two.States
	if one.Lease.Token != two.Lease.Token {
		r.wantLost(wrong, "with the token of another destination")
	}
	r.settle(all(one, queue.Delivered))
	r.settle(all(two, queue.Delivered))
}

func tokens(r *run) {
	r.put(r.message())
	seen := make(map[uint64]bool)
	for range 5 {
		d := r.first(queue.ClaimOptions{Lease: time.Minute})
		if seen[d.Lease.Token] {
			r.Errorf("the token %d was given twice", d.Lease.Token)
		}
		seen[d.Lease.Token] = true
		r.advance(time.Minute)
	}
}

func tokensAfterReopen(r *run) {
	restarts := []func(){r.reopen}
	if r.in.Crash != nil {
		restarts = append(restarts, r.crash)
	}
	r.put(r.message())
	for _, restart := range restarts {
		d := r.first(queue.ClaimOptions{Lease: time.Minute})
		restart()
		r.advance(time.Minute)
		again := r.claim(queue.ClaimOptions{Lease: time.Minute}).Deliveries
		if len(again) != 1 {
			r.Fatalf("Claim after a restart and the end of the lease returned %s, want one delivery", describe(again))
		}
		r.wantLost(d, "with a lease from before a restart")
		r.advance(time.Minute)
	}
}

func extendLater(r *run) {
	r.put(r.message())
	d := r.first(queue.ClaimOptions{Lease: time.Minute})
	r.advance(30 * time.Second)
	l, err := r.extend(d.Lease, time.Minute)
	r.check("Extend", err)
	if !r.same(l.Until, r.now.Add(time.Minute)) || l.Message != d.Lease.Message || l.Destination != d.Lease.Destination {
		r.Errorf("Extend = %+v, want the same lease until %v", l, r.now.Add(time.Minute))
	}
	r.advance(time.Minute - time.Millisecond)
	r.none("a millisecond before the new end")
	d.Lease = l
	r.settle(deferred(d, r.now))
	r.one()
}

// extend extends one lease.
func (r *run) extend(l queue.Lease, d time.Duration) (queue.Lease, error) {
	r.Helper()
	got, err := r.q.Extend(r.ctx, r.now, []queue.Lease{l}, d)
	if err == nil && len(got) != 1 {
		r.Fatalf("Extend of one lease returned %d results", len(got))
	}
	if err != nil {
		return queue.Lease{}, err
	}
	return got[0].Lease, got[0].Err
}

func extendMany(r *run) {
	for range 5 {
		r.put(r.message())
	}
	got := r.claim(queue.ClaimOptions{Lease: time.Minute}).Deliveries
	if len(got) != 5 {
		got = append(got, r.claim(queue.ClaimOptions{Lease: time.Minute}).Deliveries...)
	}
	var leases []queue.Lease
	for _, d := range got {
		leases = append(leases, d.Lease)
	}
	r.settle(deferred(got[2], r.now.Add(time.Hour)))
	list, err := r.q.Extend(r.ctx, r.now, leases, 10*time.Minute)
	r.check("Extend", err)
	if len(list) != len(leases) {
		r.Fatalf("Extend of %d leases returned %d results", len(leases), len(list))
	}
	for i, e := range list {
		if i == 2 {
			if !errors.Is(e.Err, queue.ErrLeaseLost) {
				r.Errorf("Extend of a lost lease among others = %v, want ErrLeaseLost", e.Err)
			}
			continue
		}
		want := leases[i]
		want.Until = r.now.Add(10 * time.Minute)
		if !r.same(e.Lease.Until, want.Until) || e.Err != nil || e.Lease.Token != want.Token || e.Lease.Message != want.Message {
			r.Errorf("Extend of lease %d = %+v, %v, want %+v", i, e.Lease, e.Err, want)
		}
	}
	if none, err := r.q.Extend(r.ctx, r.now, nil, time.Minute); len(none) != 0 || err != nil {
		r.Errorf("Extend of no lease = %v, %v, want nothing", none, err)
	}
	r.advance(10*time.Minute - 2*time.Millisecond)
	r.none("before the new ends of all leases")
	r.advance(2 * time.Millisecond)
	r.some(4)
}

func extendEarlier(r *run) {
	r.put(r.message())
	d := r.first(queue.ClaimOptions{Lease: time.Hour})
	_, err := r.extend(d.Lease, time.Minute)
	r.check("Extend", err)
	r.advance(time.Minute)
	r.one()
}
