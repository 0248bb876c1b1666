package index_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// TestClaimInPieces makes the same claims of the same deliveries, whole and in pieces of
// one entry: they find the same, in the same order.
func TestClaimInPieces(t *testing.T) {
	now := time.Unix(1e9, 0)
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		names, tenants := 40, 25
		if seed%2 == 0 {
			names, tenants = 3, 60 // many tenants each
		}
		name := func() string { return fmt.Sprintf("d%d.example", rng.IntN(names)) }
		tenant := func() string { return fmt.Sprint(rng.IntN(tenants)) }
		whole, pieces := index.New(), index.New()
		both := func(f func(x *index.Index)) { f(whole); f(pieces) }
		for n := range 200 {
			e := index.Entry{Message: index.Number(uint64(n/3+1), 3), Destination: name(), Tenant: tenant(), Priority: rng.IntN(3),
				AtOnce: rng.IntN(3) > 0, Since: index.Micros(now) + rng.Int64N(100) - 60}
			both(func(x *index.Index) { x.Set(&e) })
		}
		for range 5 {
			p := index.Postponement{Name: name(), Until: now.Add(time.Duration(rng.IntN(20)) * time.Microsecond)}
			parked := name()
			both(func(x *index.Index) {
				x.Postpone(p)
				x.Park("me", parked, p.Until)
			})
		}
		for round := range 8 {
			b := index.Bounds{Max: 1 + rng.IntN(60), PerDestination: rng.IntN(4), PerTenant: rng.IntN(6)}
			for range rng.IntN(3) * rng.IntN(10) {
				b.Destinations = append(b.Destinations, name())
			}
			for range rng.IntN(2) * rng.IntN(10) {
				b.Except = append(b.Except, name())
			}
			for range rng.IntN(2) * rng.IntN(10) {
				b.ExceptTenants = append(b.ExceptTenants, tenant())
			}
			if rng.IntN(2) == 0 {
				b.Owner = "me"
			}
			lease := func(x *index.Index, list *[]index.Slot) func(index.Slot) {
				return func(s index.Slot) {
					*list = append(*list, s)
					x.Lease(s, uint64(round+1), now.Add(time.Duration(1+len(*list)%7)*time.Microsecond), nil)
				}
			}
			var a, c []index.Slot
			nextA, okA := whole.Claim(now, b, lease(whole, &a))
			claim := pieces.NewClaim(now, b)
			for n := 1; claim.Some(1, lease(pieces, &c)); n++ {
				if n > 5000 {
					t.Fatalf("seed %d, round %d: the claim does not end", seed, round)
				}
			}
			nextB, okB := claim.Next()
			for pieces.Loose(1) {
			}
			if !slices.Equal(a, c) || !nextA.Equal(nextB) || okA != okB {
				t.Fatalf("seed %d, round %d, %+v:\nwhole %v, next %v %t;\npieces %v, next %v %t",
					seed, round, b, a, nextA, okA, c, nextB, okB)
			}
			now = now.Add(time.Duration(rng.IntN(4)) * time.Microsecond)
		}
	}
}

// TestClaimByName claims what is for some destinations by their names, and leaving out all
// others: that finds the same.
func TestClaimByName(t *testing.T) {
	for seed := range uint64(60) {
		now := time.Unix(1e9, 0)
		rng := rand.New(rand.NewPCG(seed, 3))
		named, left := index.New(), index.New()
		both := func(f func(x *index.Index)) { f(named); f(left) }
		all := []string{"a.example", "b.example", "c.example", "d.example"}
		for n := range 300 {
			e := index.Entry{Message: index.Number(uint64(n+1), 1), Destination: all[rng.IntN(4)], Tenant: fmt.Sprint(rng.IntN(50)), Priority: rng.IntN(2),
				AtOnce: rng.IntN(3) > 0, Since: index.Micros(now) + rng.Int64N(100) - 60}
			both(func(x *index.Index) { x.Set(&e) })
		}
		for round := range 12 {
			if rng.IntN(3) == 0 {
				p := index.Postponement{Name: all[rng.IntN(4)], Until: now.Add(time.Duration(rng.IntN(30)-10) * time.Microsecond)}
				both(func(x *index.Index) { x.At(now); x.Postpone(p) })
			}
			rng.Shuffle(4, func(i, j int) { all[i], all[j] = all[j], all[i] })
			some := 1 + rng.IntN(3)
			b := index.Bounds{Max: 1 + rng.IntN(40), PerDestination: rng.IntN(20), PerTenant: rng.IntN(3)}
			for range rng.IntN(2) * rng.IntN(10) {
				b.ExceptTenants = append(b.ExceptTenants, fmt.Sprint(rng.IntN(50)))
			}
			claim := func(x *index.Index) (list []index.Slot, next time.Time, ok bool) {
				next, ok = x.Claim(now, b, func(s index.Slot) {
					list = append(list, s)
					x.Lease(s, uint64(round+1), now.Add(time.Duration(1+len(list)%9)*time.Microsecond), nil)
				})
				return list, next, ok
			}
			b.Destinations = all[:some]
			a, nextA, okA := claim(named)
			b.Destinations, b.Except = nil, all[some:]
			c, nextC, okC := claim(left)
			if !slices.Equal(a, c) || !nextA.Equal(nextC) || okA != okC {
				t.Fatalf("seed %d, round %d, %v of %v, %+v:\nby name %v, next %v %t;\nleaving out %v, next %v %t",
					seed, round, some, all, b, a, nextA, okA, c, nextC, okC)
			}
			now = now.Add(time.Duration(rng.IntN(6)) * time.Microsecond)
			for _, s := range a {
				if rng.IntN(3) == 0 {
					both(func(x *index.Index) { x.Remove(s) })
				}
			}
		}
	}
}

