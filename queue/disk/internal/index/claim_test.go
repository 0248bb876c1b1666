package index

import (
	"testing"
	"time"
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
