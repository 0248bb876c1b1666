package index_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// TestWideMessage follows a message to very many destinations through its life:
// what it costs to find one of its deliveries must not grow with their number.
func TestWideMessage(t *testing.T) {
	const (
		destinations = 10_000
		most         = 100 // steps a delivery, over the whole of its life
	)
	now := time.Unix(1e9, 0)
	x := index.New()
	number := index.Number(1, destinations)
	name := func(n int) string { return fmt.Sprintf("d%d.example", n) }
	for n := range destinations {
		x.Set(&index.Entry{Message: number, Destination: name(n), AtOnce: true, Since: 1, Size: 4096})
	}
	token := uint64(0)
	for round := range 2 {
		var taken []index.Slot
		for left := destinations; left > 0; left -= 1000 {
			taken = taken[:0]
			x.Claim(now, index.Bounds{Max: 1000, PerDestination: 1}, func(s index.Slot) {
				token++
				x.Lease(s, token, now.Add(time.Hour), nil)
				taken = append(taken, s)
			})
			if len(taken) != 1000 {
				t.Fatalf("round %d: a claim returned %d deliveries, want 1000", round, len(taken))
			}
			for _, s := range taken {
				e := x.Get(s)
				if found, ok := x.Find(number, e.Destination); !ok || found != s {
					t.Fatalf("%s is not found where it is", e.Destination)
				}
				if _, ok := x.Some(number); !ok {
					t.Fatal("the message is not found by its number")
				}
				if round == 0 { // deferred
					e.AtOnce, e.Since = false, index.Micros(now)
					x.Set(&e)
					x.Unlease(s)
					continue
				}
				x.Remove(s)
			}
			if round == 0 {
				now = now.Add(-time.Microsecond) // what was deferred is not due again
			}
		}
		now = now.Add(time.Hour)
	}
	if x.Len() != 0 || x.Messages() != 0 {
		t.Errorf("%d deliveries and %d messages are left", x.Len(), x.Messages())
	}
	if x.Steps() > most*destinations {
		t.Errorf("%d steps for %d deliveries, want at most %d each", x.Steps(), destinations, most)
	}
	t.Logf("%.1f steps a delivery", float64(x.Steps())/destinations)
}

// TestClaimAmongMany claims from very many destinations and from one with very
// many deliveries: a claim must cost what it returns and what its options name.
func TestClaimAmongMany(t *testing.T) {
	const many = 10_000
	name := func(n int) string { return fmt.Sprintf("d%d.example", n) }
	var some []string
	for n := range 1000 {
		some = append(some, name(n*9))
	}
	x := index.New()
	now := time.Unix(1e9, 0)
	set := func(n int, destination, tenant string) {
		x.Set(&index.Entry{Message: index.Number(uint64(n+1), 1), Destination: destination, Tenant: tenant,
			AtOnce: true, Since: int64(n)})
	}
	for n := range many {
		set(n, "busy.example", "a")
		set(many+n, name(n), "a")
	}
	set(2*many, "last.example", "b")
	for n := range 10 {
		set(2*many+1+n, name(n), "b")
	}
	for _, c := range []struct {
		name   string
		bounds index.Bounds
		want   int
		most   int // steps
	}{
		{"no bound", index.Bounds{Max: 100}, 100, 1500},
		{"one of each destination", index.Bounds{Max: 100, PerDestination: 1}, 100, 1500},
		{"ten of each tenant", index.Bounds{Max: 100, PerTenant: 10}, 20, 1500},
		{"a busy destination left out", index.Bounds{Max: 100, Except: []string{"busy.example"}}, 100, 1500},
		{"a thousand left out", index.Bounds{Max: 100, Except: some}, 100, 4000},
		{"the busy destination alone", index.Bounds{Max: 100, Destinations: []string{"busy.example"}}, 100, 1500},
		{"ten of the busy destination", index.Bounds{Max: 100, PerDestination: 10, Destinations: []string{"busy.example"}}, 10, 1500},
		{"a thousand alone", index.Bounds{Max: 100, Destinations: some}, 100, 6000},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := x.Steps()
			got := 0
			var taken []index.Slot
			next, ok := x.Claim(now, c.bounds, func(s index.Slot) {
				got++
				taken = append(taken, s)
				x.Lease(s, uint64(got), now.Add(time.Hour), nil)
			})
			if got != c.want || !ok || !next.Equal(now) {
				t.Errorf("the claim returned %d deliveries and more at %v, want %d and more now", got, next, c.want)
			}
			if n := x.Steps() - before; n > c.most {
				t.Errorf("the claim took %d steps, want at most %d", n, c.most)
			}
			for _, s := range taken {
				x.Unlease(s)
			}
		})
	}
	t.Run("a postponed destination with many deliveries", func(t *testing.T) {
		x := index.New()
		for n := range many {
			x.Set(&index.Entry{Message: index.Number(uint64(n+1), 1), Destination: "busy.example", AtOnce: true, Since: int64(n)})
		}
		before := x.Steps()
		for n := range 100 {
			until := now.Add(time.Duration(n+1) * time.Minute)
			x.Postpone(index.Postponement{Name: "busy.example", Until: until})
			next, ok := x.Claim(now, index.Bounds{Max: 100}, func(index.Slot) { t.Fatal("a postponed delivery was claimed") })
			if !ok || !next.Equal(until) {
				t.Fatalf("the next claim is at %v, %t; want %v", next, ok, until)
			}
		}
		if n := x.Steps() - before; n > 1000 {
			t.Errorf("100 postponements and claims took %d steps", n)
		}
	})
}

