package mx

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/internal/age/agetest"
)

// clocks are a monotonic clock and a wall clock, which go apart when the machine sleeps or when
// the wall clock is set.
type clocks struct {
	start        time.Time
	awake, ahead time.Duration
}

func (m *clocks) now() time.Time { return agetest.Slept(m.start.Add(m.awake), m.ahead) }

// counting answers everything alike, and counts the questions.
type counting struct {
	asked  int
	answer Answer
	err    error
}

func (c *counting) Resolve(_ context.Context, name string, _ Type) (Answer, error) {
	c.asked++
	a := c.answer
	if a.Name == "" {
		a.Name = name
	}
	return a, c.err
}

// TestCacheOnAMachineThatSleeps: what a Cache knows ends with its time by the wall clock as
// well, since for whoever published it time went on. A wall clock that is put back does
// not make it live longer.
func TestCacheOnAMachineThatSleeps(t *testing.T) {
	addr := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	for _, c := range []struct {
		what   string
		behind counting
		time   time.Duration // that it may be known for
	}{
		{"MX-33 records", counting{answer: Answer{Status: Success, TTL: time.Hour, Addrs: addr}}, time.Hour},
		{"MX-33 an alias", counting{answer: Answer{Status: Aliased, Name: "f.test", TTL: time.Hour, Aliases: []Alias{{From: "e.test", To: "f.test"}}}}, time.Hour},
		{"MX-34 no such name", counting{answer: Answer{Status: NXDomain, TTL: time.Hour}}, time.Hour},
		{"MX-34 no records of the type", counting{answer: Answer{Status: NoData, TTL: time.Hour}}, time.Hour},
		{"MX-34 a failure", counting{err: &ResolveError{Name: "e.test", Type: TypeA, Kind: ServFail}}, 5 * time.Minute},
	} {
		for _, step := range []struct {
			what         string
			awake, ahead time.Duration
			left         time.Duration // not positive: it must be asked for again
		}{
			{"awake", c.time - time.Second, 0, time.Second},
			{"awake until its time is over", c.time, 0, 0},
			{"asleep until a second before", 0, c.time - time.Second, time.Second},
			{"asleep until its time is over", 0, c.time, 0},
			{"awake and asleep", c.time / 2, c.time / 2, 0},
			{"the wall clock put back", c.time - time.Second, -8 * time.Hour, time.Second},
			{"the wall clock put back, and its time over", c.time, -8 * time.Hour, 0},
			{"asleep for a week, as a laptop is", 0, 7 * 24 * time.Hour, 0},
		} {
			t.Run(c.what+", "+step.what, func(t *testing.T) {
				m, behind := &clocks{start: time.Now()}, c.behind
				cache := &Cache{Resolver: &behind, FailureTTL: 5 * time.Minute, now: m.now}
				ask := func() (Answer, error) { return cache.Resolve(t.Context(), "e.test", TypeA) }
				_, first := ask()
				m.awake, m.ahead = step.awake, step.ahead
				got, err := ask()
				if (err == nil) != (first == nil) {
					t.Fatalf("%v, and at first %v", err, first)
				}
				if step.left <= 0 {
					if behind.asked != 2 {
						t.Error("it was not asked for again")
					}
					return
				}
				if behind.asked != 1 {
					t.Error("it was asked for again")
				}
				if err == nil && got.TTL != step.left {
					t.Errorf("%v are left, want %v", got.TTL, step.left)
				}
			})
		}
	}
	t.Run("MX-33 what was learnt before the wall clock was put back ends for good", func(t *testing.T) {
		m := &clocks{start: time.Now()}
		behind := &counting{answer: Answer{Status: Success, TTL: time.Minute, Addrs: addr}}
		cache := &Cache{Resolver: behind, now: m.now}
		for i := range 100 {
			if _, err := cache.Resolve(t.Context(), "e.test", TypeA); err != nil {
				t.Fatal(err)
			}
			m.awake += 10 * time.Second
			m.ahead -= 10 * time.Second // which stands still, as it were
			if want := 1 + i/6; behind.asked != want {
				t.Fatalf("asked %d times within %v, want %d", behind.asked, m.awake, want)
			}
		}
	})
}

// TestHabitsOfServersEndAsleep: what a DNS server could not do, or that it did not answer,
// is not held against it for longer because this machine slept.
func TestHabitsOfServersEndAsleep(t *testing.T) {
	const addr = "192.0.2.1:53"
	servers := []Server{{Addr: addr}, {Addr: "192.0.2.2:53"}}
	m := &clocks{start: time.Now()}
	var h habits
	h.note(addr, false, m.now())
	h.leaveOut(addr, EDNS, m.now().Add(time.Hour))
	if out, _ := h.leftOut(addr, m.now()); !out[EDNS] || h.inOrder(servers, false, m.now())[0].Addr == addr {
		t.Fatal("what was just learnt is not known")
	}
	m.ahead = deadFor
	if out, _ := h.leftOut(addr, m.now()); !out[EDNS] || h.inOrder(servers, false, m.now())[0].Addr != addr {
		t.Error("after half a minute asleep the server comes last, or has EDNS again")
	}
	m.ahead = time.Hour
	if out, _ := h.leftOut(addr, m.now()); out[EDNS] {
		t.Error("after an hour asleep it is asked without EDNS")
	}
}

// TestInterfacesAfterSleep: the addresses of this host's interfaces are looked at again after
// it slept, since it may have woken up in another network.
func TestInterfacesAfterSleep(t *testing.T) {
	calls := 0
	r := &Router{Resolver: &counting{err: errors.New("unused")}, Relay: true, InterfaceAddrs: func() ([]net.Addr, error) {
		calls++
		return nil, nil
	}}
	host := &Host{Name: "mx.e.test", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
	look := func() {
		t.Helper()
		if _, err := r.IsSelf(host); err != nil {
			t.Fatal(err)
		}
	}
	look()
	look()
	if calls != 1 {
		t.Fatalf("looked at %d times, want once", calls)
	}
	at := r.interfaces.Load()
	r.interfaces.Store(&interfaceAddrs{addrs: at.addrs, at: agetest.Slept(at.at, -interfacesFor)})
	if look(); calls != 2 {
		t.Error("they are not looked at again")
	}
}
