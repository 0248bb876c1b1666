//go:build linux

package bench

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// part is one part of the comparison.
type part struct {
	name   string
	rounds int // 0 is as many as are asked for
	others bool
	named  bool // runs only if it is asked for by name, since it takes long
	run    func(t *testing.T, to *table, c candidate)
}

var parts = []part{
	{name: "throughput", others: true, run: compareThroughput},
	{name: "tls", others: true, run: compareTLS},
	{name: "lone", others: true, run: compareLone},
	{name: "hole", others: true, rounds: 1, run: compareHole},
	{name: "distance", others: true, rounds: 1, run: compareDistance},
	{name: "crowded", others: true, named: true, rounds: 1, run: compareCrowded},
	{name: "library", run: compareLibrary},
	{name: "backlog", rounds: 1, run: compareBacklog},
}

// TestComparison measures everything at full size and prints the table. It fails
// where a promise is not kept. It runs with the flag -compare only.
func TestComparison(t *testing.T) {
	startDNS(t)
	var figures table
	for _, p := range parts {
		if *only != "" && *only != p.name || *only == "" && p.named {
			continue
		}
		n := p.rounds
		if n == 0 {
			n = *rounds
		}
		for round := range n {
			for _, c := range candidates() {
				if (c.name == nexthop || p.others) && (*alone == "" || *alone == c.name) {
					t.Run(fmt.Sprintf("%s/%d/%s", p.name, round+1, c.name), func(t *testing.T) { p.run(t, &figures, c) })
				}
			}
		}
	}
	fmt.Println()
	if err := figures.write(os.Stdout); err != nil {
		t.Fatal(err)
	}
	fmt.Println()
	for _, name := range figures.broken() {
		t.Error(name)
	}
}

func compareThroughput(t *testing.T, to *table, c candidate) {
	for _, n := range []int{1, domains} {
		name, perMessage := "one domain", 0.01
		if n > 1 {
			name, perMessage = fmt.Sprintf("%d domains of one host", n), 0.05
		}
		t.Run(name, func(t *testing.T) {
			got := measureThroughput(t, c, c.messages / *divide, n, true)
			to.add(name, "messages/s", c.name, got.perSecond, gate{over: postfix, least: true, bound: 8})
			to.add(name, "CPU ms/message", c.name, ms(got.cpu), gate{over: postfix, bound: 0.1})
			to.add(name, "connections/message", c.name, got.connections, atMost(perMessage))
		})
	}
}

func compareLone(t *testing.T, to *table, c candidate) {
	took := measureLone(t, c, 200)
	slices.Sort(took)
	to.add("a lone message", "ms, median", c.name, ms(took[len(took)/2]), atMost(1.5))
	to.add("a lone message", "ms, 95 %", c.name, ms(took[len(took)*95/100]), gate{})
}

func compareHole(t *testing.T, to *table, c candidate) {
	got := measureHole(t, c, 200)
	const name = "preferred host a black hole"
	to.add(name, "tries of it", c.name, float64(got.tries), atMost(1))
	to.add(name, "tries/connection opened", c.name, float64(got.tries)/float64(got.opened), gate{})
	to.add(name, "ms waited/message after the first", c.name, ms(got.waiting), atMost(500))
}

func compareDistance(t *testing.T, to *table, c candidate) {
	if c.name == exim {
		return // it knows no limit of connections to one host, and opens one for each message
	}
	for _, m := range []struct {
		name     string
		chunking bool
		least    float64 // messages per second and connection
	}{{"PIPELINING and CHUNKING", true, 9}, {"PIPELINING", false, 4.8}} {
		for _, connections := range []int{1, 20} {
			name := fmt.Sprintf("%v away by %d of %s", far, connections, m.name)
			t.Run(name, func(t *testing.T) {
				messages := 30
				if connections > 1 {
					messages = 50 * connections
				}
				got := measureDistance(t, c, m.chunking, connections, messages)
				to.add(name, "messages/s", c.name, got.perSecond, atLeast(m.least*float64(connections)))
				to.add(name, "round trips/message", c.name, got.turns, gate{})
			})
		}
	}
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }
