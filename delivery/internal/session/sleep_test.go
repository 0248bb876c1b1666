package session

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/age/agetest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// TestKeptSessionsAfterSleep: a kept session is as old as it is for its host, which did not
// sleep when this machine did and has given up on it. A wall clock that was put back
// changes nothing.
func TestKeptSessionsAfterSleep(t *testing.T) {
	for _, c := range []struct {
		what  string
		life  time.Duration // of a connection, by an agent's limits
		ends  time.Duration // of the policy
		slept time.Duration
		kept  bool
	}{
		{"awake", time.Hour, time.Hour, 0, true},
		{"for less than it may be unused", time.Hour, time.Hour, defaultIdleTimeout - 5*time.Second, true},
		{"for longer than it may be unused", time.Hour, time.Hour, defaultIdleTimeout, false},
		{"for the night", time.Hour, time.Hour, 8 * time.Hour, false},
		{"SMTP-43 past the end of its policy", time.Hour, 10 * time.Second, 10 * time.Second, false},
		{"for longer than a connection may live", 10 * time.Second, time.Hour, 10 * time.Second, false},
		{"the wall clock was put back", time.Hour, time.Hour, -8 * time.Hour, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": &smtptest.Host{}}}
			defer net.Close()
			p := &Pool{Config: Config{Hello: "from.test", Dial: net.DialContext}}
			defer p.Close()
			began := time.Now()
			h := &Hop{Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Site: "mx.e.test"}
			h.Policy = &Policy{Level: mx.TLSMay, Expires: began.Add(c.ends)}
			h.Gate = NewGate(func() Limits {
				return Limits{Connections: 10, PerSite: 10, PerHost: 10, PerAddress: 10, ConnectionLife: c.life}
			})
			s, err := p.Fresh(t.Context(), h, silent{})
			if err != nil {
				t.Fatal(err)
			}
			p.Keep(s)
			got := p.idle.take(h.key(), h.Site, agetest.Slept(time.Now(), c.slept))
			if (got != nil) != c.kept {
				t.Errorf("used again: %t, want %t", got != nil, c.kept)
			}
			if got != nil {
				p.Keep(got)
			}
			p.Close()
			if n := h.Gate.Size(); n != 0 || net.Open() != 0 {
				t.Errorf("%d connections are counted and %d are open after the end", n, net.Open())
			}
		})
	}
}

// TestTakenAtTheEnd: a session is not used at the very time at which its rest ends.
func TestTakenAtTheEnd(t *testing.T) {
	for _, before := range []time.Duration{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			p, h, _, list := kit(t, 1)
			p.Keep(list[0])
			at := time.Now().Add(defaultIdleTimeout - before)
			if s := p.idle.take(h.key(), "", at); (s != nil) != (before > 0) {
				t.Errorf("used %v before its end: %t", before, s != nil)
			} else if s != nil {
				p.Keep(s)
			}
		})
	}
}

// TestMemoryOfAddressesAfterSleep: what is held against an address, or known of it, ends as
// if this machine had been awake.
func TestMemoryOfAddressesAfterSleep(t *testing.T) {
	addr := netip.MustParseAddrPort("192.0.2.1:25")
	now := time.Now()
	m := new(Memory)
	m.Fail(addr, errors.New("refused"), now)
	m.Lacks(addr, smtp.OptSize, now)
	m.Suspect(addr, smtp.Doubt{Next: smtp.OptPipelining}, now)
	for _, c := range []struct {
		slept     time.Duration
		penalised bool
		without   smtp.Option
	}{
		{0, true, smtp.OptSize | smtp.OptPipelining},
		{-8 * time.Hour, true, smtp.OptSize | smtp.OptPipelining},
		{14 * time.Second, true, smtp.OptSize | smtp.OptPipelining},
		{15 * time.Second, false, smtp.OptSize | smtp.OptPipelining},
		{knownFor, false, smtp.OptPipelining},
		{suspectedFor, false, 0},
	} {
		at := agetest.Slept(now, c.slept)
		if got := m.Penalised(addr, at); got != c.penalised {
			t.Errorf("MX-23 slept for %v: left alone: %t, want %t", c.slept, got, c.penalised)
		}
		if got := m.Without(addr, at); got != c.without {
			t.Errorf("slept for %v: without %v, want %v", c.slept, got, c.without)
		}
	}
	if ok, probe := m.Ask(addr, false, agetest.Slept(now, 15*time.Second)); !ok || !probe {
		t.Error("MX-23 nobody may try it after the sleep")
	}
	m.Fail(addr, errors.New("refused"), agetest.Slept(now, 15*time.Second))
	if !m.Penalised(addr, agetest.Slept(now, 44*time.Second)) || m.Penalised(addr, agetest.Slept(now, 45*time.Second)) {
		t.Error("MX-23 the second failure does not leave it alone for 30 s")
	}
}
