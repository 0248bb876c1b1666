package index

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func agent(n int) string { return fmt.Sprint("agent", n) }

// seen is which destinations a claim of an owner sees.
func (x *Index) seen(now time.Time, owner string) (list []string) {
	var slots []Slot
	x.Claim(now, Bounds{Max: 1000, Owner: owner}, func(s Slot) {
		list = append(list, x.Get(s).Destination)
		slots = append(slots, s)
		x.Lease(s, 1, now.Add(time.Hour), nil)
	})
	for _, s := range slots {
		x.Unlease(s)
	}
	return list
}

// TestOneOwnerTooMany has one owner more than there can be park a destination: the
// postponements that end first make room, until an owner has none.
func TestOneOwnerTooMany(t *testing.T) {
	for name, c := range map[string]struct {
		first []time.Duration // when those of the first owner end
		rest  []time.Duration // and those of each other one
		ended int             // of the first owner's
	}{
		"the first owner's ends first":               {[]time.Duration{time.Minute}, []time.Duration{time.Hour}, 1},
		"both of the first owner's end first":        {[]time.Duration{time.Minute, 2 * time.Minute}, []time.Duration{time.Hour}, 2},
		"one of the first owner's ends after others": {[]time.Duration{time.Minute, 2 * time.Hour}, []time.Duration{time.Hour}, 1},
		"others end first":                           {[]time.Duration{2 * time.Hour}, []time.Duration{time.Hour}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			x := New()
			x.At(start)
			destination := func(owner, n int) string { return fmt.Sprintf("d%d.%d", owner, n) }
			for o := range maxOwners {
				list := c.rest
				if o == 0 {
					list = c.first
				}
				for n, after := range list {
					x.set(1000*o+n+1, destination(o, n), "", start.Add(-time.Hour))
					if !x.Admit(agent(o), 1) {
						t.Fatalf("owner %d is not admitted", o)
					}
					x.Park(agent(o), destination(o, n), start.Add(after))
				}
			}
			if !x.Admit(agent(5), 0) {
				t.Error("who is there is not admitted")
			}
			pieces := 0
			for !x.Admit("new", 1) {
				if pieces++; pieces > 2 {
					t.Fatal("nobody makes room")
				}
			}
			if len(x.parking.numbers) == maxOwners {
				t.Error("an owner is admitted, and there is no room for one")
			}
			x.Park("new", destination(7, 0), start.Add(time.Minute))
			if err := x.verify(); err != nil {
				t.Fatal(err)
			}
			seen := x.seen(start, agent(0))
			for n := range c.first {
				if got := slices.Contains(seen, destination(0, n)); got != (n < c.ended) {
					t.Errorf("the first owner sees destination %d: %t", n, got)
				}
			}
			if seen := x.seen(start, "new"); slices.Contains(seen, destination(7, 0)) || !slices.Contains(seen, destination(8, 0)) {
				t.Errorf("the new owner sees %v", seen)
			}
			if len(x.parking.numbers) > maxOwners {
				t.Errorf("there are %d owners", len(x.parking.numbers))
			}
		})
	}
	t.Run("who has not been admitted", func(t *testing.T) {
		x := New()
		for o := range maxOwners + 3 {
			x.Park(agent(o), "a", start.Add(time.Duration(o+1)*time.Hour))
		}
		if err := x.verify(); err != nil || len(x.parking.numbers) != maxOwners {
			t.Errorf("there are %d owners: %v", len(x.parking.numbers), err)
		}
		x.set(1, "a", "", start)
		for o := range maxOwners + 3 {
			if sees := x.seen(start, agent(o)) != nil; sees != (o < 3) {
				t.Errorf("owner %d sees it: %t", o, sees)
			}
		}
	})
	t.Run("admitted in the number asked for", func(t *testing.T) {
		x := New()
		for o := range maxOwners {
			for n := range 10 {
				x.Park(agent(o), fmt.Sprint(n), start.Add(time.Hour))
			}
		}
		pieces := 1
		for ; !x.Admit("new", 3); pieces++ {
			ended := 0
			for _, o := range x.parking.owners {
				if o != nil {
					ended += 10 - len(o.byDestination)
				}
			}
			if ended != 3*pieces {
				t.Fatalf("%d are ended in %d pieces of 3", ended, pieces)
			}
		}
		if pieces < 4 {
			t.Errorf("one of 10 has none after %d pieces of 3", pieces)
		}
	})
}

// TestParkedTwice parks a destination again, for longer and for less.
func TestParkedTwice(t *testing.T) {
	for _, second := range []int{5, 20} {
		x := New()
		x.set(1, "a", "", start)
		x.Park("me", "b", after(7))
		x.Park("me", "a", after(10))
		x.Park("me", "c", after(15))
		x.Park("me", "a", after(second))
		for n := range 30 {
			if seen := x.seen(after(n), "me") != nil; seen != (n >= second) {
				t.Errorf("parked until %d: seen at %d: %t", second, n, seen)
			}
		}
		if err := x.verify(); err != nil {
			t.Error(err)
		}
		if x.parking.numbers["me"] != 0 || len(x.parking.numbers) > 0 || len(x.names) != 1 {
			t.Error("an owner or a destination is not forgotten")
		}
	}
}

// TestUnparkWhatIsNot lifts postponements that are not there.
func TestUnparkWhatIsNot(t *testing.T) {
	x := New()
	x.Unpark("me", "a")
	if x.UnparkAll("me", 1) {
		t.Error("there are more of nobody's")
	}
	x.Park("me", "b", after(5))
	x.set(1, "a", "", start)
	x.Unpark("me", "a")
	x.Unpark("you", "b")
	x.Unpark("me", "unknown")
	x.Postpone(Postponement{Name: "c", Until: after(5)})
	x.Unpark("me", "c")
	if err := x.verify(); err != nil || x.dest(x.names["b"]).parkedBy == 0 {
		t.Errorf("a destination that is parked is not: %v", err)
	}
	if x.UnparkAll("me", 1); x.verify() != nil {
		t.Error(x.verify())
	}
}

// TestParkedWhileItIsClaimed has an owner park a destination between two pieces of a claim
// of its own: the rest of the claim has nothing for it.
func TestParkedWhileItIsClaimed(t *testing.T) {
	for _, lanes := range []int{2, 3 * fewLanes} {
		for _, b := range []Bounds{{}, {Destinations: []string{"a", "b"}}} {
			for pause := range 12 {
				x := New()
				x.At(start)
				for n := range lanes {
					x.set(2*n+1, "a", fmt.Sprint(n), start)
					x.set(2*n+2, "b", fmt.Sprint(n), start)
				}
				b.Max, b.Owner = 1000, "me"
				c := x.NewClaim(start, b)
				parked, n, others := false, 0, 0
				for c.Some(1, func(s Slot) {
					name := x.Get(s).Destination
					if name == "a" && parked {
						t.Fatalf("%d lanes, by name %t: what was parked after %d pieces is claimed", lanes, b.Destinations != nil, pause)
					}
					if name == "b" {
						others++
					}
					x.Lease(s, 1, start.Add(time.Hour), nil)
				}) {
					if n == pause {
						x.Park("me", "a", after(5))
						parked = true
					}
					n++
				}
				if others != lanes {
					t.Errorf("%d lanes, by name %t: %d of another destination are claimed", lanes, b.Destinations != nil, others)
				}
				if err := x.verify(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
