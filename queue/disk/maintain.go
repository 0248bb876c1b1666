package disk

import (
	"cmp"
	"context"
	"errors"
	"math/bits"
	"slices"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// startMaintenance has checkpoints taken and dead segments deleted when enough
// was written for that, in a goroutine that ends by itself and that Close waits
// for. The lock is held.
func (s *Spool) startMaintenance() {
	if s.byHand || s.closed || s.maintaining || s.failure != nil || !s.maintenanceDue() {
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

// maintenanceDue reports whether there may be enough work; if room is short, less is
// enough. The lock is held.
func (s *Spool) maintenanceDue() bool {
	enough := s.segmentSize
	if s.short.Load() {
		enough = min(enough, s.logBytes/32+minRoom)
	}
	return s.sinceMaintenance >= enough || s.checkpointDue() || s.mergeDue || s.outcomesDue()
}

// maintain does the work that is due now, deletions first, because they may give the
// room that the rest needs. If something fails for lack of room, or a segment cannot be
// moved, the rest is done nevertheless. Only one maintain runs at a time.
//
// It ends, because a round gives up only segments that existed when it began, each
// once. Repeated rounds come to rest if nothing else is written:
//
//   - A segment is compacted if enough of it is useless, and the moved records are in
//     the next one without these parts. Records of deliveries that move with their
//     message from another segment become useless there, once: they stay with the
//     message.
//   - Segments are merged if they are shorter than half of one. Of two that are written
//     one after the other only one can be, so about half of them remain.
//   - The records about all this take less than a segment for each one that is given
//     up: leastSegment.
func (s *Spool) maintain(ctx context.Context) error { return s.maintainFor(ctx, mostLive) }

// maintainFor is maintain for who takes any trouble to have some room.
func (s *Spool) maintainFor(ctx context.Context, most share) error {
	select {
	case s.maintenance <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.maintenance }()
	s.mu.Lock()
	s.sinceMaintenance = 0
	s.mu.Unlock()
	r := s.newRound()
	err := s.retireNeedless(ctx, r)
	if !passes(err) {
		return err
	}
	err = errors.Join(err, s.compactAll(ctx, func() *segment { return s.next(r, 0) })) // those that need a checkpoint
	s.mu.Lock()
	due, outcomes := s.checkpointDue(), s.outcomesDue()
	s.mu.Unlock()
	if outcomes {
		err = errors.Join(err, s.saveOutcomes())
	}
	if due {
		err = errors.Join(err, s.takeCheckpoint(ctx))
	}
	err = errors.Join(err, s.compactAll(ctx, func() *segment { return s.next(r, most) }))
	return errors.Join(err, s.merge(ctx), ctx.Err())
}

// share is a part of a segment, in sixteenths.
type share int64

// How much of a segment may still be needed when it is compacted, in sixteenths: at most
// 11, or anything less than all.
const (
	mostLive share = 11
	anyLive  share = 15
)

// errUnmoved says that not all of what is needed of a segment could be moved, such as where
// its file cannot be opened.
var errUnmoved = errors.New("disk: a segment was not moved")

// passes reports whether other segments should be given up in spite of an error. If none can
// be retired, nothing more is moved, which would need room in vain.
func passes(err error) bool {
	return err == nil || (errors.Is(err, queue.ErrFull) || errors.Is(err, errUnmoved)) && !errors.Is(err, ErrFailed)
}

// compactAll compacts one segment after the other.
func (s *Spool) compactAll(ctx context.Context, next func() *segment) (err error) {
	for ctx.Err() == nil {
		g := next()
		if g == nil {
			break
		}
		one := s.compact(ctx, g)
		err = errors.Join(err, one)
		if !passes(one) {
			break
		}
	}
	return err
}

// reclaim deletes what is not needed any more, to make room. It reports whether that
// gave any.
func (s *Spool) reclaim(ctx context.Context) bool {
	s.mu.Lock()
	before := s.given.Load()
	turns := false
	if g := s.current; g != nil {
		live, useless := s.live(g)
		turns = useless > live/8 && g.size > minRoom/4
	}
	worth := s.ends != s.futile && (turns || len(s.deadContents) > 0 || s.worst(&round{before: s.nextSegment}, anyLive) != nil)
	ends := s.ends
	s.mu.Unlock()
	trimmed := s.makeRoom(growing, 1) // the reserve was larger than it need be
	if !worth || s.save() != nil {
		return trimmed
	}
	if turns { // the segment that is written to may be the one that is useless
		f := frame{}
		f.Kind = record.KindSaved
		t := &ticket{durable: true, class: ending, turns: true, frames: []frame{f}}
		s.line.enqueue(t)
		_ = s.wait(t)
	}
	_ = s.maintainFor(ctx, anyLive)
	if s.given.Load() != before {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.futile = ends
	return trimmed
}

// merge moves the content of segments of which there are too many.
func (s *Spool) merge(ctx context.Context) error {
	s.mu.Lock()
	list := s.crowd()
	s.mergeDue = false
	s.mu.Unlock()
	return s.compactAll(ctx, func() *segment {
		if len(list) == 0 {
			return nil
		}
		g := list[0]
		list = list[1:]
		return g
	})
}

// maxAlike is how many small segments of about the same size there may be. Each opening
// begins a segment, even if little is written to it. Merged segments become one of
// another size, so records move at most as often as the logarithm of their number.
const maxAlike = 8

// crowd returns the small segments of which there are too many of about the same
// size. The lock is held.
func (s *Spool) crowd() (list []*segment) {
	if len(s.segments.byNumber) <= maxAlike {
		return nil
	}
	alike, small := map[int][]*segment{}, min(s.segmentLimit()/2, 1<<20)
	for _, g := range s.segments.list {
		if g != nil && g != s.current && !g.broken && len(g.from) == 0 && g.size < small {
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

// next takes the next segment to give up.
func (s *Spool) next(r *round, most share) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.worst(r, most)
	if g != nil {
		r.tried[g] = true
	}
	return g
}

// round is one run of maintenance. It tries each segment once, and none that was begun
// since: otherwise it would never end if moved records need more space than before.
type round struct {
	tried  map[*segment]bool
	before uint64
}

// open reports whether a round may give a segment up. The lock is held.
func (r *round) open(s *Spool, g *segment) bool {
	return g != s.current && !r.tried[g] && g.number < r.before && len(g.from) == 0 && (!g.broken || s.needless(g))
}

func (s *Spool) newRound() *round {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &round{map[*segment]bool{}, s.nextSegment}
}

// worst returns the next segment to give up, or nil. It is one in which nothing is
// needed, or, if more of the log is useless than not, the one with the least needed
// data, if that is not more than the given share. If room is short, less is enough, and
// the records to move must fit the reserve. The lock is held.
func (s *Spool) worst(r *round, most share) *segment {
	short := s.short.Load() || most == anyLive
	ends, _, _, _ := s.roomNeeded()
	var live, useless, least int64
	var worst *segment
	for _, g := range s.segments.list {
		if g == nil {
			continue
		}
		l, u := s.live(g)
		live, useless = live+l, useless+u
		if !r.open(s, g) {
			continue
		}
		if s.needless(g) {
			return g
		}
		if short && l+s.elsewhere(g) > s.spare.size-ends {
			continue
		}
		if worst == nil || l*worst.size < least*g.size {
			worst, least = g, l
		}
	}
	if !short && useless <= live+s.segmentSize || worst == nil || least > worst.size*int64(most)/16 {
		return nil
	}
	return worst
}

// elsewhere is roughly how much of other segments moves with the messages of one:
// records of their deliveries. The lock is held.
func (s *Spool) elsewhere(g *segment) int64 {
	r := s.index.Refs(g.slot)
	n := int64(max(0, r.Homes-r.Records)) * index.DeliveryCost
	return int64(float64(n) * min(1, float64(g.size)/float64(max(1, g.cost))))
}

// needless reports whether nothing in a segment is needed any more. The lock is held.
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
