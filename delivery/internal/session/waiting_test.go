package session

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// listener is an Observer that notes what it is told.
type listener struct {
	silent
	told  []string
	lines atomic.Int32
}

func (l *listener) Decided(any)                                {}
func (l *listener) Secured(string, netip.AddrPort, Protection) { l.told = append(l.told, "secured") }
func (l *listener) Reused(string, netip.AddrPort)              { l.told = append(l.told, "reused") }
func (l *listener) Lines(string, netip.AddrPort) func(smtp.Line) {
	return func(smtp.Line) { l.lines.Add(1) }
}

// crowd is a Pool whose connections are limited, in an internet of two hosts.
type crowd struct {
	pool  *Pool
	gate  *Gate
	net   *smtptest.Network
	hosts [2]*smtptest.Host
}

// crowded runs f in a bubble, and looks whether every place has been given back once
// the pool is closed.
func crowded(t *testing.T, name string, limits Limits, f func(t *testing.T, c *crowd)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			limits.ConnectionLife = time.Hour
			c := &crowd{gate: NewGate(func() Limits { return limits })}
			for i := range c.hosts {
				c.hosts[i] = &smtptest.Host{}
			}
			c.net = &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": c.hosts[0], "192.0.2.2": c.hosts[1]}}
			defer c.net.Close()
			c.pool = &Pool{Config: Config{Hello: "from.test", Dial: c.net.DialContext}}
			f(t, c)
			c.pool.Close()
			if c.gate.Size() != 0 || len(c.gate.waiting) != 0 || c.net.Open() != 0 {
				t.Errorf("%d connections are open, %d counted, %d wait; want none", c.net.Open(), c.gate.Size(), len(c.gate.waiting))
			}
			c.pool.idle.mu.Lock()
			defer c.pool.idle.mu.Unlock()
			if n := len(c.pool.idle.ending); n != 0 {
				t.Errorf("%d sessions are ending, want none", n)
			}
		})
	})
}

func (c *crowd) hop(host int, site string) *Hop {
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(host)}), 25)
	return &Hop{
		Host: &mx.Host{Name: addr.Addr().String()}, Addr: addr,
		Policy: &Policy{Level: mx.TLSMay}, Gate: c.gate, Site: site,
	}
}

// got is what Fresh has come to.
type got struct {
	*Session
	err error
}

// fresh asks for a session, and waits until nothing more happens.
func (c *crowd) fresh(ctx context.Context, h *Hop, o Observer) <-chan got {
	came := make(chan got, 1)
	go func() {
		s, err := c.pool.Fresh(ctx, h, o)
		came <- got{s, err}
	}()
	synctest.Wait()
	return came
}

// now is a session that there is room for.
func (c *crowd) now(t *testing.T, host int, site string) *Session {
	t.Helper()
	return c.given(t, c.fresh(t.Context(), c.hop(host, site), silent{}))
}

// given is the session that a call is given within the time that it takes to connect.
func (c *crowd) given(t *testing.T, came <-chan got) *Session {
	t.Helper()
	select {
	case g := <-came:
		if g.err != nil {
			t.Fatal(g.err)
		}
		return g.Session
	case <-time.After(500 * time.Millisecond):
		t.Fatal("it still waits")
		return nil
	}
}

