package waiting_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/waiting"
	"github.com/nexthop-mail/nexthop/queue"
)

func suspended(k queue.SubjectKind, name string, until time.Time) queue.Suspension {
	return queue.Suspension{Subject: queue.Subject{Kind: k, Name: name}, Terms: queue.Terms{Until: until}}
}

func TestTableOfNothing(t *testing.T) {
	none := waiting.NewTable(nil)
	if none != nil {
		t.Error("a table of nothing is not nil")
	}
	d, u := none.Names(noon)
	if none.Sites() || none.Tenants() || none.Has(noon, queue.Subject{}) || len(d)+len(u) > 0 {
		t.Error("a table of nothing suspends something")
	}
	one := waiting.NewTable([]queue.Suspension{suspended(queue.OfDestination, "a.example", time.Time{})})
	if one.Sites() || one.Tenants() || one.Site(noon, "a.example", slices.Values([]string{"a.example"})) != nil || one.Equal(nil) || none.Equal(one) {
		t.Error("a table of a destination suspends a site or a tenant")
	}
}

func TestTableOfEachKind(t *testing.T) {
	later := noon.Add(time.Hour)
	for _, k := range []queue.SubjectKind{queue.OfDestination, queue.OfTenant, queue.OfSite} {
		table := waiting.NewTable([]queue.Suspension{suspended(k, "x", later)})
		if got := table.Sites(); got != (k == queue.OfSite) {
			t.Errorf("%v: Sites = %t", k, got)
		}
		if got := table.Tenants(); got != (k == queue.OfTenant) {
			t.Errorf("%v: Tenants = %t", k, got)
		}
		for _, o := range []queue.SubjectKind{queue.OfDestination, queue.OfTenant, queue.OfSite} {
			for now, want := range map[time.Time]bool{noon: o == k, later: false} {
				if got := table.Has(now, queue.Subject{Kind: o, Name: "x"}); got != want {
					t.Errorf("%v: Has(%v, %v x) = %t, want %t", k, now, o, got, want)
				}
			}
			if table.Has(noon, queue.Subject{Kind: o, Name: "y"}) {
				t.Errorf("%v: it has what nobody has suspended", k)
			}
		}
		for now, want := range map[time.Time]int{noon: 1, later: 0} {
			if got := table.Mail(now, "x", "x") != nil; got != (want == 1 && k != queue.OfSite) {
				t.Errorf("%v: mail is suspended at %v: %t", k, now, got)
			}
			if got := table.Site(now, "x", slices.Values([]string(nil))) != nil; got != (want == 1 && k == queue.OfSite) {
				t.Errorf("%v: the site is suspended at %v: %t", k, now, got)
			}
			d, u := table.Names(now)
			if k == queue.OfDestination && len(d) != want || k != queue.OfDestination && len(d) > 0 || k == queue.OfTenant && len(u) != want || k != queue.OfTenant && len(u) > 0 {
				t.Errorf("%v: Names(%v) = %q, %q", k, now, d, u)
			}
		}
	}
}

func TestTableEnd(t *testing.T) {
	at := func(minutes ...int) (list []queue.Suspension) {
		for i, m := range minutes {
			until := time.Time{}
			if m > 0 {
				until = noon.Add(time.Duration(m) * time.Minute)
			}
			list = append(list, suspended(queue.OfDestination, fmt.Sprint(i), until))
		}
		return list
	}
	for _, c := range []struct {
		minutes []int
		want    int
	}{{[]int{0}, 0}, {[]int{5}, 5}, {[]int{5, 0}, 5}, {[]int{0, 5}, 5}, {[]int{5, 3, 9}, 3}, {[]int{3, 5}, 3}} {
		want := time.Time{}
		if c.want > 0 {
			want = noon.Add(time.Duration(c.want) * time.Minute)
		}
		if got := waiting.NewTable(at(c.minutes...)).End(); !got.Equal(want) {
			t.Errorf("End with %d minutes left: %v, want %v", c.minutes, got, want)
		}
	}
}

func TestTableEqual(t *testing.T) {
	one := suspended(queue.OfDestination, "a.example", noon.Add(time.Hour))
	one.Reason, one.Since = "they asked for it", noon
	table := waiting.NewTable([]queue.Suspension{one})
	same := one
	same.Until, same.Since = one.Until.In(time.FixedZone("", 3600)), one.Since.In(time.FixedZone("", 3600))
	if !table.Equal(waiting.NewTable([]queue.Suspension{same})) {
		t.Error("a table is not equal to one with the same times elsewhere")
	}
	for what, change := range map[string]func(s *queue.Suspension){
		"name": func(s *queue.Suspension) { s.Name = "b.example" }, "kind": func(s *queue.Suspension) { s.Kind = queue.OfTenant },
		"reason": func(s *queue.Suspension) { s.Reason = "" }, "beginning": func(s *queue.Suspension) { s.Since = noon.Add(1) },
		"end": func(s *queue.Suspension) { s.Until = time.Time{} },
	} {
		other := one
		change(&other)
		if table.Equal(waiting.NewTable([]queue.Suspension{other})) {
			t.Errorf("a table is equal to one with another %s", what)
		}
	}
	if table.Equal(waiting.NewTable([]queue.Suspension{one, suspended(queue.OfTenant, "t", time.Time{})})) {
		t.Error("a table is equal to one of more")
	}
}