// TestSweep forgets postponements that are over, and no others.
func TestSweep(t *testing.T) {
	x := index.New()
	now := time.Unix(1e9, 0)
	for n, name := range []string{"over.example", "waited-for.example", "not-yet.example"} {
		x.Postpone(index.Postponement{Name: name, Until: now.Add(time.Duration(n-1) * time.Nanosecond), Record: index.Place{Segment: 1}})
	}
	x.Postpone(index.Postponement{Name: "not-yet.example", Until: now.Add(time.Hour), Record: index.Place{Segment: 1}})
	x.Set(&index.Entry{Message: index.Number(1, 1), Destination: "waited-for.example", AtOnce: true})
	x.Claim(now, index.Bounds{Max: 1}, func(index.Slot) {})
	sweep(x)
	for name, kept := range map[string]bool{"over.example": false, "waited-for.example": true, "not-yet.example": true} {
		if until, _ := x.Postponed(name); until.IsZero() == kept {
			t.Errorf("the postponement of %s is kept: %t, want %t", name, !kept, kept)
		}
	}
	if n := x.Refs(1).Destinations; n != 2 {
		t.Errorf("%d records of postponements are needed, want 2", n)
	}
}

// TestPostponementByAClockThatWentBack: what was postponed after the clock had gone
// back is not over because an earlier time that was given was later.
func TestPostponementByAClockThatWentBack(t *testing.T) {
	x := index.New()
	late := time.Unix(1e9, 0)
	early := late.Add(-time.Hour)
	postpone := func(name string, until time.Time) {
		x.Postpone(index.Postponement{Name: name, Until: until, Record: index.Place{Segment: 1}})
	}
	kept := func(name string) bool {
		until, _ := x.Postponed(name)
		return !until.IsZero()
	}
	x.Claim(late, index.Bounds{Max: 1}, func(index.Slot) {})
	x.At(early)
	postpone("a.example", late)
	sweep(x)
	if !kept("a.example") {
		t.Error("a postponement is forgotten before any time was given that is not before its end")
	}
	x.At(late)
	sweep(x)
	if kept("a.example") {
		t.Error("a postponement stays though its time has come since it was made")
	}
}

func sweep(x *index.Index) {
	for from, more := 0, true; more; more = from > 0 {
		from = x.Sweep(from, 2, func(*index.Postponement) bool { return false })
	}
}
