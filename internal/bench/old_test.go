//go:build linux

package bench

import (
	"fmt"
	"testing"
	"time"
)

// mostBeside is the most processor time for a message that is allowed, relative to an
// earlier relay.
const mostBeside = 1.03

// TestBesideOld compares the processor time for a message with that of an earlier relay,
// the binary of -old. The relays take turns, and each round begins with another one. The
// third is the present relay without DANE and MTA-STS, which shows how much of the
// difference is due to them. The test logs the medians. It runs with the flag -old only.
func TestBesideOld(t *testing.T) {
	startDNS(t)
	for _, load := range []struct {
		name              string
		messages, domains int
	}{
		{"one domain", 20_000, 1},
		{"1000 domains, 30 messages each", 30_000, domains},
		{"1000 domains, 10 messages each", 10_000, domains},
	} {
		t.Run(load.name, func(t *testing.T) {
			turns := []settings{{program: *old}, {}, {flags: []string{"-no-dane", "-no-mta-sts"}}}
			took := make([]row, len(turns))
			for i := range took {
				took[i].figures = make(map[string][]float64)
			}
			for round := range *rounds {
				for i := range turns {
					i = (i + round) % len(turns)
					relay := candidate{start: func(t *testing.T, _ settings) *running { return startRelay(t, turns[i]) }}
					t.Run(fmt.Sprintf("%d/%d", round+1, i), func(t *testing.T) {
						got := measureThroughput(t, relay, load.messages / *divide, load.domains, true)
						took[i].figures[nexthop] = append(took[i].figures[nexthop], float64(got.cpu)/float64(time.Microsecond))
					})
				}
			}
			before, _ := took[0].median(nexthop)
			now, _ := took[1].median(nexthop)
			without, _ := took[2].median(nexthop)
			t.Logf("%s: %.1f µs a message before, %.1f now (%+.1f %%), %.1f without DANE and MTA-STS (%+.1f %%)", load.name,
				before, now, 100*(now/before-1), without, 100*(without/before-1))
			if now > mostBeside*before {
				t.Errorf("a message takes %.3f times its earlier processor time, want %.2f at most", now/before, mostBeside)
			}
		})
	}
}
