package disk

import (
	"fmt"
	"strconv"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// segment is one file of the log.
type segment struct {
	number uint64
	slot   uint16   // its number in the index
	file   *logFile // nil where the file is missing
	salt   uint64
	size   int64  // up to the end of the last frame
	saved  uint32 // how much is known to be on the disk, whole
	cost   int64  // bytes ever written to it, as the index counts them
	gone   map[uint64]int
	from   map[uint64]bool // segments of which it holds moved messages
	// flushes is whether it has records of flushes. While deliveries are due by those
	// alone, it is retired only when a checkpoint covers it.
	flushes bool
	broken  bool // a record in it that is or may be needed cannot be read
	pins    int
	dead    bool // retired; the file goes with the last pin
}

func newSegment(number uint64) *segment {
	return &segment{number: number, gone: map[uint64]int{}, from: map[uint64]bool{}}
}

// messageCost returns how much the records of a message and its deliveries cost their
// segment. The content counts with the padding of its record.
func messageCost(bytes int64, head []byte, deliveries int) int64 {
	return index.MessageCost + bytes - record.FrameSize - int64(len(head)) + int64(deliveries)*index.DeliveryCost
}

// The names of files. Numbers have a fixed length, so that names sort as they do.
const (
	segmentPrefix    = "segment-"
	checkpointPrefix = "checkpoint-"
	contentPrefix    = "content-"
	keysPrefix       = "keys-"
	suspendedPrefix  = "suspended-"
	outcomesPrefix   = "outcomes-"
	newSuffix        = ".new"
	lockName         = "lock"
)

func fileName(prefix string, number uint64) string {
	return fmt.Sprintf("%s%016x", prefix, number)
}

// numberOf takes a file's name apart.
func numberOf(name, prefix string) (uint64, bool) {
	if len(name) != len(prefix)+16 {
		return 0, false
	}
	n, _ := strconv.ParseUint(name[len(prefix):], 16, 64)
	return n, fileName(prefix, n) == name
}

// segments is the table of segments in use.
type segments struct {
	list     []*segment // by slot; nil is free
	byNumber map[uint64]*segment
	most     int // slots; tests have fewer than maxSegments
}

// maxSegments is how many slots the index can tell apart.
const maxSegments = 1 << 16

// add gives a segment a slot. It returns false if there is none left.
func (t *segments) add(g *segment) bool {
	for i, old := range t.list {
		if old == nil {
			g.slot, t.list[i] = uint16(i), g
			t.byNumber[g.number] = g
			return true
		}
	}
	if t.full(1) {
		return false
	}
	g.slot = uint16(len(t.list))
	t.list = append(t.list, g)
	t.byNumber[g.number] = g
	return true
}

// full reports whether fewer than so many slots are left. Segments may have one that are
// not in use any more: of which a checkpoint speaks, or whose records are missing.
func (t *segments) full(left int) bool {
	for _, g := range t.list {
		if g == nil {
			left--
		}
	}
	return t.most-len(t.list) < left
}

// spare is how many slots are kept from Put, so that what lets mail leave gets a segment
// even if the spool is opened again and again meanwhile.
func (t *segments) spare() int { return max(1, t.most/1024) }

// remove takes segments out of use; records that were kept because of them are not
// needed any more.
func (t *segments) remove(dead []*segment) {
	for _, g := range dead {
		t.list[g.slot] = nil
		delete(t.byNumber, g.number)
	}
	for _, other := range t.list {
		if other == nil {
			continue
		}
		for _, g := range dead {
			delete(other.gone, g.number)
			delete(other.from, g.number)
		}
	}
}

// place returns a record's place in the form of the index.
func (g *segment) place(off uint32) index.Place { return index.Place{Segment: g.slot, Offset: off} }

// where returns a record's place in the form of the log.
func (g *segment) where(off uint32) record.Place {
	return record.Place{Segment: g.number, Offset: off}
}

// pin keeps a segment's file open until unpin. The lock is held.
func (s *Spool) pin(g *segment) { g.pins++ }

func (s *Spool) unpin(g *segment) {
	s.mu.Lock()
	g.pins--
	last := g.dead && g.pins == 0
	s.mu.Unlock()
	if last {
		s.discard(g)
	}
}

// discard deletes the file of a retired segment. If that fails, the next Open does it.
func (s *Spool) discard(g *segment) {
	if g.file != nil {
		_ = g.file.Close()
	}
	_ = s.fs.Remove(fileName(segmentPrefix, g.number))
	s.given.Add(1)
}
