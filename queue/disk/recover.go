package disk

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// found is what a directory holds.
type found struct {
	segments    map[uint64]*segment // with intact headers
	sizes       map[uint64]int64    // of every segment's file
	damaged     map[uint64]error    // whose header is not intact
	checkpoints []uint64            // newest first
	contents    []uint64
	keys        []uint64
	suspended   []uint64
	outcomes    []uint64
	leftovers   []string
}

// recover reads the directory. With readOnly it changes nothing on the disk.
//
//  1. The newest segment says which segments are in use.
//  2. The newest intact checkpoint gives the index at some place.
//  3. The log is read from there on, group by group.
//  4. The end of the log is written once more and saved: after a failed sync, or if a
//     process died before its sync, data that can be read there need not be on the
//     disk.
//  5. Files that nothing refers to are deleted.
func (s *Spool) recover(readOnly bool) error {
	f, err := s.find()
	if err != nil {
		return err
	}
	u, err := s.inUse(f)
	if err != nil {
		f.close()
		return err
	}
	from, err := s.restore(f)
	if err != nil {
		return err
	}
	if err := s.loadKeys(f.keys, readOnly); err != nil {
		return err
	}
	if err := s.loadSuspended(f.suspended, readOnly); err != nil {
		return err
	}
	if err := s.loadOutcomes(f.outcomes, readOnly); err != nil {
		return err
	}
	if err := s.replay(u, from); err != nil {
		return err
	}
	s.purge()
	s.keys.sweep(s.index)
	s.sweepHolds()
	s.numbers(f, u)
	if readOnly {
		return nil
	}
	s.capacity = s.fs.Capacity()
	if err := s.openReserve(); err != nil && !vfs.IsFull(err) {
		return err
	}
	if u.tail != nil {
		if err := s.saveTail(u.tail); err != nil {
			return err
		}
		if err := s.roomy(s.finishTail); err != nil && !vfs.IsFull(err) {
			return err
		}
	}
	for _, g := range s.segments.byNumber {
		s.logBytes += g.size
	}
	if err := s.clean(f); err != nil && !vfs.IsFull(err) {
		return err
	}
	if err := s.refill(0); !vfs.IsFull(err) {
		return err
	}
	return nil
}

// find lists the directory and opens the segments.
func (s *Spool) find() (*found, error) {
	list, err := s.fs.List()
	if err != nil {
		return nil, err
	}
	f := &found{segments: map[uint64]*segment{}, sizes: map[uint64]int64{}, damaged: map[uint64]error{}}
	for _, file := range list {
		if n, ok := numberOf(file.Name, segmentPrefix); ok {
			f.sizes[n] = file.Size
			if err := s.openSegment(f, n, file.Size); err != nil {
				f.close()
				return nil, err
			}
		} else if n, ok := numberOf(file.Name, checkpointPrefix); ok {
			f.checkpoints = append(f.checkpoints, n)
		} else if n, ok := numberOf(file.Name, contentPrefix); ok {
			f.contents = append(f.contents, n)
		} else if n, ok := numberOf(file.Name, keysPrefix); ok {
			f.keys = append(f.keys, n)
		} else if n, ok := numberOf(file.Name, suspendedPrefix); ok {
			f.suspended = append(f.suspended, n)
		} else if n, ok := numberOf(file.Name, outcomesPrefix); ok {
			f.outcomes = append(f.outcomes, n)
		} else if strings.HasSuffix(file.Name, newSuffix) {
			f.leftovers = append(f.leftovers, file.Name)
		}
	}
	slices.Reverse(f.checkpoints)
	return f, nil
}

func (f *found) close() {
	for _, g := range f.segments {
		_ = g.file.Close()
	}
}

func (s *Spool) openSegment(f *found, number uint64, size int64) error {
	file := s.files.file(fileName(segmentPrefix, number))
	h, err := record.ReadHeader(file, record.SegmentFile)
	if err == nil && h.Number != number {
		err = fmt.Errorf("header of another segment: %w", record.ErrDamaged)
	}
	if err == nil {
		g := newSegment(number)
		g.file, g.salt, g.size = file, h.Salt, size
		f.segments[number] = g
		return nil
	}
	_ = file.Close()
	switch {
	case errors.Is(err, record.ErrNewer):
		return fmt.Errorf("%w: %s: %w", ErrNewer, fileName(segmentPrefix, number), err)
	case isDamage(err):
		f.damaged[number] = err
		return nil
	}
	return err
}

// usage is which segments are in use.
type usage struct {
	numbers []uint64 // ascending
	retired map[uint64]bool
	next    uint64 // number of a message
	tail    *tail  // of the newest one, if that can be read
}

