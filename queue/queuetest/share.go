package queuetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func shareChecks() []check {
	return []check{
		{ruleC4, "at most Max", 0, atMost},
		{ruleC4, "at most PerDestination of one destination", 0, perDestination},
		{ruleC4, "at most PerTenant of one tenant", 0, perTenant},
		{ruleC4, "all bounds at once", 0, allBounds},
		{ruleC5, "only the destinations asked for", 0, onlyDestinations},
		{ruleC5, "not the destinations excepted", 0, exceptDestinations},
		{ruleC5, "not the tenants excepted", 0, exceptTenants},
	}
}

// nextChecks are about when to ask again.
func nextChecks() []check {
	return []check{
		{ruleC8, "an empty queue answers zero", 0, nextOfNothing},
		{ruleC8, "there is more where a bound left something out", 0, nextOfMore},
		{ruleC8, "not later than anything becomes due", 0, nextOfWaiting},
		{ruleC8, "not for what the tenants excepted have", 0, nextOfExcepted},
		{ruleC8, "not later than a lease ends", 0, nextOfLeases},
		{ruleC8, "not later than a postponement ends", needPostpone, nextOfPostponed},
	}
}

func atMost(r *run) {
	for range queue.DefaultMax + 10 {
		r.put(r.message())
	}
	for _, c := range []struct{ max, want int }{{1, 1}, {0, queue.DefaultMax}, {7, 7}, {7, 2}, {7, 0}} {
		if got := r.claim(queue.ClaimOptions{Max: c.max}).Deliveries; len(got) != c.want {
			r.Errorf("Claim with Max %d returned %d deliveries, want %d", c.max, len(got), c.want)
		}
	}
}

// of counts deliveries by something.
func of(ds []queue.Delivery, what func(queue.Delivery) string) map[string]int {
	n := make(map[string]int)
	for _, d := range ds {
		n[what(d)]++
	}
	return n
}

func destinationOf(d queue.Delivery) string { return d.Lease.Destination }
func tenantOf(d queue.Delivery) string      { return d.Message.Tenant }
func messageOf(d queue.Delivery) string     { return d.Lease.Message }

func perDestination(r *run) {
	for range 9 {
		r.put(r.message("a@big.example"))
	}
	r.put(r.message("a@small.example"))
	for round := range 3 {
		got := of(r.claim(queue.ClaimOptions{Max: 5, PerDestination: 3}).Deliveries, destinationOf)
		wantSmall := 0
		if round == 0 {
			wantSmall = 1
		}
		if got["big.example"] != 3 || got["small.example"] != wantSmall {
			r.Errorf("round %d: Claim with PerDestination 3 returned %v, want 3 of the big one and %d of the small one",
				round, got, wantSmall)
		}
	}
}

func perTenant(r *run) {
	for i := range 12 {
		m := r.message(fmt.Sprintf("a@d%d.example", i%2))
		m.Tenant = "big"
		r.put(m)
	}
	for range 2 {
		m := r.message("a@d0.example")
		m.Tenant = "small"
		r.put(m)
	}
	for round, small := range []int{2, 0, 0} {
		got := of(r.claim(queue.ClaimOptions{PerTenant: 4}).Deliveries, tenantOf)
		if got["big"] != 4 || got["small"] != small {
			r.Errorf("round %d: Claim with PerTenant 4 returned %v, want 4 of the big one and %d of the small one",
				round, got, small)
		}
	}
}

func allBounds(r *run) {
	var ids []string
	for i := range 24 {
		m := r.message(fmt.Sprintf("a@d%d.example", i%2))
		m.Tenant = fmt.Sprint("t", i/2%2)
		ids = append(ids, r.put(m))
	}
	// In order: d0/t0 d1/t0 d0/t1 d1/t1 d0/t0, and t0 is full; then d1/t0, d0/t1,
	// which is one too many for d0, and d1/t1.
	var got []string
	for _, d := range r.claim(queue.ClaimOptions{Max: 20, PerDestination: 3, PerTenant: 3}).Deliveries {
		got = append(got, d.Lease.Message)
	}
	want := []string{ids[0], ids[1], ids[2], ids[3], ids[4], ids[7]}
	if !slices.Equal(got, want) {
		r.Errorf("Claim returned the messages %q, want %q", got, want)
	}
}

func onlyDestinations(r *run) {
	for i := range 9 {
		r.put(r.message(fmt.Sprintf("a@d%d.example", i%3)))
	}
	got := r.claim(queue.ClaimOptions{Destinations: []string{"d2.example", "d1.example", "d2.example", "none.example"}})
	n := of(got.Deliveries, destinationOf)
	if n["d0.example"] != 0 || n["d1.example"] != 3 || n["d2.example"] != 3 {
		r.Errorf("Claim of d1 and d2 returned %v, want 3 of each", n)
	}
	if len(got.Deliveries) > 0 && got.Deliveries[0].Lease.Destination != "d1.example" {
		r.Errorf("Claim of d2 and d1 returned %s first, want the one longest due", got.Deliveries[0].Lease.Destination)
	}
	if n := of(r.due(), destinationOf); n["d0.example"] != 3 || len(n) != 1 {
		r.Errorf("Claim of the rest returned %v, want 3 of d0", n)
	}
}

