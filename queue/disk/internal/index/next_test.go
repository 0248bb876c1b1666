package index

import (
	"fmt"
	"testing"
	"time"
)

// after is a time so many microseconds after the start.
func after(n int) time.Time { return start.Add(time.Duration(n) * time.Microsecond) }

// set adds a delivery of a message of its own.
func (x *Index) set(n int, destination, tenant string, since time.Time) Slot {
	return x.Set(&Entry{Message: Number(uint64(n), 1), Destination: destination, Tenant: tenant, Since: Micros(since)})
}

// taken claims and returns the destinations of what is claimed, which is leased for an
// hour.
func (x *Index) taken(now time.Time, b Bounds) (list []string, next time.Time, ok bool) {
	next, ok = x.Claim(now, b, func(s Slot) {
		list = append(list, x.Get(s).Destination)
		x.Lease(s, 1, now.Add(time.Hour), nil)
	})
	return list, next, ok
}

// TestNextLooksOnlySoFar claims where what comes next is behind very much that the claim
// does not admit. It looks for that so far; then it says a time that is too early rather
// than one that is too late.
func TestNextLooksOnlySoFar(t *testing.T) {
	const first = 1000 // microseconds
	for name, of := range map[string]struct {
		bounds Bounds
		set    func(x *Index, n int, is bool, at time.Time)
	}{
		"destinations left out": {Bounds{}, func(x *Index, n int, is bool, at time.Time) {
			if is {
				x.set(n, "is.example", "", at)
			} else {
				x.set(n, fmt.Sprintf("d%d.example", n), "", at)
			}
		}},
		"tenants left out": {Bounds{ExceptTenants: []string{"other"}}, func(x *Index, n int, is bool, at time.Time) {
			if is {
				x.set(n, "is.example", "", at)
			} else {
				x.set(n, fmt.Sprintf("d%d.example", n), "other", at)
			}
		}},
		"tenants of one destination left out": {Bounds{Destinations: []string{"is.example"}}, func(x *Index, n int, is bool, at time.Time) {
			tenant := ""
			if !is {
				tenant = fmt.Sprint("t", n)
			}
			x.set(n, "is.example", tenant, at)
		}},
		"leases at destinations left out": {Bounds{}, func(x *Index, n int, is bool, at time.Time) {
			name := "is.example"
			if !is {
				name = fmt.Sprintf("d%d.example", n)
			}
			x.Lease(x.set(n, name, "", start), 1, at, nil)
		}},
		"leases of what is on hold": {Bounds{}, func(x *Index, n int, is bool, at time.Time) {
			s := x.set(n, "is.example", "", start)
			x.SetFlag(s, Held, !is)
			x.Lease(s, 1, at, nil)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for others, exact := range map[int]bool{0: true, 10: true, nextSteps - 1: true, nextSteps: false, 10 * nextSteps: false} {
				x := New()
				b := of.bounds
				b.Max = 1
				for n := range others {
					of.set(x, n+1, false, after(first+n))
					if b.Destinations == nil && b.ExceptTenants == nil {
						b.Except = append(b.Except, fmt.Sprintf("d%d.example", n+1))
					}
					if b.Destinations != nil {
						b.ExceptTenants = append(b.ExceptTenants, fmt.Sprint("t", n+1))
					}
				}
				of.set(x, others+1, true, after(first+others))
				before := x.Work()
				list, next, ok := x.taken(start, b)
				if list != nil || !ok || next.After(after(first+others)) || next.Before(after(first)) {
					t.Errorf("beside %d: the next claim is at %v, %t, want it at %v", others, next, ok, after(first+others))
				}
				if next.Equal(after(first+others)) != exact {
					t.Errorf("beside %d: the next claim is at %v, want that at %v: %t", others, next, after(first+others), exact)
				}
				if n := x.Work() - before - len(b.Except) - len(b.ExceptTenants); n > 5*nextSteps {
					t.Errorf("beside %d: a claim looked at %d entries", others, n)
				}
			}
		})
	}
}

