package delivery_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// customers is domains c0.test, c1.test, ... with a host each in the domain of one
// provider, alone.test with a host of its own before one of the provider's, and own.test
// with a host of its own. All hosts take a second for a message.
func customers(n int) *smtptest.Internet {
	in := &smtptest.Internet{Hosts: map[string]*smtptest.Host{}}
	zone := "$TTL 3600\nalone.test. MX 10 dead.test.\nalone.test. MX 20 last.mail.provider.test.\ndead.test. A 192.0.3.1\n" +
		"last.mail.provider.test. A 192.0.3.2\nown.test. MX 10 mx.own.test.\nsub.own.test. MX 10 mx.own.test.\nmx.own.test. A 192.0.3.3\n"
	add := func(name string) {
		in.Hosts[name] = &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Final, Delay: time.Second}}}
	}
	for i := range n {
		zone += fmt.Sprintf("c%[1]d.test. MX 10 c%[1]d.mail.provider.test.\nc%[1]d.mail.provider.test. A 192.0.2.%[2]d\n", i, i+1)
		add(fmt.Sprintf("c%d.mail.provider.test", i))
	}
	add("last.mail.provider.test")
	add("mx.own.test")
	in.Zone, in.Links = zone, map[string]smtptest.Link{"dead.test": {Fault: smtptest.ConnRefused}}
	return in
}

// together is how many connections were open at once to addresses with a prefix.
func (o *office) together(prefix ...string) (most int) {
	type change struct {
		at time.Time
		n  int
	}
	var list []change
	for _, h := range o.net.Hosts {
		for _, c := range h.Connections() {
			if !slices.ContainsFunc(prefix, func(p string) bool { return strings.HasPrefix(c.Local.String(), p) }) {
				continue
			}
			list = append(list, change{c.Opened, 1})
			if !c.Closed.IsZero() {
				list = append(list, change{c.Closed, -1})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b change) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return a.n - b.n
	})
	open := 0
	for _, c := range list {
		open += c.n
		most = max(most, open)
	}
	return most
}

// times are when messages arrived, at all hosts.
func (o *office) times() (list []time.Time) {
	for _, h := range o.net.Hosts {
		for _, m := range h.Messages() {
			list = append(list, m.At)
		}
	}
	slices.SortFunc(list, time.Time.Compare)
	return list
}

func TestRulesInvalid(t *testing.T) {
	s := delivery.Settings{
		Limits: delivery.Limits{Rate: math.NaN()},
		Rules: []delivery.Rule{
			{Match: delivery.Match{Domain: "e.test"}, Connections: 1},
			{Match: delivery.Match{Domain: "E.test."}, Connections: 2},
			{Match: delivery.Match{Domain: "e.test", MX: "mx.test"}, Connections: 1},
			{Connections: 1},
			{Match: delivery.Match{MX: "..test"}, Rate: 1},
			{Match: delivery.Match{MX: "a.test"}, Rate: -1, Connections: -2, Messages: -3, Recipients: -4},
			{Match: delivery.Match{MX: "b.test"}, Rate: math.Inf(1)},
			{Match: delivery.Match{MX: "c.test"}, Group: "none"},
			{Match: delivery.Match{Site: "d.test"}},
		},
		Groups: map[string]delivery.Group{"": {}, "g": {Connections: -1}, "h": {Rate: math.NaN()}},
	}
	err := s.Validate()
	for _, want := range []string{
		"Limits.Rate", "Rules[1].Match: domain E.test. is that of Rules[0]", "Rules[2].Match", "Rules[3].Match", "Rules[4].Match",
		"Rules[5].Rate", "Rules[5].Connections", "Rules[5].Messages", "Rules[5].Recipients", "Rules[6].Rate",
		`Rules[7].Group: no group named "none"`, "Rules[8]: it sets nothing", "Groups: one has no name",
		`Groups["g"].Connections`, `Groups["h"].Rate`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not say %q", err, want)
		}
	}
	a := &delivery.Agent{}
	if a.Configure(s) == nil {
		t.Error("they are taken")
	}
}

