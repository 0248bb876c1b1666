package trouble_test

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/trouble"
)

// TestCalls: a failure is news once until calls for that purpose work again, whatever
// calls for others do.
func TestCalls(t *testing.T) {
	full, away := errors.New("full"), errors.New("away")
	var c trouble.Calls
	if c.Err() != nil {
		t.Errorf("before any call: %v", c.Err())
	}
	for i, step := range []struct {
		what trouble.Call
		err  error // nil works
		news bool
		want error // of all
	}{
		{trouble.Settle, full, true, full},
		{trouble.Settle, away, false, away},
		{trouble.Claim, nil, false, away}, // of others
		{trouble.Other, full, true, away},
		{trouble.Settle, nil, false, full},
		{trouble.Settle, nil, false, full},
		{trouble.Settle, away, true, away},
		{trouble.Other, nil, false, away},
		{trouble.Settle, nil, false, nil},
	} {
		if step.err == nil {
			c.Works(step.what)
		} else if got := c.Failed(step.what, step.err); got != step.news {
			t.Errorf("step %d: it is news: %t, want %t", i, got, step.news)
		}
		if got := c.Err(); !errors.Is(got, step.want) {
			t.Errorf("after step %d: %v, want %v", i, got, step.want)
		}
	}
}

// TestDNS: one probe is made for all who ask at a time and within a second, and another
// after that.
func TestDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d trouble.DNS
		var probes atomic.Int32
		probe := func(works bool) func() bool {
			return func() bool {
				probes.Add(1)
				time.Sleep(3 * time.Second)
				return works
			}
		}
		ask := func(works, want bool) {
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() {
					if got := d.Works(probe(works)); got != want {
						t.Errorf("DNS works: %t, want %t", got, want)
					}
				})
				time.Sleep(time.Second / 2)
			}
			all.Wait()
		}
		ask(false, false)
		if n := probes.Load(); n != 1 {
			t.Errorf("%d probes, want 1", n)
		}
		time.Sleep(time.Second - 1)
		if d.Works(probe(true)) || probes.Load() != 1 {
			t.Error("the result was not used for a second")
		}
		time.Sleep(time.Nanosecond)
		ask(true, true)
		if n := probes.Load(); n != 2 || !d.Works(probe(false)) {
			t.Errorf("%d probes, want 2, and that the result of the last one is used", n)
		}
	})
}

// TestNetwork: the network is away if there is no route for IPv4, and none for IPv6 or it
// is not known to have had one within a minute.
func TestNetwork(t *testing.T) {
	four, mapped, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	type note struct {
		addr  netip.Addr
		route bool
		wait  time.Duration // after it
	}
	for _, c := range []struct {
		name  string
		notes []note
		up    bool
	}{
		{"nothing is known", nil, true},
		{"no route for IPv6", []note{{six, false, 0}}, true},
		{"no route for IPv4", []note{{four, false, 0}}, false},
		{"no route for an IPv4 address in the form of IPv6", []note{{mapped, false, 0}}, false},
		{"no route for IPv4 any more", []note{{four, true, 0}, {four, false, 0}}, false},
		{"no route for IPv4, and one again", []note{{four, false, 0}, {four, true, time.Hour}}, true},
		{"no route for IPv4, and one for IPv6", []note{{four, false, 0}, {six, true, 0}}, true},
		{"one for IPv6 almost a minute ago", []note{{six, true, time.Minute - 1}, {four, false, 0}}, true},
		{"one for IPv6 a minute ago", []note{{six, true, time.Minute}, {four, false, 0}}, false},
		{"one for IPv6, and none since", []note{{four, false, 0}, {six, true, 0}, {six, false, 0}}, false},
		{"no route for either", []note{{six, false, 0}, {four, false, 0}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n trouble.Network
				for _, one := range c.notes {
					n.Note(one.addr, one.route)
					time.Sleep(one.wait)
				}
				if got := n.Up(); got != c.up {
					t.Errorf("there is a route: %t, want %t", got, c.up)
				}
			})
		})
	}
}
