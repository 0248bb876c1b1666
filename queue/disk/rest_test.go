package disk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// TestMaintenanceComesToRest fills spools with segments of all sizes, from such as a
// list of the others alone fills, and ends some of the mail. Maintenance then has
// nothing more to do after a few rounds, has not made more segments of it, and keeps
// little that is useless.
func TestMaintenanceComesToRest(t *testing.T) {
	for _, size := range []int64{1, 1 << 10, 4 << 10, 6 << 10, 16 << 10, 64 << 10, 1 << 20} {
		for _, ended := range []int{0, 3, 9, 10} { // of ten
			for _, sector := range []int64{512, 4096} {
				for _, room := range []int64{0, 16 << 20} {
					o := Options{SegmentSize: size, sector: sector}
					t.Run(fmt.Sprintf("segments of %d, sectors of %d, %d of 10 ended, room %d", size, sector, ended, room), func(t *testing.T) {
						comesToRest(t, o, ended, room)
					})
				}
			}
		}
	}
}

func comesToRest(t *testing.T, o Options, ended int, room int64) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs := crashfs.New(1)
	fs.SetDevice(crashfs.Device{Room: room})
	s, err := openByHand(fs, o)
	must(t, err)
	defer s.Close()
	rng := rand.New(rand.NewPCG(1, uint64(ended)))
	for n := range 300 {
		_, err := putSize(s, fmt.Sprintf("d%d.example", n%20), rng.IntN(3000))
		must(t, err)
	}
	c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 300})
	must(t, err)
	for _, d := range c.Deliveries {
		r := queue.Result{Outcome: queue.Deferred}
		if rng.IntN(10) < ended {
			r.Outcome = queue.Delivered
		}
		_, err := s.Settle(ctx, now, []queue.Settlement{{Lease: d.Lease, NotBefore: now.Add(time.Hour), Results: []queue.Result{r}}})
		must(t, err)
	}
	must(t, s.save())
	before := len(s.segments.byNumber)
	rest(t, s)
	if after := len(s.segments.byNumber); after > before+2 {
		t.Errorf("there were %d segments and are %d", before, after)
	}
	needed, useless := int64(0), int64(0)
	for _, g := range s.segments.list {
		if g != nil {
			l, u := s.live(g)
			needed, useless = needed+l, useless+u
		}
	}
	if useless > needed+2*s.segmentSize {
		t.Errorf("%d bytes are useless beside %d that are needed", useless, needed)
	}
}

// rest does maintenance until it has nothing to do.
func rest(t *testing.T, s *Spool) {
	t.Helper()
	before, rounds := len(s.segments.byNumber), 0
	for written := int64(-1); written != s.written(); rounds++ {
		if rounds == 8 {
			t.Fatalf("maintenance still finds something to do after %d rounds; there were %d segments and are %d",
				rounds, before, len(s.segments.byNumber))
		}
		written = s.written()
		must(t, s.maintain(t.Context()))
	}
	t.Logf("%d rounds, %d segments and then %d, %d KiB", rounds, before, len(s.segments.byNumber), s.logBytes>>10)
}

// TestManySmallSegmentsComeToRest merges segments of which there are so many that
// the list of them is longer than what is in any.
func TestManySmallSegmentsComeToRest(t *testing.T) {
	for _, size := range []int64{4 << 10, 0} {
		for _, sector := range []int64{512, 4096} {
			fs := crashfs.New(1)
			s, err := openByHand(fs, Options{SegmentSize: size, sector: sector})
			must(t, err)
			ids := segmentsOfOne(t, s, 1000)
			rest(t, s)
			if n := len(s.segments.byNumber); n > 300 {
				t.Errorf("%d segments are left", n)
			}
			must(t, readsAll(s, ids))
			must(t, s.Close())
		}
	}
}

// written tells two moments apart between which something was written to the log.
func (s *Spool) written() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int64(s.nextSegment) << 40
	if s.current != nil {
		n += s.current.size
	}
	return n
}
