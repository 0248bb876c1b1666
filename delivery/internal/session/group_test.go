package session

import (
	"context"
	"errors"
	stdnet "net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// TestEndOver: once the limits of sites or groups have been lowered, as many unused
// sessions end as there are too many, those first that have been unused longest.
func TestEndOver(t *testing.T) {
	group := func(list ...GroupLimits) []GroupLimits { return list }
	g := func(n int) GroupLimits { return GroupLimits{Name: "g", Connections: n} }
	for _, c := range []struct {
		name  string
		busy  int // of the sessions with the first host, that are in use
		then  Limits
		rules byHost // by host; none of them is of a site
		wake  bool
		kept  string // the sessions that are kept
	}{
		{name: "none is too many", then: Limits{PerSite: 3}, kept: "1a 1a 1a 2b 2b"},
		{name: "one of a site", then: Limits{PerSite: 2}, kept: "1a 1a 2b 2b"},
		{name: "some of each site", then: Limits{PerSite: 1}, kept: "1a 2b"},
		{name: "all", then: Limits{}, kept: ""},
		{name: "those in use stay, and count", busy: 2, then: Limits{PerSite: 2}, kept: "2b 2b"},
		{name: "as many as a group may have", rules: byHost{"1": {PerSite: 9, Groups: group(g(5))}, "2": {PerSite: 9, Groups: group(g(5))}}, wake: true, kept: "1a 1a 1a 2b 2b"},
		{name: "of two hosts in a group", rules: byHost{"1": {PerSite: 9, Groups: group(g(3))}, "2": {PerSite: 9, Groups: group(g(3))}}, wake: true, kept: "1a 2b 2b"},
		{name: "of one host in a group", rules: byHost{"1": {PerSite: 9, Groups: group(g(1))}, "2": {PerSite: 9}}, wake: true, kept: "1a 2b 2b"},
		{name: "a group without a limit, and one with", rules: byHost{"1": {PerSite: 9, Groups: group(GroupLimits{Name: "free"}, g(2))}, "2": {PerSite: 9}}, wake: true, kept: "1a 1a 2b 2b"},
		{name: "a group that nothing counts in yet", rules: byHost{"1": {PerSite: 9, Groups: group(g(1))}, "2": {PerSite: 9}}, kept: "1a 1a 1a 2b 2b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": &smtptest.Host{}, "192.0.2.2": &smtptest.Host{}}}
				defer net.Close()
				limits := Limits{PerSite: 9}
				gate := NewGate(func() Limits {
					l := limits
					l.Connections, l.PerHost, l.PerAddress, l.ConnectionLife = 9, 9, 9, time.Hour
					return l
				})
				p := &Pool{Config: Config{Hello: "from.test", Dial: net.DialContext}}
				names := make(map[*Session]string)
				var order, busy []*Session
				for i, name := range []string{"1a", "1a", "2b", "1a", "2b"} {
					host, site := name[:1], name[1:]
					h := &Hop{
						Host: &mx.Host{Name: host}, Addr: netip.MustParseAddrPort("192.0.2." + host + ":25"),
						Policy: &Policy{Level: mx.TLSMay}, Gate: gate, Site: site,
					}
					s, err := p.Fresh(t.Context(), h, silent{})
					if err != nil {
						t.Fatal(err)
					}
					names[s] = name
					if i < c.busy {
						busy = append(busy, s)
					} else {
						order = append(order, s)
					}
				}
				for _, s := range order {
					p.Keep(s)
					time.Sleep(time.Second)
				}
				limits = c.then
				if c.rules != nil {
					limits.Rules = c.rules
				}
				if c.wake {
					gate.Wake()
				}
				p.EndOver()
				var kept []string
				p.idle.mu.Lock()
				for _, st := range p.idle.stacks {
					for s := st.top; s != nil; s = s.below {
						kept = append(kept, names[s])
					}
				}
				p.idle.mu.Unlock()
				slices.Sort(kept)
				if text := strings.Join(kept, " "); text != c.kept {
					t.Errorf("%q are kept, want %q", text, c.kept)
				}
				time.Sleep(time.Second)
				if n := net.Open(); n != len(kept)+len(busy) || gate.Size() != n {
					t.Errorf("%d connections are open, %d counted", n, gate.Size())
				}
				for _, s := range busy {
					p.Abandon(s)
				}
				p.Close()
			})
		})
	}
}