func TestReasonText(t *testing.T) {
	for want, r := range map[string]waiting.Reason{
		"site-down": {Code: waiting.SiteDown},
		"site-down mx.example.net since 2030-01-01T12:00:00Z: not now": {Code: waiting.SiteDown, Host: "mx.example.net", Since: noon, Text: "not now"},
		"dns since 2030-01-01T12:00:00Z":                               {Code: waiting.NoRoute, Since: noon.In(time.FixedZone("", 3600))},
		"dns: no answer":                                               {Code: waiting.NoRoute, Text: "no answer"},
		"login-refused mx.example.net":                                 {Code: waiting.LoginRefused, Host: "mx.example.net"},
	} {
		if got := r.String(); got != want {
			t.Errorf("String = %q, want %q", got, want)
		}
	}
	for _, text := range []string{"site-down until 2030-01-01T12:00:00Z", "site-down mx.example.net until 2030-01-01T12:00:00Z", "dns a b"} {
		if got, ok := waiting.Parse(text); ok {
			t.Errorf("Parse(%q) = %+v, want that it is no reason of ours", text, got)
		}
	}
}

func TestDeadlinesInOrder(t *testing.T) {
	var d waiting.Deadlines
	if list, complete := d.Due(noon); len(list) > 0 || !complete || !d.Next().IsZero() {
		t.Error("without deadlines something is due")
	}
	for _, m := range []int{30, 10, 20, 10, 40} {
		d.Add(noon.Add(time.Duration(m)*time.Second), waiting.Mail{ID: fmt.Sprint(m)})
	}
	due := func(after time.Duration, want ...string) {
		t.Helper()
		list, complete := d.Due(noon.Add(after))
		var got []string
		for _, m := range list {
			got = append(got, m.ID)
		}
		if !slices.Equal(got, want) || !complete {
			t.Errorf("due after %v: %q, complete: %t, want %q", after, got, complete, want)
		}
	}
	due(10*time.Second - 1)
	if !d.Next().Equal(noon.Add(10 * time.Second)) {
		t.Errorf("Next = %v", d.Next())
	}
	due(10*time.Second, "10", "10")
	d.Add(noon.Add(5*time.Second), waiting.Mail{ID: "5"})
	if !d.Next().Equal(noon.Add(5 * time.Second)) {
		t.Errorf("Next = %v after an earlier one came", d.Next())
	}
	due(30*time.Second, "5", "20", "30")
	d.Reset()
	due(time.Hour)
	d.Add(noon.Add(time.Second), waiting.Mail{ID: "1"})
	due(time.Hour, "1")
}

// TestDeadlinesLeftOut has twice as many as are kept: half of them stay, the earliest, and
// that there were others is told no later than the first of them is due.
func TestDeadlinesLeftOut(t *testing.T) {
	const kept = 20_000
	at := func(i int) time.Time { return noon.Add(time.Duration(i) * time.Second) }
	fill := func(n int) *waiting.Deadlines {
		d := new(waiting.Deadlines)
		for i := range n {
			d.Add(at(n-1-i), waiting.Mail{ID: fmt.Sprint(n - 1 - i)})
		}
		return d
	}
	if list, complete := fill(2*kept - 1).Due(at(2 * kept)); len(list) != 2*kept-1 || !complete {
		t.Errorf("of one less: %d, complete: %t", len(list), complete)
	}
	d := fill(2 * kept)
	d.Add(at(kept), waiting.Mail{ID: "as late as the first that was left out"})
	d.Add(at(3*kept), waiting.Mail{ID: "later"})
	d.Add(at(0), waiting.Mail{ID: "early"})
	if list, complete := d.Due(at(kept - 2)); len(list) != kept || !complete {
		t.Errorf("due before the last that is kept: %d, complete: %t", len(list), complete)
	}
	if next := d.Next(); !next.Equal(at(kept - 1)) {
		t.Errorf("Next = %v, want the last that is kept", next)
	}
	if list, complete := d.Due(at(kept - 1)); len(list) != 1 || complete {
		t.Errorf("the last that is kept: %d, complete: %t, want that there may be more", len(list), complete)
	}
	if next := d.Next(); !next.Equal(at(kept)) {
		t.Errorf("Next = %v, want when the first is due that was left out", next)
	}
	d = fill(2 * kept)
	d.Due(at(kept - 2))
	if _, complete := d.Due(at(kept)); complete {
		t.Error("what was left out is due, and nothing says so")
	}
	d.Reset()
	if _, complete := d.Due(at(kept)); !complete || !d.Next().IsZero() {
		t.Error("it forgets nothing")
	}
}
