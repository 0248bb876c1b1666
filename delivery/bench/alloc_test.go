//go:build !race

// The race detector has every sync.Pool lose what is put back now and then, which
// counts as allocations. make test runs this file without it.

package bench

import "testing"

// TestAllocations holds that nexthop allocates at most half as often as the
// most frugal of the others.
func TestAllocations(t *testing.T) {
	addr := start(t, &Sink{Pipelining: true, Chunking: true}, 0)
	var nexthop float64
	for i, client := range connect(t, addr) {
		got := testing.AllocsPerRun(200, func() {
			if err := client.Send(); err != nil {
				t.Fatalf("%s: %v", client.Name, err)
			}
		})
		t.Logf("%s: %.0f allocations a message", client.Name, got)
		if i == 0 {
			nexthop = got
		} else if nexthop > got/2 {
			t.Errorf("nexthop allocates %.0f times a message, want at most half of the %.0f of %s", nexthop, got, client.Name)
		}
	}
}