func TestRulesSpecific(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, customers(2))
		defer o.net.Close()
		o.agent.Settings.Limits = delivery.Limits{PerSite: 9, Recipients: 90}
		o.agent.Settings.Rules = []delivery.Rule{
			{Match: delivery.Match{MX: "provider.test"}, Connections: 1, Rate: 1, Messages: 1, Recipients: 1, Group: "wide"},
			{Match: delivery.Match{MX: ".MAIL.provider.test"}, Connections: 2, Rate: 2, Group: "narrow"},
			{Match: delivery.Match{Domain: "c0.test"}, Connections: 3, Group: "domain"},
			{Match: delivery.Match{Site: "c1.mail.provider.test"}, Rate: 4, Messages: 4},
			{Match: delivery.Match{Domain: ".own.test"}, Messages: 5},
			{Match: delivery.Match{Domain: ".test"}, Recipients: 6},
		}
		o.agent.Settings.Groups = map[string]delivery.Group{"wide": {}, "narrow": {}, "domain": {}}
		for domain, want := range map[string]delivery.HostLimits{
			"c0.test":      {Connections: 3, Rate: 2, Messages: 1, Recipients: 6, Groups: []string{"domain", "narrow"}},
			"c1.test":      {Connections: 2, Rate: 4, Messages: 4, Recipients: 6, Groups: []string{"narrow"}},
			"own.test":     {Connections: 9, Recipients: 6},
			"sub.own.test": {Connections: 9, Messages: 5, Recipients: 6},
		} {
			e, err := o.agent.Explain(t.Context(), "", domain)
			if err != nil || fmt.Sprint(e.Limits) != fmt.Sprint([]delivery.HostLimits{want}) {
				t.Errorf("%s: %v, %v; want %v", domain, e.Limits, err, want)
			}
		}
		e, err := o.agent.Explain(t.Context(), "", "alone.test")
		const text = "  site dead.test;,last.mail.provider.test; for .test\n  limits at dead.test: 9 connections, 6 recipients a transaction\n" +
			"  limits at last.mail.provider.test: 2 connections, 2 messages a second, 1 messages a connection, 6 recipients a transaction, group narrow\n"
		if err != nil || !strings.Contains(e.String(), text) {
			t.Errorf("got\n%v\nwant\n%s", e, text)
		}
	})
}

func TestRules(t *testing.T) {
	const n = 60
	run := func(t *testing.T, s delivery.Settings, to []string, took time.Duration, look func(t *testing.T, o *office)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, customers(6))
			s.Jitter = -1
			o.agent.Settings = s
			o.start()
			began := time.Now()
			for i := range n {
				o.submit(message(fmt.Sprintf("u%d@%s", i, to[i%len(to)])))
			}
			for len(o.of(delivery.Delivered)) < n {
				if pass(100 * time.Millisecond); time.Since(began) > took {
					t.Fatalf("%d of %d delivered after %v", len(o.of(delivery.Delivered)), n, took)
				}
			}
			if got := len(o.of(delivery.Deferred)); got > 0 {
				t.Errorf("a limit cost %d attempts", got)
			}
			look(t, o)
		})
	}
	domains := []string{"c0.test", "c1.test", "c2.test", "c3.test", "c4.test", "c5.test"}
	group := func(c int, rate float64) delivery.Settings {
		return delivery.Settings{
			Rules:  []delivery.Rule{{Match: delivery.Match{MX: ".mail.provider.test"}, Group: "provider"}},
			Groups: map[string]delivery.Group{"provider": {Connections: c, Rate: rate}},
		}
	}
	atOnce := func(want int) func(t *testing.T, o *office) {
		return func(t *testing.T, o *office) {
			if got := o.most(); got != want {
				t.Errorf("%d connections at once, want %d", got, want)
			}
		}
	}
	t.Run("QUE-13 connections to a site by its domain", func(t *testing.T) {
		s := delivery.Settings{Rules: []delivery.Rule{{Match: delivery.Match{Domain: "own.test"}, Connections: 3}}}
		run(t, s, []string{"own.test"}, 25*time.Second, atOnce(3))
	})
	t.Run("QUE-13 more connections than to others", func(t *testing.T) {
		s := delivery.Settings{
			Limits: delivery.Limits{PerSite: 2},
			Rules:  []delivery.Rule{{Match: delivery.Match{Site: "mx.own.test"}, Connections: 6}},
		}
		run(t, s, []string{"own.test"}, 25*time.Second, atOnce(6))
	})
	t.Run("QUE-13 connections to the hosts of a provider, each", func(t *testing.T) {
		s := delivery.Settings{Rules: []delivery.Rule{{Match: delivery.Match{MX: "provider.test"}, Connections: 1}}}
		run(t, s, domains[:4], 25*time.Second, atOnce(4))
	})
	t.Run("QUE-13 connections to all sites of a provider", func(t *testing.T) {
		run(t, group(4, 0), domains, 25*time.Second, atOnce(4))
	})
	t.Run("QUE-13 connections to a provider that a domain names as its second host", func(t *testing.T) {
		run(t, group(4, 0), append(domains[:1:1], "alone.test"), 25*time.Second, func(t *testing.T, o *office) {
			if got := o.together("192.0.2.", "192.0.3.2"); got != 4 {
				t.Errorf("%d connections at once, want 4", got)
			}
		})
	})
	paced := func(t *testing.T, o *office) {
		times := o.times()
		for i := range times[1:] {
			if d := times[i+1].Sub(times[i]); d < 199*time.Millisecond {
				t.Errorf("message %d came %v after the last", i+1, d)
			}
		}
	}
	t.Run("QUE-13 messages a second to all sites of a provider", func(t *testing.T) {
		run(t, group(0, 5), domains, 16*time.Second, paced)
	})
	t.Run("QUE-13 messages a second to a provider that a domain names as its second host", func(t *testing.T) {
		run(t, group(0, 5), append(domains[:1:1], "alone.test"), 16*time.Second, paced)
	})
	t.Run("QUE-13 messages a connection and a second", func(t *testing.T) {
		s := delivery.Settings{Rules: []delivery.Rule{{Match: delivery.Match{MX: "mx.own.test"}, Messages: 7, Rate: 5}}}
		run(t, s, []string{"own.test"}, 16*time.Second, func(t *testing.T, o *office) {
			paced(t, o)
			carried := map[int]int{}
			for _, m := range o.net.Hosts["mx.own.test"].Messages() {
				if carried[m.Conn]++; carried[m.Conn] > 7 {
					t.Errorf("%d messages over one connection", carried[m.Conn])
				}
			}
		})
	})
}

