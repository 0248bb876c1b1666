package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// On a full device, everything that lets mail leave must first be appended to the log:
// the end of a delivery, the remaining recipients of one, the end of a segment. So a
// part of the device is kept from Put, by a file that can be cut. The caller that
// writes for the others cuts it when the device is full, and enlarges it again before
// anything is put.

// class says what a ticket may use of the reserve.
type class uint8

const (
	working class = iota // all except what is kept for the classes below
	partial              // what stays of a delivery of which some has ended
	moving               // compaction
	ending               // all: what lets mail or a segment go
	growing              // none of it: Put
	classes
)

// reserve is the file. Only who writes the batch in line uses it, but for size.
type reserve struct {
	file vfs.File // nil where it could not be made
	size int64    // Spool.mu is held where it changes

	// The time when it could not be enlarged, and how much room had been freed by then.
	// The next attempt follows when more was freed, or after a while.
	failed time.Time
	cause  error
	given  uint64
}

const (
	reserveName = "reserve"

	// minRoom is for a new segment, the retirement of others, and a little more.
	minRoom = 16 << 10

	// rowRoom is what a checkpoint needs for a delivery.
	rowRoom = 40

	// againAfter is the time after which the spool checks whether other programs have
	// freed room.
	againAfter = 100 * time.Millisecond
)

// roomNeeded returns how much room the ends of all waiting mail need, and the size of
// the reserve. It grows with the spool, so that it fits a device of any size. The lock
// is held.
func (s *Spool) roomNeeded() (ends, moves, parts, all int64) {
	ends = min(minRoom, s.segmentSize) + 24*int64(len(s.segments.byNumber)) + s.index.EndRoom()
	limit := s.segmentLimit()
	moves = ends + min(limit+limit/2+minRoom, s.logBytes/8)
	parts = moves + min(4*limit, s.logBytes/8+min(s.logBytes/8, 4*minRoom)) // this much is useless before there is no room for more
	checkpoint := rowRoom*int64(s.index.Len()) + s.index.NameRoom()
	return ends, moves, parts, parts + min(minRoom, s.segmentSize) + checkpoint
}

// segmentLimit is how long the segment gets that is written to: a part of the log
// only, and of the device, so that it can be moved when there is little room. The
// lock is held.
func (s *Spool) segmentLimit() int64 {
	limit := min(s.segmentSize, max(16<<20, s.logBytes/4))
	if s.capacity > 0 || s.short.Load() {
		limit = min(limit, max(minRoom, s.capacity/32, s.logBytes/32))
	}
	return max(limit, s.leastSegment(len(s.segments.byNumber)))
}

// leastSegment returns the least length of a segment that begins with a list of so many
// others. If the list took most of it, each retirement of a segment would begin another
// one.
func (s *Spool) leastSegment(others int) int64 {
	return 4 * s.filled(record.HeaderSize+record.FrameSize+16+12*int64(others))
}

// endRoom is what the deliveries of a ticket will need.
func (t *ticket) endRoom() (n int64) {
	for i := range t.frames {
		if f := &t.frames[i]; f.home > 0 {
			n += min(96+int64(len(f.Head)), 384) + rowRoom
		}
	}
	return n
}

// openReserve opens or creates the file. If there is no room for all of it, Put returns
// ErrFull until there is.
func (s *Spool) openReserve() error {
	open := func() (vfs.File, error) { return s.fs.Open(reserveName, true) }
	f, err := s.files.another(open)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = s.files.another(func() (vfs.File, error) { return s.fs.Create(reserveName) })
	}
	if err != nil {
		return err
	}
	s.spare.file = f
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size > 0 && f.Allocate(size) != nil { // it may have holes
		size = 0
		_ = f.Truncate(0)
	}
	s.spare.size = size
	return nil
}

// refill enlarges the reserve to its full size before a put that needs so much more of
// it.
func (s *Spool) refill(more int64) error {
	r := &s.spare
	s.mu.Lock()
	_, _, _, all := s.roomNeeded()
	s.mu.Unlock()
	all += more
	switch {
	case r.size > 4*all+16<<20:
		s.cut(2 * all)
	case r.size >= all:
	default:
		if err := s.grow(all); err != nil {
			s.short.Store(true)
			return err
		}
	}
	s.short.Store(false)
	return nil
}