// inUse reads the newest segment whose list of segments is intact, and adds the newer
// segments.
func (s *Spool) inUse(f *found) (*usage, error) {
	newest := make([]uint64, 0, len(f.sizes))
	for n := range f.sizes {
		newest = append(newest, n)
	}
	slices.Sort(newest)
	slices.Reverse(newest)
	u := &usage{retired: map[uint64]bool{}}
	saved := map[uint64]uint32{}
	used := map[uint64]bool{}
	unborn := true // so far, from the newest down
	for _, n := range newest {
		g := f.segments[n]
		if g == nil {
			unborn = unborn && f.sizes[n] <= s.longestUnborn(f)
			used[n] = !unborn
			continue
		}
		list, t, err := s.survey(g, u)
		if err != nil {
			return nil, err
		}
		first := unborn
		longest := s.longestUnborn(f)
		if list != nil {
			longest = t.list
		}
		unborn = unborn && t.says <= record.HeaderSize && g.size <= longest
		used[n] = !unborn
		if first && !unborn {
			u.tail = t
		}
		if list == nil {
			continue
		}
		u.next = max(u.next, list.Next)
		for _, x := range list.List {
			saved[x.Segment] = max(saved[x.Segment], x.Saved)
		}
		if unborn {
			continue
		}
		for _, x := range list.List {
			used[x.Segment] = true
		}
		break
	}
	u.numbers = u.of(used)
	for _, n := range u.numbers {
		g := f.segments[n]
		if g == nil {
			g = newSegment(n)
			s.problem(fileName(segmentPrefix, n), -1, missing(f, n))
		}
		g.saved = max(g.saved, saved[n])
		if !s.segments.add(g) {
			return nil, errors.New("disk: too many segments")
		}
	}
	for n, g := range f.segments {
		if s.segments.byNumber[n] == nil {
			_ = g.file.Close()
		}
	}
	return u, nil
}

// of is what of those that are used is not retired, in order.
func (u *usage) of(used map[uint64]bool) (numbers []uint64) {
	for n, is := range used {
		if is && !u.retired[n] {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

func missing(f *found, n uint64) error {
	if err := f.damaged[n]; err != nil {
		return err
	}
	return errors.New("the file is missing")
}

// longestUnborn returns the longest file without a record that may be an unfinished
// segment, from before anything could be written to it: when the power failed, or when
// there was no room for it and its removal was lost. Such a segment does not count,
// with or without its list, because the log continued in the one before.
func (s *Spool) longestUnborn(f *found) int64 {
	return s.filled(int64(record.HeaderSize + record.FrameSize + 64 + 20*len(f.sizes)))
}

// survey reads a segment for what it says about segments, how it ends, and how much of
// it is known to have been saved. Its list is nil if that cannot be read.
func (s *Spool) survey(g *segment, u *usage) (*record.Segments, *tail, error) {
	t := &tail{segment: g, end: record.HeaderSize, says: record.HeaderSize}
	var list *record.Segments
	groups := g.groups(record.HeaderSize)
	for groups.Next() {
		for _, f := range groups.Frames() {
			g.saved = max(g.saved, f.Mark)
		}
		if !groups.Whole() {
			continue
		}
		says := t.says
		for _, f := range groups.Frames() {
			switch f.Kind {
			case record.KindSegments:
				if l, bad := record.ParseSegments(f.Head); bad == nil {
					list, t.list = &l, s.filled(f.To)
				}
				continue
			case record.KindSaved, record.KindFill:
				continue
			case record.KindRetired:
				if r, bad := record.ParseRetired(f.Head); bad == nil {
					u.retired[r.Segment] = true
				}
			}
			t.says = groups.To()
		}
		if t.says > says || groups.From() == t.end {
			t.end = groups.To()
		}
	}
	for _, gap := range groups.Gaps() {
		t.bad = t.bad || gap.Err != nil
	}
	return list, t, groups.Err()
}

// problem notes damage that does not keep the spool from opening.
func (s *Spool) problem(file string, off int64, err error) {
	s.problems = append(s.problems, Problem{File: file, Offset: off, Err: err})
}

// purge takes deliveries out whose message's segment is not in use any more:
// whatever was needed of it has been moved, so that they have ended.
func (s *Spool) purge() {
	homes := make([]uint16, len(s.ghosts))
	for i, g := range s.ghosts {
		homes[i] = g.slot
	}
	for _, slot := range s.index.AtHome(homes...) {
		number := s.index.Get(slot).Message
		if s.index.Remove(slot) {
			s.hasLeft(s.leaving[number], number)
		}
	}
	for _, g := range s.ghosts {
		s.forgetPostponements(g)
	}
	for _, g := range s.ghosts {
		if s.index.Refs(g.slot).Records == 0 {
			s.segments.list[g.slot] = nil
			continue
		}
		g.broken = true // what replaced those records is lost
		s.problem(fileName(segmentPrefix, g.number), -1, errors.New("the file is missing"))
	}
	s.ghosts, s.leaving = nil, nil
}

// atLeast makes the next message's number at least number. Only recover and functions
// that it calls use it.
func (s *Spool) atLeast(number uint64) {
	s.nextMessage.Store(max(s.nextMessage.Load(), number))
}

// numbers sets what the next message, segment and checkpoint are called.
func (s *Spool) numbers(f *found, u *usage) {
	next := max(u.next, s.nextMessage.Load())
	for _, n := range f.contents {
		next = max(next, index.Ordinal(n)+1)
	}
	if s.hidden {
		next += 1 << 20 // numbers may have been given that cannot be read any more
	}
	s.nextMessage.Store(next)
	for n := range f.sizes { // no record refers to one that was begun later
		s.nextSegment = max(s.nextSegment, n+1)
	}
	if len(f.checkpoints) > 0 {
		s.nextCheckpoint = f.checkpoints[0] + 1
	}
	s.checkpoints = f.checkpoints
}

// forgetPostponements forgets those recorded in a segment that is not in use any more:
// they were over, or they would have been moved.
func (s *Spool) forgetPostponements(g *segment) {
	for from, more := 0, true; more; more = from > 0 {
		var list []*index.Postponement
		list, from = s.index.Postponements(g.slot, from, holdMax)
		for _, p := range list {
			s.index.Forget(p.Name)
		}
	}
}
