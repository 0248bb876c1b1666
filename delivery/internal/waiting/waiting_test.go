package waiting_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/waiting"
	"github.com/nexthop-mail/nexthop/queue"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func TestReason(t *testing.T) {
	for _, r := range []waiting.Reason{
		{Code: waiting.SiteDown},
		{Code: waiting.SiteDown, Host: "mx.example.net", Since: noon, Text: "421 4.3.2 later: not now"},
		{Code: waiting.LoginRefused, Host: "mx.example.net"},
		{Code: waiting.NoRoute, Since: noon},
		{Code: waiting.NoRoute, Text: "no answer"},
		{Code: waiting.Suspended, Since: noon, Text: "since when?"},
	} {
		if got, ok := waiting.Parse(r.String()); !ok || got != r {
			t.Errorf("Parse(%q) = %+v, %t, want %+v", r.String(), got, ok, r)
		}
	}
	for _, text := range []string{
		"", "no host could be reached", "site-downs", "site-down mx since", "site-down mx since yesterday",
		"site-down a b c d", "since 2030-01-01T12:00:00Z",
	} {
		if got, ok := waiting.Parse(text); ok {
			t.Errorf("Parse(%q) = %+v, want that it is no reason of ours", text, got)
		}
	}
}

func TestTable(t *testing.T) {
	one := func(k queue.SubjectKind, name string, until time.Time) queue.Suspension {
		return queue.Suspension{Subject: queue.Subject{Kind: k, Name: name}, Terms: queue.Terms{Until: until}}
	}
	table := waiting.NewTable([]queue.Suspension{
		one(queue.OfDestination, "a.example", noon.Add(time.Hour)), one(queue.OfTenant, "", time.Time{}),
		one(queue.OfSite, "mx.b.example", noon.Add(time.Minute)),
	})
	var none *waiting.Table
	if none.Mail(noon, "a.example", "") != nil || none.Site(noon, "x", slices.Values([]string{"x"})) != nil || !none.End().IsZero() {
		t.Error("a table of nothing suspends something")
	}
	for _, c := range []struct {
		now                 time.Time
		destination, tenant string
		want                bool
	}{
		{noon, "a.example", "t", true}, {noon, "b.example", "t", false}, {noon, "b.example", "", true},
		{noon.Add(time.Hour), "a.example", "t", false}, {noon.Add(time.Hour), "a.example", "", true},
	} {
		if got := table.Mail(c.now, c.destination, c.tenant) != nil; got != c.want {
			t.Errorf("mail of %q for %s at %v is suspended: %t, want %t", c.tenant, c.destination, c.now, got, c.want)
		}
	}
	for site, want := range map[string]bool{"mx.b.example": true, "mx.a.example": false, "mx.a.example;,mx.b.example;": true} {
		hosts := []string{"mx.a.example"}
		if want {
			hosts = append(hosts, "mx.b.example")
		}
		if got := table.Site(noon, site, slices.Values(hosts)) != nil; got != want {
			t.Errorf("the site %s is suspended: %t, want %t", site, got, want)
		}
		if table.Site(noon.Add(time.Minute), site, slices.Values(hosts)) != nil {
			t.Errorf("the site %s is suspended after its time", site)
		}
	}
	if d, u := table.Names(noon); !slices.Equal(d, []string{"a.example"}) || !slices.Equal(u, []string{""}) {
		t.Errorf("Names = %q, %q", d, u)
	}
	if !table.End().Equal(noon.Add(time.Minute)) {
		t.Errorf("End = %v, want that of what ends first", table.End())
	}
	if !table.Equal(waiting.NewTable([]queue.Suspension{
		one(queue.OfDestination, "a.example", noon.Add(time.Hour)), one(queue.OfTenant, "", time.Time{}),
		one(queue.OfSite, "mx.b.example", noon.Add(time.Minute)),
	})) || table.Equal(none) || !none.Equal(nil) {
		t.Error("Equal does not tell tables apart")
	}
}

// TestDeadlines has more than are kept, in any order: each comes in its time, after all
// were added anew where some were left out.
func TestDeadlines(t *testing.T) {
	const many = 90_000
	var d waiting.Deadlines
	for i := range many {
		d.Add(noon.Add(time.Duration(i*7919%many)*time.Second), waiting.Mail{ID: fmt.Sprint(i)})
	}
	seen := map[string]bool{}
	for rounds := 0; len(seen) < many; rounds++ {
		if rounds > many {
			t.Fatalf("%d of %d have come", len(seen), many)
		}
		next := d.Next()
		if next.IsZero() {
			t.Fatalf("there is nothing more after %d of %d", len(seen), many)
		}
		now := next.Add(100 * time.Second)
		list, complete := d.Due(now)
		for _, m := range list {
			if seen[m.ID] {
				t.Fatalf("%s has come twice", m.ID)
			}
			seen[m.ID] = true
		}
		if !complete {
			d.Reset()
			for i := range many {
				if id := fmt.Sprint(i); !seen[id] {
					d.Add(noon.Add(time.Duration(i*7919%many)*time.Second), waiting.Mail{ID: id})
				}
			}
		}
	}
}
