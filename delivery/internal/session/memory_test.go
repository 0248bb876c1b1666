package session

import (
	"net/netip"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// TestMemoryOfOthers: a failure at one address changes nothing at another whose time is
// over.
func TestMemoryOfOthers(t *testing.T) {
	addr, other := netip.MustParseAddrPort("192.0.2.1:25"), netip.MustParseAddrPort("192.0.2.2:25")
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	m := new(Memory)
	m.Fail(addr, "first", began)
	m.Fail(other, "first", began.Add(time.Minute))
	m.Fail(addr, "second", began.Add(time.Minute))
	if !m.Penalised(addr, began.Add(90*time.Second-1)) {
		t.Error("MX-23 the second failure in a row does not count as one")
	}
}

// TestMemory is what is remembered of addresses that failed: each step is a call at a
// time, and what may be done with the address right after it.
func TestMemory(t *testing.T) {
	addr, other := netip.MustParseAddrPort("192.0.2.1:25"), netip.MustParseAddrPort("192.0.2.2:25")
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	m := new(Memory)
	ask := func(anyway bool) func(time.Time) {
		return func(now time.Time) { m.Ask(addr, anyway, now) }
	}
	fail := func(why string) func(time.Time) { return func(now time.Time) { m.Fail(addr, why, now) } }
	nothing := func(time.Time) {}
	for _, c := range []struct {
		name      string
		at        time.Duration
		do        func(now time.Time)
		penalised bool
		failure   any
	}{
		{"nothing is known", 0, nothing, false, nil},
		{"a probe of nothing is dropped", 0, func(time.Time) { m.DropProbe(addr) }, false, nil},
		{"it fails", 0, fail("first"), true, "first"},
		{"and again in the same outage", time.Second, fail("second"), true, "second"},
		{"it is left alone for a while", 15*time.Second - 1, nothing, true, "second"},
		{"and no longer", 15 * time.Second, nothing, false, "second"},
		{"somebody finds out", 16 * time.Second, ask(false), true, "second"},
		{"and finds nothing", 16 * time.Second, func(time.Time) { m.DropProbe(addr) }, false, "second"},
		{"somebody else finds out", 17 * time.Second, ask(false), true, "second"},
		{"it fails again", 20 * time.Second, fail("third"), true, "third"},
		{"for twice as long", 50*time.Second - 1, nothing, true, "third"},
		{"which is over", 50 * time.Second, nothing, false, "third"},
		{"without a probe it counts as well", time.Minute, fail("fourth"), true, "fourth"},
		{"for a minute now", 2*time.Minute - 1, nothing, true, "fourth"},
		{"there is no better one: a probe before its time", 90 * time.Second, ask(true), true, "fourth"},
		{"which fails and so counts", 91 * time.Second, fail("fifth"), true, "fifth"},
		{"two minutes", 211*time.Second - 1, nothing, true, "fifth"},
		{"two minutes are over", 211 * time.Second, nothing, false, "fifth"},
		{"it works", 212 * time.Second, func(time.Time) { m.Succeed(addr) }, false, nil},
		{"it fails anew", 213 * time.Second, fail("sixth"), true, "sixth"},
		{"from the beginning", 228 * time.Second, nothing, false, "sixth"},
		{"all is forgotten", 229 * time.Second, func(time.Time) { m.Clear() }, false, nil},
	} {
		now := began.Add(c.at)
		c.do(now)
		if got := m.Penalised(addr, now); got != c.penalised {
			t.Errorf("MX-23 %s: left alone: %t, want %t", c.name, got, c.penalised)
		}
		if got := m.Failure(addr); got != c.failure {
			t.Errorf("MX-23 %s: the failure is %v, want %v", c.name, got, c.failure)
		}
		if m.Penalised(other, now) || m.Failure(other) != nil {
			t.Errorf("MX-23 %s: of another address", c.name)
		}
	}
}

// TestAsk is who may dial an address that has failed.
func TestAsk(t *testing.T) {
	addr, now := netip.MustParseAddrPort("192.0.2.1:25"), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	m := new(Memory)
	ask := func(anyway bool, at time.Time, ok, probe bool) {
		t.Helper()
		if gotOK, gotProbe := m.Ask(addr, anyway, at); gotOK != ok || gotProbe != probe {
			t.Errorf("MX-23 may be dialled: %t, as a probe: %t; want %t, %t", gotOK, gotProbe, ok, probe)
		}
	}
	ask(false, now, true, false)
	ask(true, now, true, false)
	m.Fail(addr, "down", now)
	ask(false, now.Add(15*time.Second-1), false, false)
	ask(false, now.Add(15*time.Second), true, true)
	ask(false, now.Add(15*time.Second), false, false) // one caller only
	ask(true, now.Add(15*time.Second), false, false)
	m.DropProbe(addr)
	ask(true, now.Add(time.Second), true, true) // there is no better one
	m.Succeed(addr)
	ask(false, now, true, false)
}

// TestMemoryIsBounded: past the bound what has run out is forgotten first, a probe
// under way is not, and then any.
func TestMemoryIsBounded(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 25)
	}
	fill := func(now time.Time) *Memory {
		m := new(Memory)
		for i := range maxRemembered {
			m.Fail(at(i), i, now)
		}
		return m
	}
	m := fill(began)
	later := began.Add(15*time.Second + 1)
	m.Ask(at(7), false, later)
	m.Fail(at(maxRemembered), "new", later)
	if len(m.failed) != 2 || m.Failure(at(7)) != 7 || m.Failure(at(maxRemembered)) != "new" {
		t.Errorf("%d are remembered once all but one have run out, want that one and the new one", len(m.failed))
	}
	m = fill(began)
	m.Fail(at(maxRemembered), "new", began)
	if len(m.failed) != maxRemembered || m.Failure(at(maxRemembered)) != "new" {
		t.Errorf("%d are remembered, want %d and the new one among them", len(m.failed), maxRemembered)
	}
	m.Fail(at(maxRemembered), "again", began)
	if len(m.failed) != maxRemembered {
		t.Errorf("%d are remembered after a failure of one of them, want %d", len(m.failed), maxRemembered)
	}
	m = fill(began)
	m.Fail(at(maxRemembered), "new", began.Add(15*time.Second)) // all of them run out just now
	if len(m.failed) != maxRemembered {
		t.Errorf("%d are remembered, want %d", len(m.failed), maxRemembered)
	}
}

