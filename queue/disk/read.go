package disk

import (
	"errors"
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// handle is a record that was read, in a segment that is pinned.
type handle struct {
	segment *segment
	off     uint32
	header  record.FrameHeader
	head    []byte
	rest    []byte // of the file, from the end of the head, as far as it was read
	buf     []byte // both were read into
}

// How much to read at once if the length is not known: a delivery and its message's
// envelope, and what both take in addition to the content.
const (
	readAhead    = 1024
	envelopeSize = 512
)

// readAt reads a record. It leaves the segment, which is pinned, to the caller,
// and unpins it where it fails.
func (s *Spool) readAt(g *segment, off uint32, buf []byte) (h handle, err error) {
	h = handle{segment: g, off: off, buf: buf}
	if g.file == nil {
		err = fmt.Errorf("segment %d is missing: %w", g.number, record.ErrDamaged)
	} else {
		h.header, h.head, h.rest, err = record.ReadHeadInto(buf, g.file, g.salt, int64(off))
	}
	if err != nil {
		s.unpin(g)
		return handle{}, readError(err)
	}
	return h, nil
}

// readDelivery reads the record of a delivery, and brings it up to date with
// what the index knows better. The error is queue.ErrNotFound where the slot is
// not that message's any more. The caller unpins the handle's segment.
func (s *Spool) readDelivery(slot index.Slot, number uint64) (record.Delivery, handle, error) {
	for {
		s.mu.Lock()
		if !s.index.Is(slot, number) {
			s.mu.Unlock()
			return record.Delivery{}, handle{}, queue.ErrNotFound
		}
		e := s.index.Get(slot)
		if s.inPieces(e.Record) {
			s.mu.Unlock()
			if err := s.save(); err != nil {
				return record.Delivery{}, handle{}, err
			}
			continue
		}
		mends := s.mends
		g := s.segments.list[e.Record.Segment]
		s.pin(g)
		s.mu.Unlock()
		d, h, err := s.readEntry(g, &e, number)
		if errors.Is(err, queue.ErrDamaged) {
			s.mu.Lock()
			again := s.mends != mends
			s.mu.Unlock()
			if again { // it was written once more meanwhile
				continue
			}
		}
		return d, h, err
	}
}

// readEntry is readDelivery in a segment that is pinned.
func (s *Spool) readEntry(g *segment, e *index.Entry, number uint64) (record.Delivery, handle, error) {
	h, err := s.readAt(g, e.Record.Offset, s.heads.get(readAhead))
	if err != nil {
		return record.Delivery{}, handle{}, err
	}
	d, err := record.ParseDelivery(h.head)
	if err == nil && (h.header.Kind != record.KindDelivery || d.ID != number || d.Destination != e.Destination) {
		err = fmt.Errorf("record of another delivery: %w", record.ErrDamaged)
	}
	if err != nil {
		s.unpin(g)
		return record.Delivery{}, handle{}, readError(err)
	}
	amend(&d, e)
	return d, h, nil
}

// amend takes from the index what may have changed since the record.
func amend(d *record.Delivery, e *index.Entry) {
	d.AtOnce = e.AtOnce
	if index.Micros(d.Due) != e.Since {
		d.Due = time.UnixMicro(e.Since).UTC()
	}
	d.Held = e.Flags&index.Held != 0
	d.Marked = e.Flags&index.Marked != 0
}

// readMessage reads the record of a delivery's message. The caller unpins the
// handle's segment.
func (s *Spool) readMessage(home record.Place, number uint64, buf []byte) (record.Message, handle, error) {
	s.mu.Lock()
	g := s.pinHome(home)
	s.mu.Unlock()
	return s.readPinned(g, home, number, buf)
}

// pinHome pins the segment of a message's record, nil where that is missing.
// The lock is held.
func (s *Spool) pinHome(home record.Place) *segment {
	g := s.segments.byNumber[home.Segment]
	if g != nil {
		s.pin(g)
	}
	return g
}

func (s *Spool) readPinned(
	g *segment, home record.Place, number uint64, buf []byte,
) (record.Message, handle, error) {
	if g == nil {
		return record.Message{}, handle{}, fmt.Errorf("%w: segment %d is missing", queue.ErrDamaged, home.Segment)
	}
	h, err := s.readAt(g, home.Offset, buf)
	if err != nil {
		return record.Message{}, handle{}, err
	}
	m, err := parseMessage(h.header, h.head, number)
	if err != nil {
		s.unpin(g)
		return record.Message{}, handle{}, readError(err)
	}
	return m, h, nil
}

func parseMessage(h record.FrameHeader, head []byte, number uint64) (record.Message, error) {
	m, err := record.ParseMessage(head)
	if err == nil && (h.Kind != record.KindMessage || m.ID != number) {
		err = fmt.Errorf("record of another message: %w", record.ErrDamaged)
	}
	return m, err
}

// readBoth reads a delivery and its message, in one piece where they lie
// together.
func (s *Spool) readBoth(slot index.Slot, number uint64) (record.Delivery, record.Message, error) {
	for try := 0; ; try++ {
		d, h, err := s.readDelivery(slot, number)
		if err != nil {
			return d, record.Message{}, err
		}
		m, ok := neighbour(&d, &h)
		s.unpin(h.segment)
		s.heads.put(h.buf) // nothing that was parsed refers to it
		if ok {
			return d, m, nil
		}
		m, h, err = s.readMessage(d.Home, number, make([]byte, envelopeSize))
		if err == nil {
			s.unpin(h.segment)
			return d, m, nil
		}
		if !s.movedFrom(slot, number, d.Home) || try > 10 {
			return d, m, err
		}
	}
}

// movedFrom reports whether the message's record was moved meanwhile.
func (s *Spool) movedFrom(slot index.Slot, number uint64, home record.Place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.index.Is(slot, number) {
		return true
	}
	return s.segments.list[s.index.Get(slot).Home].number != home.Segment
}

// neighbour is the message's record where it follows the delivery's and was
// read with it.
func neighbour(d *record.Delivery, h *handle) (record.Message, bool) {
	if d.Home.Segment != h.segment.number || int64(d.Home.Offset) != int64(h.off)+h.header.Len() {
		return record.Message{}, false
	}
	skip := int(h.header.Len()) - record.FrameSize - len(h.head)
	if len(h.rest) < skip+record.FrameSize {
		return record.Message{}, false
	}
	b := h.rest[skip:]
	mh, ok := record.ParseFrameHeader(b, h.segment.salt, int64(d.Home.Offset))
	end := record.FrameSize + mh.HeadLen
	if !ok || len(b) < end || record.Sum(b[record.FrameSize:end]) != mh.HeadSum {
		return record.Message{}, false
	}
	m, err := parseMessage(mh, b[record.FrameSize:end], d.ID)
	return m, err == nil
}

// openMessage reads the record of a message, with the body where that is asked
// for and in it. The caller unpins the handle's segment.
func (s *Spool) openMessage(number uint64, body bool) (handle, record.Message, error) {
	for try := 0; ; try++ {
		s.mu.Lock()
		slot, home, size, known := s.homeOf(number)
		g := s.pinHome(home)
		s.mu.Unlock()
		if !known {
			return handle{}, record.Message{}, queue.ErrNotFound
		}
		if home.Segment == 0 {
			d, h, err := s.readDelivery(slot, number)
			if err != nil {
				return handle{}, record.Message{}, err
			}
			s.unpin(h.segment)
			home = d.Home
			s.mu.Lock()
			g = s.pinHome(home)
			s.mu.Unlock()
		}
		if !body {
			size = 0
		}
		m, h, err := s.readPinned(g, home, number, s.buffers.get(envelopeSize+size))
		if err == nil {
			return h, m, nil
		}
		if !s.movedFrom(slot, number, home) || try > 10 {
			return handle{}, record.Message{}, err
		}
	}
}

// homeOf returns one delivery of the message, however many it has, the place of
// the message's record where that delivery's lease knows it, and the size of the content in it. The lock is held.
func (s *Spool) homeOf(number uint64) (index.Slot, record.Place, int, bool) {
	slot, known := s.index.Some(number)
	if !known {
		return 0, record.Place{}, 0, false
	}
	size := 0
	if e := s.index.Get(slot); e.Flags&index.InFile == 0 {
		size = int(e.Size)
	}
	if l := s.leased(slot); l != nil {
		return slot, l.record.Home, size, true
	}
	return slot, record.Place{}, size, true
}