// TestNextLooksNoFurther claims where very much is due at one time, of which the claim
// admits what it finds among the first: it does not look at the rest.
func TestNextLooksNoFurther(t *testing.T) {
	const many = 100
	for name, of := range map[string]struct {
		at     int // which one is admitted, so that it is the second in its heap
		set    func(x *Index, n int, is bool)
		bounds Bounds
	}{
		"lanes": {1, func(x *Index, n int, is bool) {
			if is {
				x.set(n, "is.example", "", after(9))
			} else {
				x.set(n, fmt.Sprintf("d%d.example", n), "other", after(9))
			}
		}, Bounds{ExceptTenants: []string{"other"}}},
		"lanes of one destination": {fewLanes - 2, func(x *Index, n int, is bool) {
			e := Entry{Message: Number(uint64(n), 1), Destination: "is.example", Priority: n, Tenant: "other", Since: Micros(after(9))}
			if is {
				e.Tenant = ""
			}
			x.Set(&e)
		}, Bounds{ExceptTenants: []string{"other"}, Destinations: []string{"is.example"}}},
		"leases": {1, func(x *Index, n int, is bool) {
			name := "other.example"
			if is {
				name = "is.example"
			}
			x.Lease(x.set(n, name, "", start), 1, after(9), nil)
		}, Bounds{Except: []string{"other.example"}}},
	} {
		x := New()
		for n := range many {
			of.set(x, n+1, n == of.at)
		}
		before := x.Work()
		list, next, ok := x.taken(start, of.bounds)
		if list != nil || !ok || !next.Equal(after(9)) {
			t.Errorf("%s: the next claim is at %v, %t, want %v", name, next, ok, after(9))
		}
		if n := x.Work() - before; n > 12 {
			t.Errorf("%s: a claim looked at %d entries", name, n)
		}
	}
}