// TestRulesReplaced: rules that are replaced hold for what is under way at once, also for
// connections that were opened before.
func TestRulesReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, customers(6))
		o.start()
		for i := range 600 {
			o.submit(message(fmt.Sprintf("u%d@c%d.test", i, i%6)))
		}
		pass(5 * time.Second)
		s := o.agent.CurrentSettings()
		s.Rules = []delivery.Rule{{Match: delivery.Match{MX: "provider.test"}, Group: "g"}}
		s.Groups = map[string]delivery.Group{"g": {Connections: 3}}
		if err := o.agent.Configure(s); err != nil {
			t.Fatal(err)
		}
		s.Rules[0].Group, s.Groups["g"] = "changed", delivery.Group{}
		if got := o.agent.CurrentSettings(); got.Rules[0].Group != "g" || got.Groups["g"].Connections != 3 {
			t.Errorf("%+v is in force", got)
		}
		pass(3 * time.Second)
		if got := o.net.Network().Open(); got > 3 {
			t.Errorf("%d connections 3 s after there may be three", got)
		}
		before := len(o.of(delivery.Delivered))
		pass(10 * time.Second)
		if got := len(o.of(delivery.Delivered)) - before; got < 25 || got > 31 {
			t.Errorf("%d delivered in 10 s over 3 connections, want about 30", got)
		}
		s.Rules, s.Groups = nil, nil
		if err := o.agent.Configure(s); err != nil {
			t.Fatal(err)
		}
		pass(20 * time.Second)
		if got := len(o.of(delivery.Delivered)); got != 600 {
			t.Errorf("%d delivered without rules, want 600", got)
		}
	})
}

// TestGroupSlowsNoOther: what waits for a group's limit is in no other mail's way.
func TestGroupSlowsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, customers(200))
		o.agent.Settings.Rules = []delivery.Rule{{Match: delivery.Match{MX: "provider.test"}, Group: "g"}}
		o.agent.Settings.Groups = map[string]delivery.Group{"g": {Connections: 1}}
		for i := range 4000 {
			o.submit(message(fmt.Sprintf("u%d@c%d.test", i, i%200)))
		}
		o.start()
		pass(3 * time.Second)
		for i := range 200 {
			o.submit(message(fmt.Sprintf("u%d@own.test", i)))
		}
		pass(20 * time.Second)
		if got := len(o.net.Hosts["mx.own.test"].Messages()); got != 200 {
			t.Errorf("%d of 200 delivered beside a group that waits", got)
		}
		if got := o.agent.Stats().Claimed; got > 200 {
			t.Errorf("%d deliveries in memory", got)
		}
	})
}