func exceptDestinations(r *run) {
	for i := range 9 {
		r.put(r.message(fmt.Sprintf("a@d%d.example", i%3)))
	}
	except := []string{"d0.example", "none.example"}
	both := queue.ClaimOptions{Destinations: []string{"d0.example", "d1.example"}, Except: except}
	if n := of(r.claim(both).Deliveries, destinationOf); n["d1.example"] != 3 || len(n) != 1 {
		r.Errorf("Claim of d0 and d1 except d0 returned %v, want 3 of d1", n)
	}
	if n := of(r.claim(queue.ClaimOptions{Except: except}).Deliveries, destinationOf); n["d2.example"] != 3 || len(n) != 1 {
		r.Errorf("Claim except d0 returned %v, want 3 of d2", n)
	}
	if n := of(r.due(), destinationOf); n["d0.example"] != 3 || len(n) != 1 {
		r.Errorf("Claim of the rest returned %v, want 3 of d0", n)
	}
}

func exceptTenants(r *run) {
	for i := range 9 {
		m := r.message(fmt.Sprintf("a@d%d.example", i%2))
		m.Tenant = fmt.Sprintf("t%d", i%3)
		r.put(m)
	}
	except := []string{"t0", "none"}
	one := queue.ClaimOptions{Destinations: []string{"d0.example"}, ExceptTenants: except}
	if n := of(r.claim(one).Deliveries, tenantOf); n["t1"] != 1 || n["t2"] != 2 || len(n) != 2 {
		r.Errorf("Claim of d0 except t0 returned %v, want one of t1 and two of t2", n)
	}
	if n := of(r.claim(queue.ClaimOptions{ExceptTenants: except}).Deliveries, tenantOf); n["t1"] != 2 || n["t2"] != 1 || len(n) != 2 {
		r.Errorf("Claim except t0 returned %v, want two of t1 and one of t2", n)
	}
	if n := of(r.due(), tenantOf); n["t0"] != 3 || len(n) != 1 {
		r.Errorf("Claim of the rest returned %v, want 3 of t0", n)
	}
}

// wantNext claims and wants to be told to come again after now and by a time.
func (r *run) wantNext(want queue.ClaimOptions, by time.Time) {
	r.Helper()
	if next := r.claim(want).Next; !next.After(r.now) || next.After(by) {
		r.Errorf("Next is %v, want a time after %v and not after %v", next, r.now, by)
	}
}

func nextOfNothing(r *run) {
	if got := r.claim(queue.ClaimOptions{}); !got.Next.IsZero() {
		r.Errorf("Next of a queue that was never used is %v, want zero", got.Next)
	}
	r.put(r.message())
	r.settle(all(r.one(), queue.Delivered))
	if got := r.claim(queue.ClaimOptions{}); !got.Next.IsZero() {
		r.Errorf("Next of a queue that is empty again is %v, want zero", got.Next)
	}
}

func nextOfMore(r *run) {
	for i := range 10 {
		r.put(r.message(fmt.Sprintf("a@d%d.example", i/5)))
	}
	for _, want := range []queue.ClaimOptions{
		{Max: 1},
		{PerDestination: 1},
		{PerTenant: 1},
		{Destinations: []string{"d1.example"}, PerDestination: 1},
		{Except: []string{"d1.example"}, Max: 1},
	} {
		if next := r.claim(want).Next; next.IsZero() || next.After(r.now) {
			r.Errorf("Next after a claim of %+v is %v, want no time after %v: there is more", want, next, r.now)
		}
	}
}

func nextOfExcepted(r *run) {
	for i := range 2 {
		m := r.message("a@d0.example")
		m.Tenant = fmt.Sprintf("t%d", i)
		if i == 1 {
			m.NotBefore = r.now.Add(time.Hour)
		}
		r.put(m)
	}
	r.wantNext(queue.ClaimOptions{ExceptTenants: []string{"t0"}}, r.now.Add(time.Hour))
	r.wantNext(queue.ClaimOptions{ExceptTenants: []string{"t0"}, Destinations: []string{"d0.example"}}, r.now.Add(time.Hour))
}

func nextOfWaiting(r *run) {
	for i, wait := range []time.Duration{time.Hour, 2 * time.Minute, 2 * time.Hour} {
		m := r.message(fmt.Sprintf("a@d%d.example", i))
		m.NotBefore = r.now.Add(wait)
		r.put(m)
	}
	start := r.now
	r.wantNext(queue.ClaimOptions{}, start.Add(2*time.Minute))
	r.wantNext(queue.ClaimOptions{Except: []string{"d1.example"}}, start.Add(time.Hour))
	r.wantNext(queue.ClaimOptions{Destinations: []string{"d2.example"}}, start.Add(2*time.Hour))
	r.advance(2 * time.Minute)
	r.settle(deferred(r.one(), start.Add(30*time.Minute)))
	r.wantNext(queue.ClaimOptions{}, start.Add(30*time.Minute))
}

func nextOfLeases(r *run) {
	r.put(r.message("a@one.example"))
	r.put(r.message("a@two.example"))
	start := r.now
	first := r.claim(queue.ClaimOptions{Max: 1, Lease: time.Minute}).Deliveries
	r.wantNext(queue.ClaimOptions{Lease: time.Hour}, start.Add(time.Minute))
	_, err := r.extend(first[0].Lease, 30*time.Minute)
	r.check("Extend", err)
	r.wantNext(queue.ClaimOptions{}, start.Add(30*time.Minute))
	r.settle(all(first[0], queue.Delivered))
	r.wantNext(queue.ClaimOptions{}, start.Add(time.Hour))
}

func nextOfPostponed(r *run) {
	r.put(r.message("a@one.example"))
	start := r.now
	r.postpone("one.example", start.Add(time.Hour))
	r.wantNext(queue.ClaimOptions{}, start.Add(time.Hour))
	m := r.message("a@two.example")
	m.NotBefore = start.Add(10 * time.Minute)
	r.put(m)
	r.wantNext(queue.ClaimOptions{}, start.Add(10*time.Minute))
}