// TestWaitsForASession: who waits for a connection has a session that others are done
// with, or a place that one which is kept unused has taken up.
func TestWaitsForASession(t *testing.T) {
	one := Limits{Connections: 9, PerSite: 9, PerHost: 1, PerAddress: 9}
	crowded(t, "a session that another is done with", one, func(t *testing.T, c *crowd) {
		used := c.now(t, 1, "a")
		h, o := c.hop(1, "b"), &listener{}
		h.Without = smtp.OptSize
		came := c.fresh(t.Context(), h, o)
		c.pool.Keep(used)
		if s := c.given(t, came); s != used || !s.Reused || s.Session.Without() != smtp.OptSize {
			t.Errorf("%p, used before: %t, does without %v", s, s.Reused, s.Session.Without())
		}
		if strings.Join(o.told, " ") != "reused" || c.gate.SizeOf("b") != 1 || len(c.net.Dials()) != 1 {
			t.Errorf("told %v, %d connections of b, %d dialled", o.told, c.gate.SizeOf("b"), len(c.net.Dials()))
		}
		if used.Quit(t.Context()); o.lines.Load() == 0 {
			t.Error("who has it is not told what is said in it")
		}
		c.pool.Abandon(used)
	})
	crowded(t, "one that the host has closed", one, func(t *testing.T, c *crowd) {
		c.hosts[0].Script = []smtptest.Cue{{At: smtptest.Hello, Conn: 1, Reply: "250 mx.e.test", Then: smtptest.Close}}
		c.hosts[0].Allow = []smtptest.Rule{smtptest.RuleNoQuit}
		used := c.now(t, 1, "a")
		o := &listener{}
		came := c.fresh(t.Context(), c.hop(1, "a"), o)
		c.pool.Keep(used)
		s := c.given(t, came)
		if s == used || s.Reused || strings.Join(o.told, " ") != "secured" {
			t.Errorf("a session that is gone, or told %v", o.told)
		}
		c.pool.Keep(s)
	})
	crowded(t, "one that is kept by then", one, func(t *testing.T, c *crowd) {
		used := c.now(t, 1, "a")
		c.pool.Keep(used)
		h, o := c.hop(1, "b"), &listener{}
		h.Without = smtp.OptSize
		s := c.given(t, c.fresh(t.Context(), h, o))
		if s != used || strings.Join(o.told, " ") != "reused" || s.Session.Without() != smtp.OptSize || c.gate.SizeOf("b") != 1 {
			t.Errorf("%p, told %v, does without %v", s, o.told, s.Session.Without())
		}
		c.pool.Keep(s)
	})
	crowded(t, "one of another kind makes room", one, func(t *testing.T, c *crowd) {
		used := c.now(t, 1, "a")
		h := c.hop(1, "a")
		h.Without = smtp.OptEHLO
		came := c.fresh(t.Context(), h, silent{})
		c.pool.Keep(used)
		if s := c.given(t, came); s == used || s.Reused {
			t.Error("a session for something else")
		} else {
			c.pool.Keep(s)
		}
	})
	crowded(t, "who gives up", one, func(t *testing.T, c *crowd) {
		used := c.now(t, 1, "a")
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		came := c.fresh(ctx, c.hop(1, "a"), silent{})
		cancel(why)
		if g := <-came; !errors.Is(g.err, why) || len(c.gate.waiting) != 0 {
			t.Errorf("%v, %d wait", g.err, len(c.gate.waiting))
		}
		c.pool.Keep(used)
	})
	crowded(t, "who gives up keeps the session that came meanwhile", one, func(t *testing.T, c *crowd) {
		used := c.now(t, 1, "a")
		h := c.hop(1, "a")
		w := c.gate.join(&pass{gate: c.gate, site: "a", host: h.Host.Name, addr: h.Addr.Addr()}, h.key())
		c.pool.Keep(used)
		if c.pool.dismiss(w); w.sess != used || c.pool.Kept(h, silent{}) != used {
			t.Error("it is lost")
		}
		c.pool.Keep(used)
	})
	two := Limits{Connections: 2, PerSite: 9, PerHost: 9, PerAddress: 9}
	crowded(t, "one session is ended for one place", two, func(t *testing.T, c *crowd) {
		c.hosts[0].Script = []smtptest.Cue{{At: smtptest.Quit, Delay: time.Second}}
		first, second := c.now(t, 1, "a"), c.now(t, 1, "a")
		came := c.fresh(t.Context(), c.hop(2, "a"), silent{})
		c.pool.Keep(first)
		synctest.Wait()
		c.pool.Keep(second)
		c.gate.Wake()
		time.Sleep(2 * time.Second)
		c.pool.Keep(c.given(t, came))
		if n := c.net.Open(); n != 2 || c.pool.Kept(c.hop(1, "a"), silent{}) != second {
			t.Errorf("%d connections, want the second and the new one", n)
		}
		c.pool.Keep(second)
	})
	crowded(t, "a session that is not in the way stays", one, func(t *testing.T, c *crowd) {
		other, used := c.now(t, 2, "a"), c.now(t, 1, "a")
		c.pool.Keep(other)
		came := c.fresh(t.Context(), c.hop(1, "a"), silent{})
		time.Sleep(time.Second)
		if c.net.Open() != 2 {
			t.Error("it has ended")
		}
		c.pool.Keep(used)
		c.pool.Keep(c.given(t, came))
	})
}

// TestNoUseToWhoWaits: a session that is of no more use, or is not to be kept, is ended
// though somebody waits for one like it, who has its place.
func TestNoUseToWhoWaits(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits Limits
		spoil  func(c *crowd, s *Session)
	}{
		{"no session is kept", Limits{}, func(c *crowd, _ *Session) { c.pool.MaxIdle = -1 }},
		{"it has carried its messages", Limits{Messages: 1}, func(*crowd, *Session) {}},
		{"its policy has ended", Limits{}, func(_ *crowd, s *Session) { s.expires = time.Now() }},
		{"nothing more may be said in it", Limits{}, func(c *crowd, s *Session) {
			c.hosts[0].Script = []smtptest.Cue{{At: smtptest.Hello, Conn: 1, Nth: 2, Reply: "421 busy"}}
			_ = s.Hello(context.Background())
		}},
	} {
		c.limits.Connections, c.limits.PerSite, c.limits.PerHost, c.limits.PerAddress = 9, 9, 1, 9
		crowded(t, c.name, c.limits, func(t *testing.T, in *crowd) {
			used := in.now(t, 1, "a")
			c.spoil(in, used)
			h := in.hop(1, "a")
			w := in.gate.join(&pass{gate: in.gate, site: "a", host: h.Host.Name, addr: h.Addr.Addr()}, h.key())
			in.pool.Keep(used)
			time.Sleep(time.Second)
			if w.sess != nil || !admitted(w) {
				t.Error("it was handed on, or its place was not")
			}
			in.pool.dismiss(w)
		})
	}
}
