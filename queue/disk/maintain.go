package disk

import (
	"cmp"
	"context"
	"math/bits"
	"slices"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// startMaintenance has checkpoints taken and dead segments deleted when enough
// was written for that, in a goroutine that ends by itself and that Close waits
// for. The lock is held.
func (s *Spool) startMaintenance() {
	if s.byHand || s.closed || s.maintaining || s.failure != nil ||
		s.sinceMaintenance < s.segmentSize && !s.checkpointDue() && !s.mergeDue {
		return
	}
	s.maintaining = true
	s.background.Add(1)
	go func() {
		defer s.background.Done()
		_ = s.maintain(s.stopped) // what failed is tried again; a failed device shows in every call
		s.mu.Lock()
		s.maintaining = false
		s.mu.Unlock()
	}()
}

// maintain does what is due now. Only one runs at a time.
func (s *Spool) maintain(ctx context.Context) error {
	s.mu.Lock()
	s.sinceMaintenance = 0
	due := s.checkpointDue()
	s.mu.Unlock()
	if due {
		if err := s.takeCheckpoint(ctx); err != nil {
			return err
		}
	}
	tried := map[*segment]bool{}
	for ctx.Err() == nil {
		g := s.worst(tried)
		if g == nil {
			return s.merge(ctx)
		}
		tried[g] = true
		if err := s.compact(ctx, g); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// merge moves what is in segments of which there are too many.
func (s *Spool) merge(ctx context.Context) error {
	s.mu.Lock()
	list := s.crowd()
	s.mergeDue = false
	s.mu.Unlock()
	for _, g := range list {
		if err := s.compact(ctx, g); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// maxAlike is how many small segments of about the same size there may be. Each
// opening begins a segment, however little is written to it. Those that are merged
// come to lie in one of another size, so that what is in them moves as often as
// the logarithm of their number says.
const maxAlike = 8

// crowd returns the small segments of which there are too many of about the same
// size. The lock is held.
func (s *Spool) crowd() (list []*segment) {
	if len(s.segments.byNumber) <= maxAlike {
		return nil
	}
	alike := map[int][]*segment{}
	for _, g := range s.segments.list {
		if g != nil && g != s.current && !g.broken && len(g.from) == 0 && g.size < s.segmentSize/2 {
			size := bits.Len64(uint64(g.size)>>10) / 2
			alike[size] = append(alike[size], g)
		}
	}
	for _, of := range alike {
		if len(of) >= maxAlike {
			list = append(list, of...)
		}
	}
	slices.SortFunc(list, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	return list
}

// live is roughly how much of a segment is still needed, and useless how much
// is not. The lock is held.
func (s *Spool) live(g *segment) (live, useless int64) {
	needed := s.index.Refs(g.slot).Bytes
	for _, n := range g.gone {
		needed += int64(n) * index.SmallCost
	}
	if g.cost <= 0 {
		return 0, g.size
	}
	live = int64(float64(g.size) * min(1, float64(needed)/float64(g.cost)))
	return live, g.size - live
}

// worst is the segment that is to be given up next: one of which nothing is
// needed, or, where more of the log is useless than not, the one with the
// least in it. Nil where none is.
func (s *Spool) worst(tried map[*segment]bool) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var live, useless, least int64
	var worst *segment
	for _, g := range s.segments.list {
		if g == nil {
			continue
		}
		l, u := s.live(g)
		live, useless = live+l, useless+u
		if g == s.current || g.broken || tried[g] || len(g.from) > 0 {
			continue
		}
		if s.needless(g) {
			return g
		}
		if worst == nil || l*worst.size < least*g.size {
			worst, least = g, l
		}
	}
	if useless <= live+s.segmentSize || worst == nil || least > worst.size*7/10 {
		return nil
	}
	return worst
}

// needless reports whether nothing in a segment is needed any more. The lock is
// held.
func (s *Spool) needless(g *segment) bool {
	r := s.index.Refs(g.slot)
	return r.Homes == 0 && r.Records == 0 && r.Destinations == 0 && len(g.gone) == 0 && len(g.from) == 0
}

// olderRecords tells whether segments in use, but for one that is being given up, may
// have records of a destination that are older than the one that counts. The lock is
// held.
func (s *Spool) olderRecords(but *segment) func(*index.Postponement) bool {
	var numbers []uint64
	for _, g := range s.segments.list {
		if g != nil && g != but {
			numbers = append(numbers, g.number)
		}
	}
	slices.Sort(numbers)
	return func(p *index.Postponement) bool {
		i, _ := slices.BinarySearch(numbers, p.Oldest)
		return i < len(numbers) && numbers[i] < s.segments.list[p.Record.Segment].number
	}
}

// sweep forgets postponements that are over.
func (s *Spool) sweep() {
	for from, more := 0, true; more; more = from > 0 {
		s.mu.Lock()
		from = s.index.Sweep(from, holdMax, s.olderRecords(nil))
		s.mu.Unlock()
	}
}
