package session

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// byHost are rules by the name of a host.
type byHost map[string]HostLimits

func (r byHost) Host(_, host string) HostLimits { return r[host] }

// pair is two connections that have in common what a case says.
type pair struct{ site, host, addr string }

func (p pair) pass(g *Gate) *pass {
	return &pass{gate: g, site: p.site, host: p.host, addr: netip.MustParseAddr(p.addr)}
}

// TestLimits is which limit is in the way of a connection, which connections count
// against it, and when there are more than it allows.
func TestLimits(t *testing.T) {
	group := func(n int) []GroupLimits { return []GroupLimits{{Name: "none"}, {Name: "g", Connections: n}} }
	for _, c := range []struct {
		name        string
		limits      Limits
		first, next pair
		way         limit
	}{
		{"in total", Limits{Connections: 2, PerSite: 9, PerHost: 9, PerAddress: 9}, pair{"a", "mx1", "192.0.2.1"}, pair{"b", "mx2", "192.0.2.2"}, inTotal},
		{"to an address", Limits{Connections: 9, PerSite: 9, PerHost: 9, PerAddress: 2}, pair{"a", "mx1", "192.0.2.1"}, pair{"b", "mx2", "192.0.2.1"}, perAddress},
		{"to a host", Limits{Connections: 9, PerSite: 9, PerHost: 2, PerAddress: 9}, pair{"a", "mx1", "192.0.2.1"}, pair{"b", "mx1", "192.0.2.2"}, perHost},
		{"to a site", Limits{Connections: 9, PerSite: 2, PerHost: 9, PerAddress: 9}, pair{"a", "mx1", "192.0.2.1"}, pair{"a", "mx2", "192.0.2.2"}, perSite},
		{"to a site by a rule, and as many to a host and an address", Limits{Connections: 9, PerSite: 1, PerHost: 1, PerAddress: 1, Rules: byHost{"mx1": {PerSite: 2}}},
			pair{"a", "mx1", "192.0.2.1"}, pair{"a", "mx1", "192.0.2.1"}, perAddress},
		{"to a site by a rule, fewer than to others", Limits{Connections: 9, PerSite: 9, PerHost: 9, PerAddress: 9, Rules: byHost{"mx1": {PerSite: 2}, "mx2": {PerSite: 2}}},
			pair{"a", "mx1", "192.0.2.1"}, pair{"a", "mx2", "192.0.2.2"}, perSite},
		{"in a group", Limits{Connections: 9, PerSite: 9, PerHost: 9, PerAddress: 9, Rules: byHost{"mx1": {PerSite: 9, Groups: group(2)}, "mx2": {PerSite: 9, Groups: group(2)}}},
			pair{"a", "mx1", "192.0.2.1"}, pair{"b", "mx2", "192.0.2.2"}, perGroup},
	} {
		t.Run("QUE-13 "+c.name, func(t *testing.T) {
			limits := c.limits
			g := NewGate(func() Limits { return limits })
			var held []*pass
			for range 2 {
				p := c.first.pass(g)
				if g.join(p, key{}) != nil {
					t.Fatal("there is no room")
				}
				held = append(held, p)
			}
			want, other := c.next.pass(g), pair{"z", "mx9", "192.0.2.9"}.pass(g)
			w := g.join(want, key{})
			if w == nil {
				t.Fatal("there is room")
			}
			if way := g.lacks(w); way != c.way || !held[0].counts(way, want) || other.counts(way, want) != (way == inTotal) || held[0].counts(noLimit, want) {
				t.Errorf("limit %d is in the way, want %d; or what counts against it is wrong", way, c.way)
			}
			if c.way != inTotal {
				if unlike := g.join(other, key{}); unlike != nil {
					limits.Rules = byHost{"mx9": {PerSite: 9}, "mx1": limits.at("a", "mx1"), "mx2": limits.at("b", "mx2")}
					g.admit()
				}
				if g.Size() != 3 {
					t.Error("what has nothing in common with them waits as well")
				}
				other.leave()
			}
			if g.over(held[0]) || held[0].spent(time.Time{}, 99, time.Time{}.Add(-1)) {
				t.Error("there are more than the limit allows")
			}
			less := func(n *int) { *n = min(*n, 1) }
			switch c.way {
			case inTotal:
				less(&limits.Connections)
			default:
				rules := byHost{}
				for _, host := range []string{"mx1", "mx2"} {
					at := c.limits.at("a", host)
					if c.way != perAddress && c.way != perHost || c.limits.Rules != nil {
						less(&at.PerSite)
					}
					if c.way == perGroup {
						at.PerSite, at.Groups = 9, group(1)
					}
					rules[host] = at
				}
				switch c.way {
				case perAddress:
					less(&limits.PerAddress)
				case perHost:
					less(&limits.PerHost)
				}
				limits.Rules = rules
			}
			if g.Wake(); !g.over(held[0]) || !held[0].spent(time.Time{}, 0, time.Time{}.Add(-1)) {
				t.Error("there are no more than the limit allows, once it is lower")
			}
			g.withdraw(w)
			for _, p := range held {
				p.leave()
			}
			if g.Wake(); g.Size() != 0 || len(g.passes) != 0 || len(g.groups) != 0 {
				t.Errorf("%d connections, %d passes, %d groups; want none", g.Size(), len(g.passes), len(g.groups))
			}
		})
	}
}

