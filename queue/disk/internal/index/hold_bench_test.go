package index_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// BenchmarkLongestHold prints the longest that one piece of each operation takes,
// which is how long others wait for the lock of the spool, with a backlog for one
// destination and one for very many. To be run with
// -benchtime 1x. It is wall time: on a busy machine the mean says more. NEXTHOP_LONG
// makes it 10,000,000 deliveries.
func BenchmarkLongestHold(b *testing.B) {
	const piece = 512 // as the spool has it
	many := 100_000
	if os.Getenv("NEXTHOP_LONG") != "" {
		many = 10_000_000
	}
	now := time.Unix(1e9, 0)
	later := now.Add(time.Hour)
	for _, spread := range []int{1, many / 10} {
		x := index.New()
		name := func(n int) string { return fmt.Sprintf("d%d.example", n%spread) }
		slots := make([]index.Slot, many)
		for n := range many {
			slots[n] = x.Set(&index.Entry{Message: index.Number(uint64(n+1), 1), Destination: name(n),
				Since: index.Micros(later) + int64(n*7919%many)})
		}
		var after uint64
		survey := &index.Survey{Max: 100}
		counting := true
		flush := &index.Flushing{Since: index.Micros(now)}
		one := 0
		for _, of := range []struct {
			what string
			some func() (more bool)
		}{
			{"list", func() (more bool) { _, after, more = x.List(nil, after, piece, ""); return more }},
			{"survey", func() bool {
				if counting {
					if counting = x.Count(survey, piece); !counting {
						survey.Sort()
						survey.SeekOldest()
					}
					return true
				}
				return x.Oldest(survey, piece)
			}},
			{"hold", func() bool { x.SetFlag(slots[one], index.Held, true); one++; return one < many/10 }},
			{"release", func() bool { one--; x.SetFlag(slots[one], index.Held, false); return one > 0 }},
			{"postpone", func() bool {
				x.Postpone(index.Postponement{Name: name(one), Until: later})
				one++
				return one < many/10
			}},
			{"flush", func() bool { return !x.Flush(flush, piece) }},
			{"advance", func() bool { return x.Advance(later.Add(time.Hour), piece) }},
			{"claim", func() bool {
				n := 0
				x.Claim(later.Add(time.Hour), index.Bounds{Max: 100}, func(s index.Slot) {
					n++
					x.Lease(s, 1, later.Add(2*time.Hour), nil)
				})
				one -= n
				return one > 0
			}},
			{"drop", func() bool { x.Remove(slots[one+many/10]); one++; return one < many/2 }},
		} {
			b.Run(fmt.Sprintf("%s/%d destinations", of.what, spread), func(b *testing.B) {
				longest, holds, whole := time.Duration(0), 0, time.Now()
				for more := true; more; holds++ {
					begun := time.Now()
					more = of.some()
					longest = max(longest, time.Since(begun))
				}
				b.ReportMetric(float64(longest.Microseconds()), "longest-µs")
				b.ReportMetric(float64(time.Since(whole).Microseconds())/float64(holds), "mean-µs")
				b.ReportMetric(float64(holds), "holds")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