// TestClaimOneOfManyTenants claims a destination by name for which the mail of very many
// tenants waits: a claim costs what it returns.
func TestClaimOneOfManyTenants(t *testing.T) {
	const many = 5_000
	now := time.Unix(1e9, 0)
	x := index.New()
	for n := range many {
		x.Set(&index.Entry{Message: index.Number(uint64(n+1), 1), Destination: "big.example", Tenant: fmt.Sprint(n), AtOnce: n%2 == 0,
			Since: index.Micros(now.Add(time.Hour))})
	}
	for _, of := range []struct {
		bounds index.Bounds
		want   int
	}{
		{index.Bounds{Max: 10, PerTenant: 1, Destinations: []string{"big.example"}}, 10},
		{index.Bounds{Max: 10, PerDestination: 5, Destinations: []string{"big.example"}}, 5},
	} {
		before := x.Work()
		for range 10 {
			got := 0
			x.Claim(now, of.bounds, func(s index.Slot) {
				got++
				x.Lease(s, 1, now.Add(time.Hour), nil)
			})
			if got != of.want {
				t.Fatalf("a claim returned %d, want %d", got, of.want)
			}
		}
		if n := x.Work() - before; n > 2000 {
			t.Errorf("10 claims of %d looked at %d entries", of.want, n)
		}
	}
}

// TestClaimBesideAll does everything else between the pieces of claims: nothing that is
// due is lost, and nothing is handed out twice.
func TestClaimBesideAll(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 2))
		now := time.Unix(1e9, 0)
		x := index.New()
		names := 30
		if seed%2 == 0 {
			names = 2
		}
		name := func() string { return fmt.Sprintf("d%d.example", rng.IntN(names)) }
		there := map[index.Slot]uint64{}
		leased := map[index.Slot]bool{}
		messages := uint64(0)
		change := func() {
			switch rng.IntN(8) {
			case 0, 1:
				messages++
				e := index.Entry{Message: index.Number(messages, 1), Destination: name(), Tenant: fmt.Sprint(rng.IntN(60)), AtOnce: rng.IntN(2) == 0}
				there[x.Set(&e)] = e.Message
			case 2:
				for s := range there {
					x.Remove(s)
					delete(there, s)
					delete(leased, s)
					break
				}
			case 3:
				x.Postpone(index.Postponement{Name: name(), Until: now.Add(time.Duration(rng.IntN(3)-1) * time.Second)})
			case 4:
				x.Postpone(index.Postponement{Name: name()})
			case 5:
				x.Park("me", name(), now.Add(time.Second))
			case 6:
				x.Unpark("me", name())
			case 7:
				for s := range leased {
					x.Unlease(s)
					delete(leased, s)
					break
				}
			}
		}
		for range 100 {
			change()
		}
		claim := func(b index.Bounds, between func()) {
			c := x.NewClaim(now, b)
			for c.Some(1+rng.IntN(3), func(s index.Slot) {
				if leased[s] {
					t.Fatalf("seed %d: a delivery is claimed twice", seed)
				}
				leased[s] = true
				x.Lease(s, 1, now.Add(time.Hour), nil)
			}) {
				between()
			}
			for x.Loose(2) {
			}
		}
		for range 10 {
			b := index.Bounds{Max: 1 + rng.IntN(30), PerDestination: rng.IntN(3), PerTenant: rng.IntN(3)}
			for range rng.IntN(2) * rng.IntN(10) {
				b.Destinations = append(b.Destinations, name())
			}
			for range rng.IntN(2) * rng.IntN(10) {
				b.Except = append(b.Except, name())
			}
			if rng.IntN(2) == 0 {
				b.Owner = "me"
			}
			claim(b, change)
		}
		now = now.Add(time.Minute) // all postponements are over
		claim(index.Bounds{Max: 1 << 20, Owner: "me"}, func() {})
		if len(leased) != len(there) {
			t.Fatalf("seed %d: %d of %d deliveries were claimed in the end", seed, len(leased), len(there))
		}
		for s, number := range there {
			if !x.Is(s, number) {
				t.Fatalf("seed %d: slot %d is not where it was", seed, s)
			}
			x.Remove(s)
		}
		if names, _ := x.Destinations(0, 1<<20); len(names) > 30 || x.Len() != 0 {
			t.Fatalf("seed %d: %d destinations and %d deliveries are left", seed, len(names), x.Len())
		}
	}
}