// TestConnectionLife is how much a connection may carry, and for how long.
func TestConnectionLife(t *testing.T) {
	born := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	g := NewGate(func() Limits {
		return Limits{Connections: 9, PerSite: 9, PerHost: 9, PerAddress: 9, Messages: 3, ConnectionLife: time.Minute}
	})
	p := &pass{gate: g}
	for _, c := range []struct {
		messages int
		after    time.Duration
		want     bool
	}{{2, time.Minute - 1, false}, {3, 0, true}, {0, time.Minute, true}} {
		if got := p.spent(born, c.messages, born.Add(c.after)); got != c.want {
			t.Errorf("after %d messages and %v: %t", c.messages, c.after, got)
		}
	}
	if (*pass)(nil).spent(born, 99, born.Add(time.Hour)) {
		t.Error("there is no limit for those that nobody counts")
	}
}

// TestGroups is what counts in a group as rules and connections change.
func TestGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := byHost{"mx1": {PerSite: 9, Groups: []GroupLimits{{Name: "g"}, {Name: "h"}}}, "mx2": {PerSite: 9, Groups: []GroupLimits{{Name: "g"}}}}
		limits := Limits{Connections: 9, PerSite: 9, PerHost: 9, PerAddress: 9, Rules: rules}
		g := NewGate(func() Limits { return limits })
		want := func(when string, want map[string]int) {
			t.Helper()
			got := map[string]int{}
			for name, n := range g.groups {
				got[name] = n.open
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
		first, second := pair{"a", "mx1", "192.0.2.1"}.pass(g), pair{"a", "mx2", "192.0.2.2"}.pass(g)
		g.join(first, key{})
		g.join(second, key{})
		want("two", map[string]int{"g": 2, "h": 1})
		if !first.sharesGroup(second) || !second.sharesGroup(first) || first.sharesGroup(pair{"a", "mx3", "192.0.2.3"}.pass(g)) {
			t.Error("which share a group is wrong")
		}
		first.resume("b")
		want("one of another site", map[string]int{"g": 2, "h": 1})
		rules["mx1"] = HostLimits{PerSite: 9, Groups: []GroupLimits{{Name: "i"}}}
		g.Wake()
		want("by other rules", map[string]int{"g": 1, "i": 1})
		limits.Rules = nil
		g.Wake()
		want("without rules", map[string]int{})
		limits.Rules = rules
		g.Wake()
		want("with rules again", map[string]int{"g": 1, "i": 1})
		first.leave()
		second.leave()
		want("none", map[string]int{"g": 0, "i": 0})
		g.Wake()
		want("none, and nobody to come", map[string]int{})
	})
}