// TestSizeOfGroup is how many connections count in a group.
func TestSizeOfGroup(t *testing.T) {
	g := NewGate(func() Limits {
		return Limits{Connections: 9, PerSite: 9, PerHost: 9, PerAddress: 9, Rules: bySite{"a": "g"}}
	})
	p := pair{"a", "mx1", "192.0.2.1"}.pass(g)
	g.join(p, key{})
	if p.rest(); g.SizeOfGroup("g") != 1 || g.SizeOfGroup("none") != 0 {
		t.Errorf("%d in g, %d in none", g.SizeOfGroup("g"), g.SizeOfGroup("none"))
	}
}

// TestRefusedWhileWaiting: a session that comes to who waits for a connection, and that the
// policy of its message refuses, is ended, and it has a connection of its own.
func TestRefusedWhileWaiting(t *testing.T) {
	one := Limits{Connections: 9, PerSite: 9, PerHost: 1, PerAddress: 9}
	hop := func(c *crowd) *Hop {
		h, asked := c.hop(1, "b"), 0
		h.Policy.Basis = "b"
		h.Policy.Judge = func(*Handshake) Judgement {
			if asked++; asked == 1 {
				return Judgement{Err: errors.New("no"), Decision: "D"}
			}
			return Judgement{Decision: "D"}
		}
		return h
	}
	for name, kept := range map[string]bool{"one that is kept by then": true, "one that another is done with": false} {
		crowded(t, name, one, func(t *testing.T, c *crowd) {
			used := c.now(t, 1, "a")
			if kept {
				c.pool.Keep(used)
			}
			o := &listener{}
			came := c.fresh(t.Context(), hop(c), o)
			if !kept {
				c.pool.Keep(used)
			}
			s := c.given(t, came)
			if s == used || len(o.told) != 1 || o.told[0] != "secured" {
				t.Errorf("the session that was refused, or told %v", o.told)
			}
			c.pool.Keep(s)
		})
	}
}

// TestStages is how long each stage of a connection took, of the latest one of a hop.
func TestStages(t *testing.T) {
	for _, implicit := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			host := &smtptest.Host{Users: map[string]string{"u": "p"}, Extensions: []string{"STARTTLS", "AUTH PLAIN"}, Script: []smtptest.Cue{
				{At: smtptest.Banner, Delay: 2 * time.Second},
				{At: smtptest.Hello, Delay: 4 * time.Second},
				{At: smtptest.StartTLS, Delay: 8 * time.Second},
				{At: smtptest.HelloTLS, Delay: 16 * time.Second},
				{At: smtptest.Auth, Delay: 32 * time.Second},
			}}
			want := Stages{Connect: time.Second, Hello: 54 * time.Second, TLS: 8 * time.Second}
			if implicit {
				host.ImplicitTLS, host.Extensions = true, host.Extensions[1:]
				host.Script[2] = smtptest.Cue{At: smtptest.Handshake, Delay: 8 * time.Second}
				want.Hello = 38 * time.Second
			}
			net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": host}}
			defer net.Close()
			h := loginHop(implicit)
			p := &Pool{Config: Config{Hello: "from.test", MaxIdle: -1, Dial: slowly(net, time.Second)}}
			for range 2 {
				began := time.Now()
				s, err := p.Fresh(t.Context(), h, silent{})
				if err != nil {
					t.Fatal(err)
				}
				p.Keep(s)
				got := h.Took
				for _, d := range []*time.Duration{&got.Connect, &got.Hello, &got.TLS} {
					*d = d.Round(time.Second / 10)
				}
				if got != want || !h.Dialled.Equal(began) {
					t.Errorf("TLS from the start %t: %+v since %v, want %+v since %v", implicit, got, h.Dialled, want, began)
				}
				time.Sleep(time.Minute)
			}
			p.Close()
		})
	}
}

// loginHop is a hop with a login.
func loginHop(implicit bool) *Hop {
	return &Hop{
		Host: &mx.Host{Name: "mx.e.test", ImplicitTLS: implicit, Login: &smarthost.Login{User: "u", Password: "p"}},
		Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: &Policy{Level: mx.TLSEncrypt},
	}
}

// slowly dials in a network after a while.
func slowly(net *smtptest.Network, after time.Duration) func(ctx context.Context, network, address string) (stdnet.Conn, error) {
	return func(ctx context.Context, network, address string) (stdnet.Conn, error) {
		time.Sleep(after)
		return net.DialContext(ctx, network, address)
	}
}
