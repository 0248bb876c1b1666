package disk

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// TestRecordsOfPostponementsStay gives up segments with records of postponements,
// without a checkpoint: what such a record lifts or replaces must not come back while
// the older record is in the log, and the record goes when the older one has gone.
func TestRecordsOfPostponementsStay(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	const name = "slow.example"
	postpone := func(t *testing.T, s *Spool, now, until time.Time) {
		must(t, s.Postpone(ctx, now, queue.Postponement{Destination: name, Until: until}))
	}
	for what, second := range map[string]func(t *testing.T, s *Spool){
		"lifted":                func(t *testing.T, s *Spool) { postpone(t, s, now, time.Time{}) },
		"replaced by a shorter": func(t *testing.T, s *Spool) { postpone(t, s, now, now.Add(time.Minute)) },
		"flushed": func(t *testing.T, s *Spool) {
			_, err := s.Flush(ctx, now, queue.Selection{Destination: name})
			must(t, err)
		},
	} {
		t.Run(what, func(t *testing.T) {
			fs, s := openSmall(t)
			next := func() *segment {
				g := s.current
				s.rollNow = true
				must(t, s.Hold(ctx, mustPut(t, s)))
				return g
			}
			must(t, s.Hold(ctx, mustPut(t, s)))
			postpone(t, s, now, now.Add(time.Hour))
			first := next()
			second(t, s)
			g := next()
			for range 3 { // wherever its record lies
				later := now.Add(2 * time.Minute)
				_, err := s.Total(ctx)
				must(t, err)
				s.mu.Lock()
				s.index.At(later)
				s.mu.Unlock()
				must(t, s.compact(ctx, g))
				must(t, s.save())
				again, err := openByHand(fs.Copy(), Options{})
				must(t, err)
				if until, _ := again.index.Postponed(name); until.After(later) {
					t.Fatalf("after a restart it is postponed until %v again", until.UTC())
				}
				must(t, again.Close())
				g = next()
			}
			if s.nextCheckpoint != 1 {
				t.Errorf("%d checkpoints were taken", s.nextCheckpoint-1)
			}
			must(t, s.compact(ctx, first))
			for range 8 { // the segments in between may have had records of it
				next()
				for _, g := range s.segments.list {
					if g != nil && g != s.current {
						must(t, s.compact(ctx, g))
					}
				}
			}
			refs := 0
			for _, g := range s.segments.list {
				if g != nil {
					refs += s.index.Refs(g.slot).Destinations
				}
			}
			if refs > 0 {
				t.Errorf("%d records are kept of a postponement of which there is no other", refs)
			}
			must(t, s.Close())
		})
	}
}

// TestCheckpointsBesidePostponements has destinations postponed, lifted and flushed
// all the time beside a backlog: it must not take a checkpoint for every segment.
func TestCheckpointsBesidePostponements(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for what, do := range map[string]func(t *testing.T, s *Spool, n int){
		"nothing": func(*testing.T, *Spool, int) {},
		"postponed": func(t *testing.T, s *Spool, _ int) {
			must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "slow.example", Until: now.Add(time.Minute)}))
		},
		"postponed and lifted": func(t *testing.T, s *Spool, n int) {
			p := queue.Postponement{Destination: fmt.Sprintf("d%d.example", n%10), Until: now.Add(time.Minute)}
			must(t, s.Postpone(ctx, now, p))
			p.Until = time.Time{}
			must(t, s.Postpone(ctx, now, p))
		},
		"flushed": func(t *testing.T, s *Spool, _ int) {
			_, err := s.Flush(ctx, now, queue.Selection{Destination: "fast.example"})
			must(t, err)
		},
	} {
		t.Run(what, func(t *testing.T) {
			_, s := openSmall(t)
			s.segmentSize = 64 << 10
			for n := range 2000 {
				_, err := s.Put(ctx, now, &queue.Message{NotBefore: now.Add(time.Hour), Content: queue.String("x"),
					Recipients: []queue.Recipient{{Address: fmt.Sprintf("a@d%d.example", n%10)}}})
				must(t, err)
			}
			must(t, s.takeCheckpoint(ctx))
			before, segments := s.nextCheckpoint, s.nextSegment
			text := queue.String(string(make([]byte, 2000)))
			for n := range 600 {
				_, err := s.Put(ctx, now, &queue.Message{Content: text, Recipients: []queue.Recipient{{Address: "a@fast.example"}}})
				must(t, err)
				deliverAll(t, s)
				if n%20 == 0 {
					do(t, s, n)
				}
				s.mu.Lock()
				due := s.sinceMaintenance >= s.segmentSize || s.checkpointDue()
				s.mu.Unlock()
				if due {
					must(t, s.maintain(ctx))
				}
			}
			if taken := s.nextCheckpoint - before; taken*4 > s.nextSegment-segments {
				t.Errorf("%d checkpoints for %d segments", taken, s.nextSegment-segments)
			}
			must(t, s.Close())
		})
	}
}