// TestReachable is which hosts have an address that is not left alone.
func TestReachable(t *testing.T) {
	now := time.Now()
	first, second := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	host := &mx.Host{Name: "mx.e.test", Addrs: []netip.Addr{first, second}}
	p := new(Pool)
	for i, want := range []bool{true, true, false} {
		if i > 0 {
			p.Memory.Fail(p.AddrPort(host, host.Addrs[i-1]), "down", now)
		}
		if got := p.Reachable(host, now); got != want {
			t.Errorf("MX-23 %d of two addresses down: reachable %t, want %t", i, got, want)
		}
	}
	if p.Reachable(&mx.Host{Name: "none.e.test"}, now) {
		t.Error("a host without addresses is reachable")
	}
}

// TestServes is which policies a session may serve beside the one it was made under.
func TestServes(t *testing.T) {
	p := Policy{Level: mx.TLSVerify, Source: "dane", ServerName: "mx.e.test", Key: "k", Vouched: true}
	if same := p; !p.Serves(&same) {
		t.Error("a policy does not serve itself")
	}
	for name, change := range map[string]func(*Policy){
		"level": func(o *Policy) { o.Level = mx.TLSEncrypt }, "source": func(o *Policy) { o.Source = "" },
		"name": func(o *Policy) { o.ServerName = "x" }, "key": func(o *Policy) { o.Key = "" }, "voucher": func(o *Policy) { o.Vouched = false },
	} {
		other := p
		if change(&other); p.Serves(&other) || other.Serves(&p) {
			t.Errorf("SMTP-43 another %s is served", name)
		}
	}
}