// TestNext is what a claim says of the next.
func TestNext(t *testing.T) {
	hour := start.Add(time.Hour)
	for _, c := range []struct {
		name   string
		set    func(x *Index)
		bounds Bounds
		want   time.Time // zero is never
	}{
		{"nothing is there", func(*Index) {}, Bounds{Max: 1}, time.Time{}},
		{"nothing is there for a destination", func(x *Index) { x.set(1, "a", "", hour) }, Bounds{Max: 1, Destinations: []string{"b"}}, time.Time{}},
		{"something is due later", func(x *Index) { x.set(1, "a", "", hour) }, Bounds{Max: 1}, hour},
		{"it is, for one destination", func(x *Index) { x.set(1, "a", "", hour) }, Bounds{Max: 1, Destinations: []string{"a"}}, hour},
		{"nothing is to be claimed, and something is due", func(x *Index) { x.set(1, "a", "", start) }, Bounds{}, start},
		{"nothing is to be claimed, and nothing is due", func(x *Index) { x.set(1, "a", "", hour) }, Bounds{}, hour},
		{"one of two is due", func(x *Index) { x.set(1, "a", "", start); x.set(2, "a", "", hour) }, Bounds{Max: 1}, hour},
		{"two are due and one is claimed", func(x *Index) { x.set(1, "a", "", start); x.set(2, "a", "", start) }, Bounds{Max: 1}, start},
		{"two are due and both are claimed", func(x *Index) { x.set(1, "a", "", start); x.set(2, "a", "", start) }, Bounds{Max: 2}, hour},
		{"one for each destination", func(x *Index) { x.set(1, "a", "", start); x.set(2, "a", "", start) }, Bounds{Max: 2, PerDestination: 1}, start},
		{"one for each destination is all", func(x *Index) { x.set(1, "a", "", start); x.set(2, "b", "", start) }, Bounds{Max: 2, PerDestination: 1}, hour},
		{"one for each tenant", func(x *Index) { x.set(1, "a", "", start); x.set(2, "b", "", start) }, Bounds{Max: 2, PerTenant: 1}, start},
		{"what is due is on hold", func(x *Index) { x.SetFlag(x.set(1, "a", "", start), Held, true) }, Bounds{Max: 1}, time.Time{}},
		{"what is due is leased", func(x *Index) { x.Lease(x.set(1, "a", "", start), 1, hour, nil) }, Bounds{Max: 1}, hour},
		{"what is due is leased by less than a microsecond", func(x *Index) { x.Lease(x.set(1, "a", "", start), 1, start.Add(1), nil) }, Bounds{Max: 1}, start.Add(1)},
		{"what is leased is on hold", func(x *Index) {
			s := x.set(1, "a", "", start)
			x.Lease(s, 1, hour, nil)
			x.SetFlag(s, Held, true)
		}, Bounds{Max: 1}, time.Time{}},
		{"the destination is postponed", func(x *Index) { x.set(1, "a", "", start); x.Postpone(Postponement{Name: "a", Until: hour}) }, Bounds{Max: 1}, hour},
		{"the destination is postponed for less", func(x *Index) { x.set(1, "a", "", hour); x.Postpone(Postponement{Name: "a", Until: after(1)}) }, Bounds{Max: 1}, hour},
		{"the destination is parked", func(x *Index) { x.set(1, "a", "", start); x.Park("me", "a", hour) }, Bounds{Max: 1, Owner: "me"}, hour},
		{"the destination is parked and asked for", func(x *Index) { x.set(1, "a", "", start); x.Park("me", "a", hour) },
			Bounds{Max: 1, Owner: "me", Destinations: []string{"a"}}, hour},
		{"the destination is parked by another", func(x *Index) { x.set(1, "a", "", start); x.Park("you", "a", hour) }, Bounds{Max: 0, Owner: "me"}, start},
		{"a destination for which nothing waits is parked", func(x *Index) { x.Park("me", "a", hour) }, Bounds{Max: 1, Owner: "me"}, time.Time{}},
		{"the destination is parked, leased and asked for", func(x *Index) {
			x.Lease(x.set(1, "a", "", start), 1, after(3), nil)
			x.Park("me", "a", hour)
		}, Bounds{Max: 1, Owner: "me", Destinations: []string{"a"}}, hour},
		{"it is, and so is another", func(x *Index) {
			x.Lease(x.set(1, "a", "", start), 1, after(3), nil)
			x.Park("me", "a", hour)
			x.set(2, "b", "", hour)
		}, Bounds{Max: 1, Owner: "me", Destinations: []string{"a", "b"}}, hour},
		{"it is, and so is another of many lanes", func(x *Index) {
			x.Lease(x.set(1, "a", "", start), 1, after(3), nil)
			x.Park("me", "a", hour)
			for n := range 2 * fewLanes {
				x.set(2+n, "b", fmt.Sprint(n), hour)
			}
		}, Bounds{Max: 1, Owner: "me", Destinations: []string{"a", "b"}}, hour},
		{"something is leased, and another of many lanes is asked for", func(x *Index) {
			x.Lease(x.set(1, "a", "", start), 1, after(3), nil)
			for n := range 2 * fewLanes {
				x.set(2+n, "b", fmt.Sprint(n), hour)
			}
		}, Bounds{Max: 1, Destinations: []string{"a", "b"}}, after(3)},
		{"another is leased for less", func(x *Index) {
			x.Lease(x.set(1, "a", "", start), 1, after(3), nil)
			x.Lease(x.set(2, "b", "", start), 1, hour, nil)
		}, Bounds{Max: 1, Destinations: []string{"b"}}, hour},
		{"one of many lanes is leased", func(x *Index) {
			for n := range 2 * fewLanes {
				x.set(2+n, "b", fmt.Sprint(n), hour)
			}
			x.Lease(x.set(1, "b", "", start), 1, after(3), nil)
		}, Bounds{Max: 1, Destinations: []string{"b", "a"}}, after(3)},
		{"one of many lanes is parked", func(x *Index) {
			for n := range 2 * fewLanes {
				x.set(2+n, "b", fmt.Sprint(n), after(3))
			}
			x.Park("me", "b", hour)
		}, Bounds{Max: 1, Owner: "me", Destinations: []string{"b"}}, hour},
		{"a tenant is left out", func(x *Index) { x.set(1, "a", "t", start) }, Bounds{Max: 1, ExceptTenants: []string{"t"}}, time.Time{}},
		{"a destination is left out", func(x *Index) { x.set(1, "a", "t", start) }, Bounds{Max: 1, Except: []string{"a"}}, time.Time{}},
		{"a destination is left out that is asked for", func(x *Index) { x.set(1, "a", "t", start) },
			Bounds{Max: 1, Except: []string{"a"}, Destinations: []string{"a"}}, time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := New()
			c.set(x)
			_, next, ok := x.taken(start, c.bounds)
			if ok == c.want.IsZero() || !next.Equal(c.want) {
				t.Errorf("the next claim is at %v, %t, want %v", next, ok, c.want)
			}
		})
	}
}

