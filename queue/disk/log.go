package disk

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// write appends the batch to the log: all tickets for which there is room, or none.
func (s *Spool) write(b *batch) {
	if err := s.failed(); err != nil {
		b.fail(err)
		return
	}
	if b.grows() {
		err := s.deleted()
		if err == nil {
			err = s.refill(b.endRoom())
		}
		if err != nil {
			b.refuse(growing, err)
		}
	}
	for _, t := range b.tickets {
		if t.makes > 0 {
			t.made = s.give(t.class, t.makes)
		}
		s.rollNow = s.rollNow || t.turns
		if t.fills && s.short.Load() {
			s.refillSome()
		}
	}
	for len(b.tickets) > 0 {
		err := s.append(b)
		if err == nil {
			return
		}
		switch {
		case errors.Is(err, errSlots) && b.has(growing):
			b.refuse(growing, err)
		case !vfs.IsFull(err) || !s.relent(b, err):
			b.fail(err)
		}
	}
}

// grows reports whether the batch has a put.
func (b *batch) grows() bool {
	return slices.ContainsFunc(b.tickets, func(t *ticket) bool { return t.class == growing && t.makes == 0 })
}

// deleted returns an error if the segment to which the log grows has been deleted: what is
// added there would be gone with this process. What was there before can still be delivered.
func (s *Spool) deleted() error {
	if g := s.current; g != nil && g.file.deleted() {
		return ErrDeleted
	}
	return nil
}

func (b *batch) endRoom() (n int64) {
	for _, t := range b.tickets {
		if t.class == growing {
			n += t.endRoom()
		}
	}
	return n
}

