package index_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// BenchmarkClaim leases 100 deliveries and gives them back, among a million: half
// of them of as many destinations, half of one, of which 100,000 other
// destinations are postponed.
func BenchmarkClaim(b *testing.B) {
	const half = 500_000
	x := index.New()
	now := time.Unix(1e9, 0)
	name := func(n int) string { return fmt.Sprintf("d%d.example", n) }
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for n := range half {
		x.Set(&index.Entry{Message: index.Number(uint64(2*n+1), 1), Destination: name(n), AtOnce: true, Since: int64(2 * n)})
		x.Set(&index.Entry{Message: index.Number(uint64(2*n+2), 1), Destination: "busy.example", AtOnce: true, Since: int64(2 * n)})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.Logf("%d MiB for a million deliveries to %d destinations", (after.HeapAlloc-before.HeapAlloc)>>20, half)
	postpone := func(until time.Time) {
		for n := range 100_000 {
			x.Postpone(index.Postponement{Name: name(5 * n), Until: until})
		}
	}
	begun := time.Now()
	postpone(now.Add(time.Hour))
	b.Logf("%v for each of 100,000 postponements", time.Since(begun)/100_000)
	for _, c := range []struct {
		name   string
		bounds index.Bounds
	}{
		{"any", index.Bounds{Max: 100}},
		{"one each", index.Bounds{Max: 100, PerDestination: 1}},
		{"ten of a tenant", index.Bounds{Max: 100, PerTenant: 10}},
		{"but the busy one", index.Bounds{Max: 100, Except: []string{"busy.example"}}},
		{"the busy one", index.Bounds{Max: 100, Destinations: []string{"busy.example"}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var taken []index.Slot
			for b.Loop() {
				taken = taken[:0]
				x.Claim(now, c.bounds, func(s index.Slot) {
					x.Lease(s, 1, now.Add(time.Hour), nil)
					taken = append(taken, s)
				})
				for _, s := range taken {
					x.Unlease(s)
				}
			}
		})
	}
}
