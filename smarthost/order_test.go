package smarthost_test

import (
	"context"
	"sync"
	"testing"

	"github.com/nexthop-mail/nexthop/smarthost"
)

// TestShuffle: three equals are each as often in each place, beside one that comes
// first and one that keeps its place.
func TestShuffle(t *testing.T) {
	tab, _ := table(t, smarthost.Rules{Default: hosts(t,
		"smtp://[192.0.2.1]?pref=20", "smtp://[192.0.2.9]", "smtp://[192.0.2.2]?pref=20", "smtp://[192.0.2.3]?pref=20", "smtp://[192.0.2.4]?pref=10")})
	const picks = 6000
	counts := make(map[string][5]int)
	for range picks {
		route, err := tab.Route(t.Context(), "", "e.test")
		if err != nil || len(route.Hosts) != 5 {
			t.Fatal(describe(route), err)
		}
		for place, h := range route.Hosts {
			c := counts[h.Name]
			c[place]++
			counts[h.Name] = c
		}
	}
	if counts["[192.0.2.4]"][0] != picks || counts["[192.0.2.9]"][1] != picks {
		t.Fatalf("places %v", counts)
	}
	chi := 0.0
	for _, name := range []string{"[192.0.2.1]", "[192.0.2.2]", "[192.0.2.3]"} {
		for _, place := range []int{2, 3, 4} {
			d := float64(counts[name][place]) - picks/3
			chi += d * d / (picks / 3)
		}
	}
	if chi > 23 { // four degrees of freedom: by chance once in eight thousand
		t.Errorf("chi squared is %.1f: %v", chi, counts)
	}
}

// TestSetWhileRouting: each message goes by the rules before or by those after.
func TestSetWhileRouting(t *testing.T) {
	before := smarthost.Rules{Default: hosts(t, "smtp://[192.0.2.1]", "smtp://[192.0.2.2]")}
	after := smarthost.Rules{Default: hosts(t, "smtp://[192.0.2.3]"), Special: []smarthost.Rule{{To: "e.test", Hosts: hosts(t, "smtp://[192.0.2.4]")}}}
	tab, _ := table(t, before)
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			r := before
			if i%2 == 0 {
				r = after
			}
			if err := tab.Set(r); err != nil {
				t.Error(err)
			}
		}
	})
	seen := make(map[string]bool)
	for range 5000 {
		route, err := tab.Route(ctx, "", "e.test")
		if err != nil {
			t.Fatal(err)
		}
		seen[describe(route)] = true
	}
	stop()
	group.Wait()
	for got := range seen {
		if got != "smarthost [192.0.2.1]:25[192.0.2.1] [192.0.2.2]:25[192.0.2.2]" && got != "smarthost [192.0.2.4]:25[192.0.2.4]" {
			t.Errorf("route %s", got)
		}
	}
	if len(seen) != 2 {
		t.Errorf("seen %v, want both", seen)
	}
}
