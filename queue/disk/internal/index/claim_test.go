package index

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// start is a time.
var start = time.Unix(1e9, 0).UTC()

// TestClaimLeavesOutWhatComesMeanwhile names destinations and tenants that a claim is
// not to see, and that are unknown when it begins: if they come between two pieces of
// it, it does not see them either.
func TestClaimLeavesOutWhatComesMeanwhile(t *testing.T) {
	for name, b := range map[string]Bounds{
		"destination":                       {Max: 10, Except: []string{"b.example"}},
		"destination beside one that waits": {Max: 10, Except: []string{"c.example", "b.example"}},
		"destination that is asked for":     {Max: 10, Except: []string{"b.example"}, Destinations: []string{"a.example", "b.example"}},
		"tenant":                            {Max: 10, ExceptTenants: []string{"b"}},
		"tenant beside one that waits":      {Max: 10, ExceptTenants: []string{"c", "b"}},
		"tenant of one destination":         {Max: 10, ExceptTenants: []string{"b"}, Destinations: []string{"a.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			for pause := range 12 {
				x := New()
				x.Set(&Entry{Message: Number(1, 1), Destination: "a.example", Tenant: "a", AtOnce: true, Since: 5})
				x.Set(&Entry{Message: Number(2, 1), Destination: "a.example", Tenant: "a", AtOnce: true, Since: 6})
				x.Set(&Entry{Message: Number(3, 1), Destination: "c.example", Tenant: "c", AtOnce: true, Since: 7})
				c := x.NewClaim(start, b)
				n := 0
				for c.Some(1, func(s Slot) {
					if e := x.Get(s); e.Destination == "b.example" && len(b.Except) > 0 || e.Tenant == "b" && len(b.ExceptTenants) > 0 {
						t.Fatalf("what came after %d pieces is claimed: %+v", pause, e)
					}
					x.Lease(s, 1, start.Add(time.Hour), nil)
				}) {
					if n == pause {
						x.Set(&Entry{Message: Number(4, 1), Destination: "b.example", Tenant: "a", AtOnce: true})
						x.Set(&Entry{Message: Number(5, 1), Destination: "a.example", Tenant: "b", AtOnce: true})
					}
					n++
				}
				if err := x.verify(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestClaimAmongMuchThatIsOver claims in the smallest pieces where much has become due,
// and nothing else happens: it finds all of it, and knows that this is all.
func TestClaimAmongMuchThatIsOver(t *testing.T) {
	for _, n := range []struct{ lanes, leases, postponed, parked int }{
		{1, 0, 0, 0}, {2, 0, 0, 0}, {0, 1, 0, 0}, {0, 5, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}, {0, 0, 0, 20}, {9, 9, 9, 9}, {30, 1, 1, 1}, {1, 30, 1, 1},
	} {
		x := New()
		x.At(start)
		number := 0
		each := func(most int, do func(name string)) {
			for range most {
				number++
				do(fmt.Sprintf("d%d.example", number))
			}
		}
		each(n.lanes, func(name string) { x.set(number, name, "", after(5)) })
		each(n.leases, func(name string) { x.Lease(x.set(number, name, "", start), 1, after(5), nil) })
		each(n.postponed, func(name string) {
			x.set(number, name, "", start)
			x.Postpone(Postponement{Name: name, Until: after(5)})
		})
		each(n.parked, func(name string) {
			x.set(number, name, "", start)
			x.Park("me", name, after(5))
		})
		x.set(1000, "later.example", "", after(50))
		c := x.NewClaim(after(5), Bounds{Max: 1000, Owner: "me"})
		got := 0
		for c.Some(1, func(s Slot) { got++; x.Lease(s, 1, after(100), nil) }) {
		}
		next, ok := c.Next()
		if got != number || !ok || !next.Equal(after(50)) {
			t.Errorf("%+v: %d are claimed and the next is at %v, want %d and %v", n, got, next, number, after(50))
		}
	}
}

// TestClaimEndsWhateverBecomesDue has more become due between the pieces of a claim than
// one of them finds: it comes to an end, and says that there is more.
func TestClaimEndsWhateverBecomesDue(t *testing.T) {
	for _, lanes := range []int{1, 10, 100} {
		x := New()
		for n := range lanes {
			x.Set(&Entry{Message: Number(uint64(n+1), 1), Destination: fmt.Sprintf("d%d.example", n), AtOnce: true})
		}
		c := x.NewClaim(start, Bounds{Max: 1000})
		pieces, got := 0, 0
		for more := true; more; pieces++ {
			for n := range 5 {
				x.Park("me", fmt.Sprintf("p%d.%d", pieces, n), start)
			}
			if pieces > 10*lanes+100 {
				t.Fatalf("the claim of %d does not end", lanes)
			}
			more = c.Some(2, func(s Slot) { got++; x.Lease(s, 1, after(100), nil) })
		}
		if want := max(1, 3*lanes/2); pieces != want {
			t.Errorf("of %d lanes: a claim in %d pieces, want %d", lanes, pieces, want)
		}
		if next, ok := c.Next(); !ok || !next.Equal(start) {
			t.Errorf("of %d lanes: the next claim is at %v, %t, want it now", lanes, next, ok)
		}
		if got != lanes {
			t.Errorf("%d are claimed, want those of %d lanes", got, lanes)
		}
	}
}

// TestPiecesOfAClaim goes on with claims for one entry at a time: no piece does more.
func TestPiecesOfAClaim(t *testing.T) {
	const many = 100
	name := func(n int) string { return fmt.Sprintf("d%d.example", n) }
	var names, unknown []string
	for n := range many {
		names = append(names, name(n))
		unknown = append(unknown, "un"+name(n))
	}
	for what, c := range map[string]struct {
		set    func(x *Index, n int)
		bounds Bounds
		least  int
	}{
		"that names destinations and tenants which are not there": {
			func(*Index, int) {},
			Bounds{Max: 1, Except: unknown, ExceptTenants: unknown, Destinations: unknown},
			3 * many,
		},
		"of all that is due": {
			func(x *Index, n int) {
				x.At(after(-5))
				x.set(n+1, name(n), "", start)
			},
			Bounds{Max: many},
			2 * many, // they have become due
		},
		"of all that is due, and something else is due later": {
			func(x *Index, n int) {
				x.Set(&Entry{Message: Number(uint64(n+1), 1), Destination: name(n), AtOnce: true})
			},
			Bounds{Max: many},
			many,
		},
		"that steps over destinations and puts them back": {
			func(x *Index, n int) {
				x.Set(&Entry{Message: Number(uint64(n+1), 1), Destination: name(n), AtOnce: true})
			},
			Bounds{Max: many, Except: names},
			3 * many,
		},
		"that steps over tenants and puts them back": {
			func(x *Index, n int) {
				x.Set(&Entry{Message: Number(uint64(n+1), 1), Destination: "a", Tenant: name(n), AtOnce: true})
			},
			Bounds{Max: many, ExceptTenants: names},
			3 * many,
		},
		"of destinations, for which something waits": {
			func(x *Index, n int) { x.set(n+1, name(n), "", after(9)) },
			Bounds{Max: many, Destinations: names},
			5 * many, // looked up, and they and their lanes looked at twice
		},
		"of destinations, for which nothing is admitted": {
			func(x *Index, n int) {
				x.set(n+1, name(n), "", after(9))
				x.Park("me", name(n), after(9))
			},
			Bounds{Max: many, Destinations: names, Owner: "me"},
			3 * many,
		},
		"of destinations, of all that is due": {
			func(x *Index, n int) {
				x.Set(&Entry{Message: Number(uint64(n+1), 1), Destination: name(n), AtOnce: true})
			},
			Bounds{Max: many, Destinations: names},
			7 * many,
		},
		"of a destination of very many tenants, of all that is due": {
			func(x *Index, n int) {
				x.Set(&Entry{Message: Number(uint64(n+1), 1), Destination: "a", Tenant: name(n), AtOnce: true})
			},
			Bounds{Max: many, Destinations: []string{"a"}},
			2 * many,
		},
		"of a destination of very many tenants, and steps over them": {
			func(x *Index, n int) {
				x.Set(&Entry{Message: Number(uint64(n+1), 1), Destination: "a", Tenant: name(n), AtOnce: true})
			},
			Bounds{Max: many, Destinations: []string{"a"}, ExceptTenants: names},
			3 * many,
		},
	} {
		x := New()
		x.At(start)
		for n := range many {
			c.set(x, n)
		}
		claim := x.NewClaim(start, c.bounds)
		pieces := 0
		for more := true; more; pieces++ {
			taken := 0
			more = claim.Some(1, func(s Slot) { taken++; x.Lease(s, 1, after(50), nil) })
			if taken > 1 {
				t.Errorf("a claim %s: a piece took %d", what, taken)
			}
		}
		if pieces < c.least || pieces > c.least+c.least/3+10 {
			t.Errorf("a claim %s: %d pieces, want at least %d", what, pieces, c.least)
		}
	}
}

// TestOrder claims what is due in order: since when it is due, its priority included,
// the lower number, the name of the destination.
func TestOrder(t *testing.T) {
	step := int(queue.PriorityStep / time.Microsecond)
	type delivery struct {
		message, priority int
		destination       string
		since             int
	}
	for name, list := range map[string][]delivery{ // as they are to be claimed
		"longer due":               {{3, 0, "c", -30}, {1, 0, "a", -20}, {2, 0, "b", -10}, {4, 0, "a", 0}},
		"priority":                 {{3, 1, "c", 0}, {2, 0, "b", 0}, {1, -1, "a", 0}},
		"priority against age":     {{3, 0, "c", -step - 2}, {2, 1, "b", -1}, {1, 0, "a", -step}, {4, 2, "d", step}, {5, -1, "e", -2*step + 1}},
		"number":                   {{1, 0, "c", 0}, {2, 0, "a", 0}, {3, 0, "b", 0}},
		"number against priority":  {{1, 0, "c", -step}, {2, 1, "a", 0}, {3, 0, "b", -step}},
		"name":                     {{1, 0, "a", 0}, {1, 0, "b", 0}, {1, 0, "c", 0}, {1, 0, "d", 0}, {1, 0, "e", 0}},
		"number in one lane":       {{1, 0, "a", 0}, {2, 0, "a", 0}, {3, 0, "a", 0}, {4, 0, "a", 0}},
		"age and number in a lane": {{2, 0, "a", -9}, {4, 0, "a", -9}, {1, 0, "a", -8}, {3, 0, "a", -8}},
	} {
		for _, tenants := range []int{1, 2, 40} {
			for rotation := range list {
				for _, b := range []Bounds{{}, {Destinations: []string{"e", "c", "a", "b", "d"}}} {
					x := New()
					for i := range list {
						d := list[(i*3+rotation)%len(list)]
						if len(list)%3 == 0 {
							d = list[(i+rotation)%len(list)]
						}
						x.Set(&Entry{Message: Number(uint64(d.message), 1), Destination: d.destination, Priority: d.priority, Tenant: fmt.Sprint(i % tenants),
							AtOnce: i%2 == 0, Since: Micros(after(d.since))})
					}
					for n := range 3 * fewLanes { // the destinations have many lanes
						x.set(1000+n, string(rune('a'+n%5)), fmt.Sprint("later", n), start.Add(time.Hour))
						x.set(2000+n, "a", fmt.Sprint("later", n), start.Add(time.Hour))
					}
					b.Max = len(list)
					var got []delivery
					x.Claim(after(step), b, func(s Slot) {
						e := x.Get(s)
						got = append(got, delivery{int(Ordinal(e.Message)), e.Priority, e.Destination, int(e.Since - Micros(start))})
						x.Lease(s, 1, start.Add(time.Hour), nil)
					})
					if !slices.Equal(got, list) {
						t.Errorf("%s, by name %t: claimed %v, want %v", name, b.Destinations != nil, got, list)
					}
				}
			}
		}
	}
}

// TestLanesGoWhileTheyAreClaimed has a lane go of a destination that is claimed by name,
// between any two pieces of the claim, and another destination get its number.
func TestLanesGoWhileTheyAreClaimed(t *testing.T) {
	for goes := range 3 {
		for pause := range 20 {
			for comes := range 3 {
				x := New()
				x.At(start)
				var slots []Slot
				for n := range 3 {
					slots = append(slots, x.set(n+1, "a", fmt.Sprint(n), start))
				}
				x.set(4, "b", "", start)
				c := x.NewClaim(start, Bounds{Max: 10, Destinations: []string{"a", "b"}})
				taken := map[uint64]bool{}
				there := map[uint64]bool{Number(1, 1): true, Number(2, 1): true, Number(3, 1): true, Number(4, 1): true}
				for n := 0; c.Some(1, func(s Slot) {
					if m := x.message(s); taken[m] || x.Get(s).Destination == "c" {
						t.Fatalf("lane %d goes after %d pieces: message %d is taken twice, or was not asked for", goes, pause, m)
					}
					taken[x.message(s)] = true
					x.Lease(s, 1, start.Add(time.Hour), nil)
				}); n++ {
					if n == pause {
						x.Remove(slots[goes])
						delete(there, Number(uint64(goes+1), 1))
						for n := range comes {
							x.set(10+n, "c", fmt.Sprint(n), start)
						}
					}
					if n > 1000 {
						t.Fatal("it does not end")
					}
				}
				for m := range there {
					if !taken[m] {
						t.Fatalf("lane %d goes after %d pieces: message %d is not taken", goes, pause, m)
					}
				}
				for x.Loose(10) {
				}
				if err := x.verify(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestLanesComeWhileTheyAreClaimed has a destination that is claimed by name get many
// lanes, between any two pieces of the claim: those of the others are claimed all the
// same.
func TestLanesComeWhileTheyAreClaimed(t *testing.T) {
	for pause := range 40 {
		x := New()
		x.At(start)
		names := []string{"a", "b", "c"}
		for n := range 9 {
			x.set(n+1, names[n%3], fmt.Sprint(n), start)
		}
		c := x.NewClaim(start, Bounds{Max: 100, Destinations: names})
		taken := map[uint64]bool{}
		for n := 0; c.Some(1, func(s Slot) {
			taken[x.message(s)] = true
			x.Lease(s, 1, start.Add(time.Hour), nil)
		}); n++ {
			if n == pause {
				for n := range fewLanes {
					x.set(100+n, "b", fmt.Sprint("new", n), start)
				}
			}
			if n > 1000 {
				t.Fatal("it does not end")
			}
		}
		for n := range 9 {
			if !taken[Number(uint64(n+1), 1)] {
				t.Fatalf("they come after %d pieces: message %d is not taken", pause, n+1)
			}
		}
		if err := x.verify(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestClaimAtAnEarlierTime claims, after the clock has gone back, where what comes first
// in order is not due any more, and something behind it is.
func TestClaimAtAnEarlierTime(t *testing.T) {
	for _, others := range []int{0, 3 * fewLanes} {
		for _, b := range []Bounds{{}, {Destinations: []string{"a"}}, {Destinations: []string{"b", "a"}}, {Except: []string{"c"}}} {
			x := New()
			x.At(after(0))
			x.Set(&Entry{Message: Number(1, 1), Destination: "a", Priority: 1, Since: Micros(after(-5))})
			x.Set(&Entry{Message: Number(2, 1), Destination: "a", Priority: 1, Tenant: "t", Since: Micros(after(-4))})
			x.set(3, "a", "", after(-50))
			x.set(4, "a", "t", after(-40))
			for n := range others {
				x.set(10+n, "a", fmt.Sprint(n), after(1000))
			}
			b.Max = 10
			for now, want := range map[int][]uint64{-60: nil, -45: {3}, -20: {3, 4}, -5: {1, 3, 4}, 0: {1, 2, 3, 4}} {
				x.Advance(after(0), 100) // all is due
				var got []uint64
				var slots []Slot
				next, ok := x.Claim(after(now), b, func(s Slot) {
					got = append(got, Ordinal(x.message(s)))
					slots = append(slots, s)
					x.Lease(s, 1, after(2000), nil)
				})
				soon := map[int]int{-60: -50, -45: -40, -20: -5, -5: -4, 0: 1000}[now]
				if others == 0 && now == 0 {
					soon = 2000
				}
				if !slices.Equal(got, want) || !ok || !next.Equal(after(soon)) {
					t.Errorf("%d other lanes, %+v, at %d: %v are claimed and the next at %v, want %v and %v", others, b, now, got, next, want, after(soon))
				}
				for _, s := range slots {
					x.Unlease(s)
				}
				if err := x.verify(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