// refillSome enlarges the reserve as far as there is room, so that freed room is not
// used up by records that may use the whole reserve.
func (s *Spool) refillSome() {
	if s.refill(0) == nil {
		return
	}
	s.spare.failed = time.Time{}
	s.mu.Lock()
	_, moves, parts, _ := s.roomNeeded()
	s.mu.Unlock()
	for _, size := range []int64{parts, moves} {
		if s.spare.size < size && s.grow(size) != nil {
			s.spare.failed = time.Time{}
		}
	}
}

func (s *Spool) grow(size int64) error {
	r := &s.spare
	given := s.given.Load()
	if !r.failed.IsZero() && r.given == given && time.Since(r.failed) < againAfter {
		return errReserve(r.cause)
	}
	if r.file == nil {
		if err := s.openReserve(); vfs.IsFull(err) {
			return s.cannotGrow(err, given)
		} else if err != nil {
			return err
		}
	}
	more := max(size/4, min(4<<20, s.segmentSize)) // not a little at a time
	if s.capacity > 0 {
		more = min(more, s.capacity/32)
	}
	var err error
	for _, want := range []int64{size + more, size + size/8, size} {
		if err = r.file.Allocate(want); err == nil {
			s.mu.Lock()
			r.size, r.failed = want, time.Time{}
			s.mu.Unlock()
			return nil
		}
		_ = r.file.Truncate(r.size)
		_ = r.file.Sync()
	}
	if !vfs.IsFull(err) {
		return err
	}
	return s.cannotGrow(err, given)
}

func (s *Spool) cannotGrow(err error, given uint64) error {
	s.spare.failed, s.spare.cause, s.spare.given = time.Now(), err, given
	return errReserve(err)
}

func errReserve(cause error) error {
	return fmt.Errorf("%w: the remaining space is reserved for delivering what is queued: %w", queue.ErrFull, cause)
}

// give cuts the reserve for a class, for something of a size that did not fit. It
// reports whether there was any of it.
func (s *Spool) give(c class, size int64) bool {
	r := &s.spare
	s.mu.Lock()
	ends, moves, parts, all := s.roomNeeded()
	s.mu.Unlock()
	least := [classes]int64{growing: all, working: parts, partial: moves, moving: ends}[c]
	if r.file == nil || r.size <= least {
		return false
	}
	if c == growing { // it is larger than needed
		return s.cut(least)
	}
	s.short.Store(true)
	s.mu.Lock()
	s.limit = s.segmentLimit()
	s.mu.Unlock()
	return s.cut(max(least, r.size-max(size+minRoom, r.size/8)))
}

// cut makes the reserve shorter. File systems give the room back when that is
// saved, at the latest.
func (s *Spool) cut(size int64) bool {
	r := &s.spare
	if err := r.file.Truncate(size); err != nil {
		return false
	}
	_ = r.file.Sync()
	s.mu.Lock()
	r.size = size
	s.mu.Unlock()
	return true
}

// relent makes room for a batch that did not fit, or leaves out of it what may not
// have any. It reports whether to try again.
func (s *Spool) relent(b *batch, cause error) bool {
	for _, c := range []class{growing, working, partial, moving} {
		if b.has(c) {
			if !s.give(c, b.bytes) {
				b.refuse(c, cause)
			}
			return true
		}
	}
	return s.give(ending, b.bytes)
}

// roomy does something with the help of the reserve. No other caller may use it.
func (s *Spool) roomy(do func() error) error {
	for {
		err := do()
		if !vfs.IsFull(err) || !s.give(ending, 0) {
			return err
		}
	}
}

// withRoom does something that is not a part of the log, with the help of the reserve.
// Put may take the room that it frees, so the number of attempts is limited.
func (s *Spool) withRoom(do func() error, size int64) (err error) {
	for range mostTries {
		if err = do(); !vfs.IsFull(err) || !s.makeRoom(working, size) {
			break
		}
	}
	return err
}

// mostTries is how often something is tried again because of what others do
// meanwhile. It may be an eighth of the reserve each time that is given up for it.
const mostTries = 64

// makeRoom frees the given room on the device for something that is not a part of the
// log, without using what is kept for ends.
func (s *Spool) makeRoom(c class, size int64) bool {
	t := &ticket{class: c, makes: max(1, size)}
	s.line.enqueue(t)
	return s.wait(t) == nil && t.made
}
