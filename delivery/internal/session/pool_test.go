package session

import (
	"maps"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// silent is an Observer that tells nobody.
type silent struct{ Observer }

func (silent) Connect(string, netip.AddrPort)                 {}
func (silent) Connected(string, netip.AddrPort, error)        {}
func (silent) Decided(any)                                    {}
func (silent) Secured(string, netip.AddrPort, Protection)     {}
func (silent) Reused(string, netip.AddrPort)                  {}
func (silent) Lines(string, netip.AddrPort) func(l smtp.Line) { return nil }

// counted is what a gate has counted by site and by host.
func counted(g *Gate) (sites map[string]int, hosts map[string]tally) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.sites), maps.Clone(g.hosts)
}

// evict ends a kept session whose place is wanted, as who waits for one does.
func evict(p *Pool, wanted func(*pass) bool) {
	if s := p.idle.oldest(wanted); s != nil {
		p.idle.end(s)
	}
}

// TestPlacesOfKeptSessions: whatever becomes of a session, its place among an agent's
// connections is given back, and while it is kept it counts as unused.
func TestPlacesOfKeptSessions(t *testing.T) {
	for _, c := range []struct {
		name string
		host *smtptest.Host
		do   func(t *testing.T, p *Pool, h *Hop, kept *Session)
	}{
		{"used again by another site", &smtptest.Host{}, func(t *testing.T, p *Pool, h *Hop, kept *Session) {
			h.Site = "b"
			s := p.Kept(h, silent{})
			if s != kept || !s.Reused {
				t.Fatalf("%p, used again: %t; want %p", s, s != nil && s.Reused, kept)
			}
			if sites, hosts := counted(h.Gate); hosts["mx.e.test"] != (tally{open: 1}) || sites["b"] != 1 || sites["a"] != 0 {
				t.Errorf("%+v by host, %v by site; want one in use, of b", hosts, sites)
			}
			p.Keep(s)
			p.Close()
		}},
		{"unused for too long", &smtptest.Host{}, func(_ *testing.T, p *Pool, _ *Hop, _ *Session) { time.Sleep(defaultIdleTimeout) }},
		{"ended to make room", &smtptest.Host{}, func(_ *testing.T, p *Pool, _ *Hop, _ *Session) {
			evict(p, func(*pass) bool { return true })
		}},
		{"closed with the pool", &smtptest.Host{}, func(_ *testing.T, p *Pool, _ *Hop, _ *Session) { p.Close() }},
		{"given up on by the host", &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Hello, Reply: "250 mx.e.test", Then: smtptest.Close}}, Allow: []smtptest.Rule{smtptest.RuleNoQuit}}, func(t *testing.T, p *Pool, h *Hop, _ *Session) {
			if s := p.Kept(h, silent{}); s != nil {
				t.Error("the host had closed it")
			}
		}},
		{"left in the middle of a dialogue", &smtptest.Host{Allow: []smtptest.Rule{smtptest.RuleNoQuit}}, func(_ *testing.T, p *Pool, h *Hop, _ *Session) {
			p.Abandon(p.Kept(h, silent{}))
		}},
		{"too old for another message", &smtptest.Host{}, func(t *testing.T, p *Pool, h *Hop, _ *Session) {
			time.Sleep(10 * time.Second)
			if s := p.Kept(h, silent{}); s != nil {
				t.Error("it has lived for its time")
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": c.host}}
				defer net.Close()
				g := NewGate(func() Limits {
					return Limits{Connections: 9, PerSite: 9, PerHost: 9, PerAddress: 9, ConnectionLife: 10 * time.Second}
				})
				p := &Pool{Config: Config{Hello: "from.test", Dial: net.DialContext}}
				h := &Hop{
					Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"),
					Policy: &Policy{Level: mx.TLSMay}, Gate: g, Site: "a",
				}
				s, err := p.Fresh(t.Context(), h, silent{})
				if err != nil {
					t.Fatal(err)
				}
				if sites, hosts := counted(g); hosts["mx.e.test"] != (tally{open: 1}) || sites["a"] != 1 {
					t.Errorf("in use: %+v by host, %v by site", hosts, sites)
				}
				p.Keep(s)
				if sites, hosts := counted(g); hosts["mx.e.test"] != (tally{open: 1, idle: 1}) || sites["a"] != 1 {
					t.Errorf("kept: %+v by host, %v by site", hosts, sites)
				}
				synctest.Wait()
				c.do(t, p, h, s)
				time.Sleep(time.Second) // for QUIT and its answer
				synctest.Wait()
				if sites, hosts := counted(g); g.Size() != 0 || len(hosts) != 0 || len(sites) != 0 || net.Open() != 0 {
					t.Errorf("%d connections open; counted are %d, %+v by host, %v by site; want none", net.Open(), g.Size(), hosts, sites)
				}
			})
		})
	}
}

