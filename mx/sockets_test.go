package mx_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// portsOf are the ports that the questions came from, in their order.
func portsOf(t *testing.T, dns *mxtest.DNS) (ports []uint16) {
	t.Helper()
	for _, q := range dns.Queries() {
		from, err := netip.ParseAddrPort(q.Client)
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, from.Port())
	}
	return ports
}

// resolveAll asks n questions one after the other.
func resolveAll(t *testing.T, c *mx.Client, n int) {
	t.Helper()
	for range n {
		if a, err := c.Resolve(t.Context(), "e.test", mx.TypeA); err != nil || len(a.Addrs) != 1 {
			t.Fatalf("answer %+v, %v", a, err)
		}
	}
}

// different is how many there are without repetitions.
func different(ports []uint16) int {
	ports = slices.Clone(ports)
	slices.Sort(ports)
	return len(slices.Compact(ports))
}

func TestSocketsOfClient(t *testing.T) {
	start := func(t *testing.T, rules ...mxtest.Rule) (*mxtest.DNS, *mx.Client) {
		t.Helper()
		dns := &mxtest.DNS{Zone: "e.test. A 192.0.2.1", Rules: rules}
		server := serve(t, &mxtest.Server{DNS: dns})
		return dns, &mx.Client{Servers: []mx.Server{{Addr: server.Addr()}}, Timeout: 200 * time.Millisecond}
	}
	t.Run("MX-5 a socket of its own for each question, as to a server on another machine", func(t *testing.T) {
		dns, c := start(t)
		c.Dial = new(net.Dialer).DialContext
		resolveAll(t, c, 30)
		if got := different(portsOf(t, dns)); got < 15 {
			t.Errorf("%d different ports in 30 queries", got)
		}
	})
	t.Run("a socket to a server on this machine is used again, but not for ever", func(t *testing.T) {
		dns, c := start(t)
		resolveAll(t, c, 200)
		if got := different(portsOf(t, dns)); got < 4 || got > 100 {
			t.Errorf("%d different ports in 200 queries, want at least 4, and some that are used again", got)
		}
	})
	t.Run("questions at the same time have different sockets", func(t *testing.T) {
		_, c := start(t)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { resolveAll(t, c, 20) })
		}
		all.Wait()
	})
	t.Run("a socket on which a question met silence is not used again", func(t *testing.T) {
		dns, c := start(t, mxtest.Rule{Name: "silent.test", Fault: mxtest.Timeout})
		resolveAll(t, c, 1)
		c.Attempts = 1
		if _, err := c.Resolve(t.Context(), "silent.test", mx.TypeA); err == nil {
			t.Error("there is an answer")
		}
		resolveAll(t, c, 1)
		var before []uint16
		for i, port := range portsOf(t, dns) {
			if q := dns.Queries()[i]; q.Name == "silent.test" {
				before = append(before, port)
			} else if slices.Contains(before, port) {
				t.Errorf("a question came from port %d, on which there was silence", port)
			}
		}
	})
	t.Run("a socket whose question was broken off is not used again", func(t *testing.T) {
		dns, c := start(t, mxtest.Rule{Name: "silent.test", Fault: mxtest.Timeout})
		resolveAll(t, c, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := c.Resolve(ctx, "silent.test", mx.TypeA); err == nil {
			t.Error("there is an answer")
		}
		resolveAll(t, c, 1)
		ports := portsOf(t, dns)
		if last := ports[len(ports)-1]; last == ports[len(ports)-2] {
			t.Errorf("a question came from port %d again", last)
		}
	})
	t.Run("a server that is started again is asked again", func(t *testing.T) {
		dns := &mxtest.DNS{Zone: "e.test. A 192.0.2.1"}
		server := &mxtest.Server{DNS: dns}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		addr := server.Addr()
		c := &mx.Client{Servers: []mx.Server{{Addr: addr}}, Attempts: 1}
		resolveAll(t, c, 1)
		server.Close()
		if _, err := c.Resolve(t.Context(), "e.test", mx.TypeA); err == nil {
			t.Error("there is an answer of a server that does not run")
		}
		serve(t, &mxtest.Server{DNS: dns, Listen: addr})
		resolveAll(t, c, 1)
	})
}