// TestGroupsWhileLimitsChange asks which connections share a group while the limits are
// replaced.
func TestGroupsWhileLimitsChange(t *testing.T) {
	g := NewGate(func() Limits {
		return Limits{Connections: 9, PerSite: 9, PerHost: 9, PerAddress: 9, Rules: bySite{"a": "g", "b": "g"}}
	})
	open, want := pair{"a", "mx1", "192.0.2.1"}.pass(g), pair{"b", "mx2", "192.0.2.2"}.pass(g)
	g.join(open, key{})
	var others sync.WaitGroup
	others.Go(func() {
		for range 1000 {
			g.Wake()
		}
	})
	for range 1000 {
		if !open.stands(perGroup, want) {
			t.Error("it shares no group")
		}
	}
	others.Wait()
}

// TestGroupLimitByMove: a connection that another site takes up counts in the groups of
// that site from then on.
func TestGroupLimitByMove(t *testing.T) {
	g := NewGate(func() Limits {
		return Limits{Connections: 9, PerSite: 9, PerHost: 9, PerAddress: 9, Rules: bySite{"a": "g", "b": "h"}}
	})
	p := pair{"a", "mx1", "192.0.2.1"}.pass(g)
	g.join(p, key{})
	if p.resume("b"); g.groups["g"].open != 0 || g.groups["h"] == nil || g.groups["h"].open != 1 {
		t.Errorf("%+v, want it in h alone", g.groups)
	}
}

// bySite are rules that name a group for each site.
type bySite map[string]string

func (r bySite) Host(site, _ string) HostLimits {
	return HostLimits{PerSite: 9, Groups: []GroupLimits{{Name: r[site]}}}
}

// TestPace is when a message may be offered by the rates of groups.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := Limits{Rules: byHost{
			"both": {Groups: []GroupLimits{{Name: "slow", Rate: 0.5}, {Name: "fast", Rate: 4}}},
			"fast": {Groups: []GroupLimits{{Name: "fast", Rate: 4}, {Name: "free"}}},
			"rare": {Groups: []GroupLimits{{Name: "rare", Rate: 1e-9}}},
		}}
		g := NewGate(func() Limits { return limits })
		for i, c := range []struct {
			host string
			wait time.Duration
		}{
			{"other", 0}, {"both", 0}, {"fast", 250 * time.Millisecond}, {"fast", 250 * time.Millisecond},
			{"both", 1500 * time.Millisecond}, {"fast", 250 * time.Millisecond}, {"rare", 0}, {"rare", 24 * time.Hour}, {"both", 0},
		} {
			began := time.Now()
			if err := g.Pace(t.Context(), "a", c.host); err != nil || time.Since(began) != c.wait {
				t.Errorf("%d. %s waits for %v (%v), want %v", i+1, c.host, time.Since(began), err, c.wait)
			}
		}
		if g.groups["free"] != nil {
			t.Error("a group without a rate is remembered")
		}
		p := pair{"a", "fast", "192.0.2.1"}.pass(g)
		if g.count(p, 1); g.Pace(t.Context(), "a", "fast") != nil || g.groups["fast"].open != 1 {
			t.Error("a connection is counted no more")
		}
		g.count(p, -1)
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		if err := g.Pace(ctx, "a", "both"); !errors.Is(err, why) {
			t.Errorf("%v, want %v", err, why)
		}
		// What is under way for a group is kept while a message may be too early.
		if g.Wake(); g.groups["slow"] == nil {
			t.Error("the pace is forgotten")
		}
		time.Sleep(time.Hour)
		if g.Wake(); g.groups["slow"] != nil || g.groups["rare"] == nil {
			t.Error("a pace that matters no more is remembered, or one that does is not")
		}
		limits.Rules = nil
		if err := g.Pace(ctx, "a", "rare"); err != nil {
			t.Errorf("%v without rules", err)
		}
		if err := (*Gate)(nil).Pace(ctx, "a", "rare"); err != nil {
			t.Errorf("%v without a gate", err)
		}
	})
}
