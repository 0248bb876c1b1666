package waiting_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/waiting"
	"github.com/nexthop-mail/nexthop/queue"
)

// to is mail for a destination of a suspended site.
func to(site string, until, end time.Time) waiting.Sited {
	return waiting.Sited{By: suspended(queue.OfSite, site, end), Site: site + " for x", Until: until}
}

// leftOut are the destinations and the tenants that a claim leaves out, sorted.
func leftOut(s *waiting.Suspensions, now time.Time, o queue.ClaimOptions) (destinations, tenants []string) {
	s.LeaveOut(now, &o)
	slices.Sort(o.Except)
	slices.Sort(o.ExceptTenants)
	return o.Except, o.ExceptTenants
}

func TestNoSuspensions(t *testing.T) {
	var s waiting.Suspensions
	if s.Table() != nil || len(s.Sited()) > 0 || s.Expire(noon) || s.Replace(noon, nil) {
		t.Error("suspensions that nobody has made are known, or have changed")
	}
	if by, site := s.Mail(noon, "a.example", ""); by != nil || site != "" {
		t.Errorf("mail is suspended by %v, to the site %q", by, site)
	}
	if d, u := leftOut(&s, noon, queue.ClaimOptions{}); d != nil || u != nil {
		t.Errorf("left out of a claim are %q and %q", d, u)
	}
}

// TestSuspensionsOfSites: mail for a destination of a suspended site is suspended as long
// as the site is, and left out of claims until its route must be looked up again.
func TestSuspensionsOfSites(t *testing.T) {
	soon, later := noon.Add(time.Minute), noon.Add(time.Hour)
	var s waiting.Suspensions
	if !s.Replace(noon, waiting.NewTable([]queue.Suspension{
		suspended(queue.OfDestination, "d.example", time.Time{}), suspended(queue.OfTenant, "t", time.Time{}),
		suspended(queue.OfSite, "mx.example", later), suspended(queue.OfSite, "mx2.example", soon),
	})) {
		t.Error("new suspensions are no change")
	}
	s.Add("a.example", to("mx.example", soon, later))
	s.Add("b.example", to("mx2.example", later, soon))
	s.Add("c.example", to("mx.example", soon, later))
	s.Add("c.example", to("mx.example", later, time.Time{})) // its route was looked up again
	for _, c := range []struct {
		now                 time.Time
		destination, tenant string
		by, site            string
	}{
		{noon, "d.example", "", "d.example", ""},
		{noon, "e.example", "t", "t", ""},
		{noon, "a.example", "t", "t", ""}, // the table comes first
		{noon, "a.example", "", "mx.example", "mx.example for x"},
		{noon, "b.example", "", "mx2.example", "mx2.example for x"},
		{noon, "e.example", "", "", ""},
		{soon, "a.example", "", "mx.example", "mx.example for x"},
		{soon, "b.example", "", "", ""},
		{later, "a.example", "", "", ""},
	} {
		by, site := s.Mail(c.now, c.destination, c.tenant)
		name := ""
		if by != nil {
			name = by.Name
		}
		if name != c.by || site != c.site {
			t.Errorf("mail of %q for %s at %v is suspended by %q, to the site %q, want %q and %q", c.tenant, c.destination, c.now, name, site, c.by, c.site)
		}
	}
	for now, want := range map[time.Time][]string{
		noon: {"a.example", "b.example", "c.example", "d.example"}, soon: {"c.example", "d.example"}, later: {"d.example"},
	} {
		if d, u := leftOut(&s, now, queue.ClaimOptions{}); !slices.Equal(d, want) || !slices.Equal(u, []string{"t"}) {
			t.Errorf("left out of a claim at %v are %q and %q, want %q and t", now, d, u, want)
		}
	}
	known := func(want ...string) {
		t.Helper()
		if got := slices.Sorted(maps.Keys(s.Sited())); !slices.Equal(got, want) {
			t.Errorf("known are %q, want %q", got, want)
		}
	}
	known("a.example", "b.example", "c.example")
	if s.Expire(noon) {
		t.Error("something has expired before its time")
	}
	if !s.Expire(soon) {
		t.Error("nothing has expired")
	}
	known("c.example")
	if s.Expire(soon) {
		t.Error("something has expired twice")
	}
}

// TestReplaceSuspensions: a table that says the same is no change, and the destinations of
// a site that is no longer suspended are forgotten, those of others are not.
func TestReplaceSuspensions(t *testing.T) {
	one, two := suspended(queue.OfSite, "mx.example", time.Time{}), suspended(queue.OfSite, "mx2.example", noon.Add(time.Hour))
	var s waiting.Suspensions
	s.Replace(noon, waiting.NewTable([]queue.Suspension{one, two}))
	s.Add("a.example", to("mx.example", noon.Add(time.Hour), time.Time{}))
	s.Add("b.example", to("mx2.example", noon.Add(time.Hour), time.Time{}))
	for _, c := range []struct {
		now     time.Time
		list    []queue.Suspension
		changed bool
		want    []string
	}{
		{noon, []queue.Suspension{one, two}, false, []string{"a.example", "b.example"}},
		{noon, []queue.Suspension{two}, true, []string{"b.example"}},
		{noon, []queue.Suspension{two, one}, true, []string{"b.example"}},
		{noon.Add(time.Hour), []queue.Suspension{two}, true, nil},
		{noon, nil, true, nil},
		{noon, nil, false, nil},
	} {
		table := waiting.NewTable(c.list)
		if got := s.Replace(c.now, table); got != c.changed {
			t.Errorf("Replace by %v = %t, want %t", c.list, got, c.changed)
		}
		if !s.Table().Equal(table) {
			t.Errorf("the table is not that of %v", c.list)
		}
		if got := slices.Sorted(maps.Keys(s.Sited())); !slices.Equal(got, c.want) {
			t.Errorf("with the table of %v at %v %q are known, want %q", c.list, c.now, got, c.want)
		}
	}
}

// TestManySuspendedDestinations: at most 10,000 destinations of sites are known; more are
// not taken, and what is known about one of them can still be replaced.
func TestManySuspendedDestinations(t *testing.T) {
	const most = 10_000
	var s waiting.Suspensions
	for i := range most {
		if !s.Add(fmt.Sprint(i), to("mx.example", noon, noon)) {
			t.Fatalf("number %d was not taken", i)
		}
	}
	if s.Add("one more", to("mx.example", noon, noon)) || len(s.Sited()) != most {
		t.Errorf("%d are known, want %d", len(s.Sited()), most)
	}
	again := to("mx2.example", noon, noon)
	if !s.Add("0", again) || s.Sited()["0"] != again {
		t.Error("what is known about a destination was not replaced")
	}
}

// TestExceptionsOfAClaim: the exceptions that a claim has already stay as they are.
func TestExceptionsOfAClaim(t *testing.T) {
	var s waiting.Suspensions
	s.Replace(noon, waiting.NewTable([]queue.Suspension{
		suspended(queue.OfDestination, "b.example", time.Time{}), suspended(queue.OfTenant, "u", time.Time{}),
	}))
	destinations, tenants := []string{"a.example", "kept"}, []string{"t", "kept"}
	d, u := leftOut(&s, noon, queue.ClaimOptions{Except: destinations[:1], ExceptTenants: tenants[:1]})
	if !slices.Equal(d, []string{"a.example", "b.example"}) || !slices.Equal(u, []string{"t", "u"}) {
		t.Errorf("left out of the claim are %q and %q", d, u)
	}
	if destinations[1] != "kept" || tenants[1] != "kept" {
		t.Error("the lists of the caller were changed")
	}
}