// kit is a Pool in an internet of one host, with as many sessions as are asked for.
func kit(t *testing.T, n int) (*Pool, *Hop, *smtptest.Network, []*Session) {
	t.Helper()
	net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": &smtptest.Host{}}}
	t.Cleanup(net.Close)
	p := &Pool{Config: Config{Hello: "from.test", Dial: net.DialContext}}
	t.Cleanup(p.Close)
	h := &Hop{Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: &Policy{Level: mx.TLSMay}}
	var list []*Session
	for range n {
		s, err := p.Fresh(t.Context(), h, silent{})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return p, h, net, list
}

// TestKeptOverAndOver: a session that is taken up and kept again counts once.
func TestKeptOverAndOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, h, _, list := kit(t, 1)
		p.MaxIdle = 1
		for range maxIdlePerKey + 2 {
			p.Keep(list[0])
			if s := p.Kept(h, silent{}); s != list[0] {
				t.Fatalf("%p, want %p", s, list[0])
			}
		}
		p.Keep(list[0])
	})
}

// TestHowManyAreKept is the bounds of a Sender's kept sessions.
func TestHowManyAreKept(t *testing.T) {
	for _, c := range []struct{ made, most, want int }{
		{3, 0, 3}, {9, 0, 8}, {3, 2, 2}, {3, 3, 3}, {3, -1, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, _, net, list := kit(t, c.made)
			p.MaxIdle = c.most
			for _, s := range list {
				p.Keep(s)
			}
			time.Sleep(time.Second)
			if n := net.Open(); n != c.want {
				t.Errorf("%d of %d are kept, at most %d may be; want %d", n, c.made, c.most, c.want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		p, h, net, list := kit(t, 5)
		p.MaxIdle = 4
		for i, s := range list { // each under a key of its own
			s.key.policy = string(rune('a' + i))
			p.Keep(s)
		}
		time.Sleep(time.Second)
		if n := net.Open(); n != 4 || p.Kept(h, silent{}) != nil {
			t.Errorf("%d are kept, want 4", n)
		}
	})
	// An agent's connections have limits, which count kept ones, too.
	for most, want := range map[int]int{0: maxIdlePerKey + 1, 1: maxIdlePerKey + 1, -1: 0} {
		synctest.Test(t, func(t *testing.T) {
			p, _, net, list := kit(t, maxIdlePerKey+1)
			p.MaxIdle = most
			g := NewGate(func() Limits {
				return Limits{Connections: 99, PerSite: 99, PerHost: 99, PerAddress: 99, ConnectionLife: time.Hour}
			})
			for _, s := range list {
				s.pass = &pass{gate: g, site: "a"}
				g.join(s.pass, key{})
				p.Keep(s)
			}
			time.Sleep(time.Second)
			if n := net.Open(); n != want {
				t.Errorf("an agent keeps %d, at most %d may be; want %d", n, most, want)
			}
		})
	}
}

// TestUnusedForTooLong: it is the session itself that ends, the others stay, and one
// that has been taken up meanwhile does not end.
func TestUnusedForTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, h, net, list := kit(t, 3)
		p.IdleTimeout = 10 * time.Second
		for _, s := range list {
			p.Keep(s)
			time.Sleep(3 * time.Second)
		}
		time.Sleep(2 * time.Second) // the first is 11 s old
		if n := net.Open(); n != 2 {
			t.Fatalf("%d connections, want 2", n)
		}
		s := p.Kept(h, silent{})
		if s != list[2] {
			t.Fatalf("%p, want the one used last, %p", s, list[2])
		}
		p.idle.expire(s) // its timer may strike just now
		time.Sleep(20 * time.Second)
		if n := net.Open(); n != 1 || s.Check() != nil {
			t.Errorf("%d connections, want 1, which is in use", n)
		}
		p.Keep(s)
		if p.Kept(h, silent{}) != s {
			t.Error("it is not kept")
		}
		p.idle.expire(s) // nothing else is kept under the key
		p.Keep(s)
		time.Sleep(9 * time.Second)
		if net.Open() != 1 {
			t.Error("it has ended too early")
		}
		time.Sleep(2 * time.Second)
		p.idle.mu.Lock()
		defer p.idle.mu.Unlock()
		if net.Open() != 0 || len(p.idle.stacks) != 0 {
			t.Errorf("%d connections and %d stacks, want none: it has not ended in time", net.Open(), len(p.idle.stacks))
		}
	})
}

// TestTakesTheLongestUnused: what makes room is the session that has been unused
// longest among those whose place is wanted.
func TestTakesTheLongestUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, net, list := kit(t, 4)
		g := NewGate(func() Limits {
			return Limits{Connections: 9, PerSite: 9, PerHost: 9, PerAddress: 9, ConnectionLife: time.Hour}
		})
		for i, s := range list {
			if i > 0 { // the first is nobody's: it is not counted
				s.pass = &pass{gate: g, site: string(rune('a' + i))}
				if g.join(s.pass, key{}) != nil {
					t.Fatal("there is no room")
				}
			}
			p.Keep(s)
			time.Sleep(time.Second)
		}
		for _, want := range []string{"cd", "d", "d"} {
			evict(p, func(p *pass) bool { return p.site != "d" })
			evict(p, func(*pass) bool { return false })
			time.Sleep(time.Second)
			synctest.Wait()
			left := ""
			sites, _ := counted(g)
			for _, site := range []string{"b", "c", "d"} {
				if sites[site] > 0 {
					left += site
				}
			}
			if left != want {
				t.Errorf("%q are left, want %q", left, want)
			}
		}
		if n := net.Open(); n != 2 {
			t.Errorf("%d connections, want that of d and the one nobody counts", n)
		}
	})
}

