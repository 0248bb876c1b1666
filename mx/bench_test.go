package mx_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
)

// warm is a Router whose Cache knows all about e.test, with two hosts.
func warm(t testing.TB) *mx.Router {
	t.Helper()
	r := &mx.Router{
		Resolver: &mx.Cache{Resolver: zone(t, two+"m1.test AAAA 2001:db8::1\n m2.test AAAA 2001:db8::2")},
		Self:     []string{"me.test"},
	}
	if _, err := r.Route(t.Context(), "e.test"); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRouteFromAWarmCacheIsCheap(t *testing.T) {
	r := warm(t)
	ctx := t.Context()
	got := testing.AllocsPerRun(100, func() {
		if route, err := r.Route(ctx, "e.test"); err != nil || len(route.Hosts) != 2 || len(route.Hosts[0].Addrs) != 2 {
			t.Fatalf("route is %+v, %v", route, err)
		}
	})
	if got > 5 {
		t.Errorf("%.0f allocations, want 5 at most", got)
	}
}

func BenchmarkRouteWarm(b *testing.B) {
	r := warm(b)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Route(ctx, "e.test"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRouteWarmParallel(b *testing.B) {
	r := warm(b)
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := r.Route(ctx, "e.test"); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkRouteHuge is the largest MX set a fake can have, from the cache.
func BenchmarkRouteHuge(b *testing.B) {
	r := &mx.Router{Resolver: &mx.Cache{Resolver: hugeSets(b, 5000)}}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Route(ctx, "e.test"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCacheFull is a cache at its bound: each question puts one answer in
// and one out.
func BenchmarkCacheFull(b *testing.B) {
	c := &mx.Cache{Resolver: &counter{answer: always(found(1 << 40))}, MaxEntries: 1000}
	var names []string
	for i := range 3000 {
		names = append(names, fmt.Sprintf("n%d.test", i))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := c.Resolve(b.Context(), names[i%len(names)], mx.TypeA); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkClient is one question over connections in memory: what packing and
// reading messages costs.
func BenchmarkClient(b *testing.B) {
	var zone strings.Builder
	for i := range 10 {
		fmt.Fprintf(&zone, "e.test MX 10 m%d.test\n", i)
	}
	dns := wideZone(b, zone.String())
	c := &mx.Client{Servers: []mx.Server{{Addr: first}}, Dial: dns.Dial}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Resolve(b.Context(), "e.test", mx.TypeMX); err != nil {
			b.Fatal(err)
		}
		dns.Forget()
	}
}