// TestDueAtAnEarlierTime has something come while a claim is in progress that is due, and
// an earlier time is given meanwhile. The claim takes it, or says that there is more.
func TestDueAtAnEarlierTime(t *testing.T) {
	now := start.Add(500)
	for name, c := range map[string]struct {
		bounds Bounds
		taken  bool
		want   time.Time
	}{
		"at any destination":  {Bounds{Max: 9}, true, start.Add(time.Hour)},
		"at that destination": {Bounds{Max: 9, Destinations: []string{"a"}}, false, now},
		"at one of two":       {Bounds{Max: 9, Destinations: []string{"a", "b"}}, false, now},
		"at another":          {Bounds{Max: 9, Destinations: []string{"b"}}, false, start.Add(time.Hour)},
	} {
		for _, late := range []time.Time{start, start.Add(-30 * time.Minute)} {
			x := New()
			x.set(1, "a", "", start.Add(-time.Hour))
			x.set(2, "b", "", start.Add(-time.Hour))
			claim := x.NewClaim(now, c.bounds)
			taken := false
			for claim.Some(1, func(s Slot) {
				taken = taken || x.message(s) == Number(3, 1)
				x.Lease(s, 1, start.Add(time.Hour), nil)
			}) {
				if claim.picked > 0 && x.Len() == 2 {
					x.At(late.Add(-time.Hour))
					x.set(3, "a", "other", late)
				}
			}
			if next, ok := claim.Next(); taken != c.taken || !ok || !next.Equal(c.want) {
				t.Errorf("%s: it is taken: %t, and the next claim is at %v, %t, want %t and %v", name, taken, next, ok, c.taken, c.want)
			}
		}
	}
}

// TestNotDueAtALaterTime has a later time be given while a claim is in progress: what is
// due by that time only is not taken.
func TestNotDueAtALaterTime(t *testing.T) {
	for _, b := range []Bounds{{Max: 9}, {Max: 9, Destinations: []string{"a", "b"}}} {
		x := New()
		x.set(1, "a", "", start)
		x.set(2, "b", "", start)
		claim := x.NewClaim(start, b)
		for claim.Some(1, func(s Slot) {
			if x.message(s) == Number(3, 1) {
				t.Error("what is not due is taken")
			}
			x.Lease(s, 1, start.Add(time.Hour), nil)
		}) {
			if x.Len() == 2 {
				x.At(start.Add(time.Hour))
				x.set(3, "a", "other", after(5))
			}
		}
		if next, ok := claim.Next(); !ok || !next.Equal(after(5)) {
			t.Errorf("the next claim is at %v, %t, want %v", next, ok, after(5))
		}
	}
}