// TestTakesTheLongestUnusedOfAll: so it is where they are kept for several hosts.
func TestTakesTheLongestUnusedOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p idle
		g := NewGate(func() Limits { return Limits{Connections: 9, PerSite: 9, PerHost: 9, PerAddress: 9} })
		for _, host := range []string{"d", "b", "f", "a", "c", "h", "e", "g"} {
			p.add(&Session{key: key{host: host}, pass: &pass{gate: g, site: host}}, time.Now(), 9, 9, time.Hour)
			time.Sleep(time.Second)
		}
		got := ""
		for range 8 {
			got += p.oldest(func(*pass) bool { return true }).key.host
		}
		if got != "dbfacheg" {
			t.Errorf("%s, want dbfacheg", got)
		}
	})
}

// TestPoolReopens: a closed pool keeps nothing until it is opened again.
func TestPoolReopens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, h, net, list := kit(t, 3)
		p.MaxIdle = 1
		p.Keep(list[0])
		p.Close()
		if n := net.Open(); n != 2 {
			t.Errorf("%d connections once the pool is closed, want the 2 in use", n)
		}
		if p.idle.count != 0 || len(p.idle.stacks) != 0 {
			t.Errorf("%d in %d stacks are kept by a closed pool", p.idle.count, len(p.idle.stacks))
		}
		p.Keep(list[1])
		time.Sleep(time.Second)
		if p.Kept(h, silent{}) != nil || net.Open() != 1 {
			t.Errorf("a closed pool has kept a session; %d connections", net.Open())
		}
		p.Reopen()
		p.Keep(list[2])
		if p.Kept(h, silent{}) != list[2] {
			t.Error("nothing is kept though the pool is open again")
		}
	})
}

// TestKeptIsQuiet: once a session has been given back, who had it is not told what is
// said in it.
func TestKeptIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, h, _, list := kit(t, 1)
		p.Keep(list[0])
		o := &listener{}
		h.Without = smtp.OptSize
		s := p.Kept(h, o)
		if s.Session.Without() != smtp.OptSize || len(o.told) != 1 {
			t.Errorf("it does without %v, told %v", s.Session.Without(), o.told)
		}
		if err := s.Hello(t.Context()); err != nil || o.lines.Load() != 2 {
			t.Errorf("told of %d lines (%v), want 2", o.lines.Load(), err)
		}
		p.Keep(s)
		if p.Close(); o.lines.Load() != 2 {
			t.Errorf("told of %d lines, want no more than 2", o.lines.Load())
		}
	})
}

// TestNotKept: a session that is of no more use ends at once.
func TestNotKept(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, s *Session){
		"nothing more may be said in it": func(t *testing.T, s *Session) { _ = s.Hello(t.Context()) },
		"its policy has ended":           func(_ *testing.T, s *Session) { s.expires = time.Now() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, h, net, list := kit(t, 1)
				net.Servers["192.0.2.1"].(*smtptest.Host).Script = []smtptest.Cue{{At: smtptest.Hello, Reply: "421 busy"}}
				spoil(t, list[0])
				p.Keep(list[0])
				time.Sleep(time.Second)
				if net.Open() != 0 || p.Kept(h, silent{}) != nil {
					t.Error("it is kept")
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		p, h, net, list := kit(t, 1)
		list[0].expires = time.Now().Add(10 * time.Second)
		p.Keep(list[0])
		s := p.Kept(h, silent{})
		if s != list[0] {
			t.Fatal("it is not kept until its policy ends")
		}
		p.Keep(s)
		time.Sleep(10 * time.Second)
		if p.Kept(h, silent{}) != nil {
			t.Error("it is kept when its policy has ended")
		}
		time.Sleep(time.Second)
		if net.Open() != 0 {
			t.Error("it has not ended")
		}
	})
}

// TestCloseWaitsForAll: Close waits for every session that says QUIT.
func TestCloseWaitsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, net, list := kit(t, 2)
		net.Servers["192.0.2.1"].(*smtptest.Host).Script = []smtptest.Cue{
			{At: smtptest.Quit, Conn: 1, Delay: 2 * time.Second}, {At: smtptest.Quit, Delay: time.Second},
		}
		for _, s := range list {
			p.idle.end(s)
		}
		if p.Close(); net.Open() != 0 {
			t.Errorf("%d connections, want none", net.Open())
		}
	})
}