// append appends the tickets of a batch, or none.
func (s *Spool) append(b *batch) error {
	if s.torn {
		if err := s.mend(nil); err != nil {
			return err
		}
	}
	if err := s.finishTail(); err != nil {
		return err
	}
	if err := s.roll(b); err != nil {
		return err
	}
	g := s.current
	start := g.size
	pos, err := s.writeTickets(g, b.tickets, start, b.durable)
	if err != nil {
		return s.undo(g, start, err)
	}
	records := 0
	for _, t := range b.tickets {
		records += len(t.frames)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setSize(g, pos)
	s.sinceCheckpoint += pos - start + int64(records)*replayCost
	s.sinceMaintenance += pos - start
	s.unsaved = s.unsaved || pos > start
	return nil
}

// setSize is for when more or less of a segment is used. The lock is held.
func (s *Spool) setSize(g *segment, size int64) {
	s.logBytes += size - g.size
	g.size = size
}

// writeTickets writes tickets at a place of a segment and returns where they end, with
// a filled sector if required.
func (s *Spool) writeTickets(g *segment, tickets []*ticket, pos int64, fill bool) (end int64, err error) {
	buf := s.buffer[:0]
	for _, t := range tickets {
		t.place(g, pos)
		for i := range t.frames {
			f := &t.frames[i].Frame
			f.Mark = g.saved
			buf = f.Append(buf, g.salt, pos)
			pos += f.Len()
			if len(buf) < writeSize {
				continue
			}
			if err := writeAt(g, buf, pos); err != nil {
				return 0, err
			}
			buf = buf[:0]
		}
	}
	if fill && pos > int64(g.saved) {
		buf = s.fill(buf, g, &pos)
	}
	if err := writeAt(g, buf, pos); err != nil {
		return 0, err
	}
	if cap(buf) <= 2*writeSize {
		s.buffer = buf
	}
	return pos, nil
}

// sectorSize is the most that devices and file systems write as a whole.
const sectorSize = 4096

// fill fills the log up to a multiple of the sector. Saved data never shares a sector
// with data that is written later: if the power fails while a device writes a sector,
// the rest of the sector is uncertain.
//
// If room is short, nothing is filled: the records that let mail leave are short, and
// would take a sector each.
func (s *Spool) fill(b []byte, g *segment, pos *int64) []byte {
	n := s.filled(*pos) - *pos
	if n == 0 || s.short.Load() {
		return b
	}
	b = record.AppendFill(b, g.salt, *pos, g.saved, int(n))
	*pos += n
	return b
}

// filled returns where a fill record that begins at an offset ends, at the end of a
// sector; it returns the offset if that is the end of one.
func (s *Spool) filled(off int64) int64 {
	n := -off & (s.sector - 1)
	if n > 0 && n < record.FrameSize {
		n += s.sector
	}
	return off + n
}

// place fills in where the frames come to stand.
func (t *ticket) place(g *segment, pos int64) {
	t.at = t.at[:0]
	for i := range t.frames {
		t.at = append(t.at, uint32(pos))
		pos += t.frames[i].Len()
	}
	for i := range t.frames {
		if f := &t.frames[i]; f.home > 0 {
			record.SetHome(f.Head, g.where(t.at[i+f.home]))
		}
	}
}

// writeSize is how much is written at a time.
const writeSize = 1 << 20

// writeAt writes what ends at an offset.
func writeAt(g *segment, p []byte, end int64) error {
	if len(p) == 0 {
		return nil
	}
	_, err := g.file.WriteAt(p, end-int64(len(p)))
	return err
}

// undo takes back a failed write, from its beginning: on the disk, too, so that a
// message reported as not stored never appears later. This also saves earlier unsaved
// records, whose sector is filled if there is room. It returns the error of the write,
// or a worse one.
func (s *Spool) undo(g *segment, start int64, cause error) error {
	err := g.file.Truncate(start)
	if end := start; err == nil && start > int64(g.saved) {
		if writeAt(g, s.fill(nil, g, &end), end) == nil {
			s.mu.Lock()
			s.setSize(g, end)
			s.mu.Unlock()
		} else {
			err = g.file.Truncate(start)
		}
	}
	if err != nil {
		return s.fail(err)
	}
	if err := s.syncFile(g); err != nil {
		return err
	}
	return writeError(cause)
}

// roll begins a new segment if there is none or the current one is full.
func (s *Spool) roll(b *batch) error {
	g := s.current
	if g != nil && (b.bytes == 0 || !s.rollNow && g.size+b.bytes <= s.limit && s.takesMore(g)) {
		return nil
	}
	if err := s.sync(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.segments.full(1) || b.grows() && s.segments.full(1+s.segments.spare()) {
		s.mu.Unlock()
		if !b.grows() && s.goesOn(g, b.bytes) {
			return nil
		}
		return errSlots
	}
	number := s.nextSegment
	s.nextSegment++
	list := record.Segments{Next: s.nextMessage.Load()}
	for _, old := range s.segments.list {
		if old != nil {
			list.List = append(list.List, record.Extent{Segment: old.number, Saved: old.saved})
		}
	}
	s.mu.Unlock()
	old := g
	g, err := s.createSegment(number, list)
	if vfs.IsExhausted(err) && s.goesOn(old, b.bytes) {
		return nil // until there is a descriptor for another
	}
	if err != nil {
		return err
	}
	if old != nil {
		old.file.release()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments.add(g) // there is a slot: only who writes the log takes any
	s.logBytes += g.size
	s.current, s.rollNow, s.spoiled = g, false, false
	s.limit = s.segmentLimit()
	s.mergeDue = len(s.crowd()) > 0
	return nil
}

// goesOn reports whether a full segment must take more anyway, because there cannot be
// another.
func (s *Spool) goesOn(g *segment, bytes int64) bool {
	return g != nil && g.size+bytes <= MaxSegmentSize+maxGroup && !s.spoiled
}

// takesMore reports whether the segment has no saved data in the sector that is written
// next. This is so unless a write failed after unsaved records and there was no room to
// fill the sector. If room is short, using the rest of a sector is better than having
// none.
func (s *Spool) takesMore(g *segment) bool {
	return g.size > int64(g.saved) || g.size&(s.sector-1) == 0 || s.short.Load()
}

func (s *Spool) createSegment(number uint64, list record.Segments) (*segment, error) {
	g := newSegment(number)
	var salt [8]byte
	_, _ = rand.Read(salt[:])
	g.salt = binary.LittleEndian.Uint64(salt[:])
	list.List = append(list.List, record.Extent{Segment: number})
	head := record.FileHeader{Kind: record.SegmentFile, Number: number, Salt: g.salt}.Append(nil)
	first := record.Frame{Kind: record.KindSegments, Flags: record.First | record.Last, Head: list.Append(nil)}
	head = first.Append(head, g.salt, record.HeaderSize)
	end := int64(len(head))
	head = s.fill(head, g, &end)

	name := fileName(segmentPrefix, number)
	f, err := s.files.create(name)
	if err != nil {
		return nil, writeError(err)
	}
	_, err = f.WriteAt(head, 0)
	failed := false // and the state of the device is unknown
	if err == nil {
		err = f.Sync()
		if err == nil {
			err = s.fs.SyncDir()
		}
		failed = !vfs.IsFull(err)
	}
	if err != nil {
		s.rollNow, s.spoiled = true, true
		_ = f.Close()
		_ = s.fs.Remove(name)
		if failed {
			err = s.fail(err)
		}
		return nil, writeError(err)
	}
	g.file, g.size, g.saved = f, int64(len(head)), uint32(len(head))
	return g, nil
}