// TestArrival puts a wide message in the index some deliveries at a time.
func TestArrival(t *testing.T) {
	const many = 3000
	now := time.Unix(1e9, 0)
	x := index.New()
	number := index.Number(7, many)
	claim := func() (n int) {
		x.Claim(now, index.Bounds{Max: 1 << 20}, func(s index.Slot) { n++; x.Lease(s, 1, now.Add(time.Hour), nil) })
		return n
	}
	a := x.Arrive(number)
	for n := range many {
		a.Add(index.Entry{Message: number, Destination: fmt.Sprintf("d%d.example", n), AtOnce: true, Size: 10, Home: uint16(n % 2)})
		if n%100 > 0 {
			continue
		}
		slots, _ := x.Slots(nil, number, 0, many)
		list, _, _ := x.List(nil, 0, 10, "")
		if _, some := x.Some(number); some || x.Has(number) || len(slots)+len(list)+claim()+x.Messages()+int(x.Bytes()) > 0 {
			t.Fatalf("the message is there when %d deliveries are", n)
		}
	}
	a.Appear()
	slots, _ := x.Slots(nil, number, 0, 1<<20)
	list, _, _ := x.List(nil, 0, 10, "")
	if !x.Has(number) || len(slots) != many || len(list) != 1 || x.Messages() != 1 || x.Bytes() != 10 {
		t.Fatalf("when all are there the message is not: %d deliveries, %d listed, %d messages, %d bytes", len(slots), len(list), x.Messages(), x.Bytes())
	}
	if claim() > 0 {
		t.Error("deliveries are claimed before their turn")
	}
	x.SetFlag(slots[0], index.Held, true)
	got := 0
	for more := true; more; {
		more = a.Queue(100)
		got += claim()
	}
	if got != many-1 {
		t.Errorf("%d are claimed, want all but the one on hold: %d", got, many-1)
	}
	for i, s := range slots {
		if last := x.Remove(s); last != (i == many-1) {
			t.Fatalf("removing the %d. of %d: last is %t", i+1, many, last)
		}
	}
	if x.Messages() != 0 || x.Bytes() != 0 || x.Refs(0) != (index.Refs{}) || x.Refs(1) != (index.Refs{}) {
		t.Errorf("something is left: %d messages, %d bytes, %+v, %+v", x.Messages(), x.Bytes(), x.Refs(0), x.Refs(1))
	}
}

// TestSlotsInPieces looks for the deliveries of a wide message while others of it leave:
// each that stays is found once.
func TestSlotsInPieces(t *testing.T) {
	const many = 5000
	x := index.New()
	number := index.Number(1, many)
	all := make([]index.Slot, many)
	for n := range all {
		all[n] = x.Set(&index.Entry{Message: number, Destination: fmt.Sprintf("d%d.example", n), AtOnce: true})
	}
	rng := rand.New(rand.NewPCG(1, 1))
	rng.Shuffle(many, func(i, j int) { all[i], all[j] = all[j], all[i] })
	gone := all[many/2:]
	var found []index.Slot
	for from, more := uint32(0), true; more; more = from > 0 {
		found, from = x.Slots(found, number, from, 10)
		for range min(len(gone), 5) {
			x.Remove(gone[0])
			gone = gone[1:]
		}
	}
	seen := map[index.Slot]int{}
	for _, s := range found {
		seen[s]++
	}
	for _, s := range all[:many/2] {
		if seen[s] != 1 {
			t.Fatalf("a delivery that stays is found %d times", seen[s])
		}
	}
}
