package record

import (
	"encoding/binary"
	"time"
)

// Table is one piece of a checkpoint. A checkpoint is as many as it takes, each
// with any of the lists, and ends with one that is Last.
type Table struct {
	Rows         []Row
	Segments     []SegmentState
	Slots        []SlotName
	Destinations []DestinationState
	Tenants      []TenantName
	Keys         []KeyOwner
	Holds        []HoldEnd

	// From is where in the log to go on reading; the records before it are in
	// the checkpoint. It stands in the first piece, with the first number that
	// was not given to a message.
	From Place
	Next uint64

	Last bool
	Sum  uint64 // in the last piece: how many rows there were
}

// Row is a delivery.
type Row struct {
	Message             uint64
	Since               uint64 // microseconds
	Destination, Tenant uint32 // numbers
	Offset, Size        uint32
	Home, Record        uint16 // slots of segments
	Priority            int8
	Flags               uint8
}

const rowSize = 38

// SegmentState is the state of a segment at the place From.
type SegmentState struct {
	Number uint64
	Cost   int64
	Gone   map[uint64]int
	From   []uint64
}

// SlotName says which segment the rows mean by a slot.
type SlotName struct {
	Slot   uint16
	Number uint64
}

// DestinationState is the state of a destination. Record says where its postponement is
// recorded, if it has one.
type DestinationState struct {
	Number uint32
	Name   string
	Until  time.Time
	Reason string
	Slot   uint16
	Offset uint32
	Oldest uint64 // the first segment that may have a record; 0 if there is none
}

// TenantName is the name of a tenant.
type TenantName struct {
	Number uint32
	Name   string
}

// KeyOwner is the message that has a key.
type KeyOwner struct {
	Hash    [16]byte
	Message uint64
}

// HoldEnd is a message on hold until a time, in microseconds.
type HoldEnd struct {
	Message uint64
	Until   int64
}

const (
	tableLast  = 1 << iota
	tableHolds // the list of holds follows
)

// Append appends the head.
func (t *Table) Append(b []byte) []byte {
	e := encoder(b)
	e.uint(t.From.Segment)
	e.uint(uint64(t.From.Offset))
	e.uint(t.Next)
	flags := uint64(0)
	if t.Last {
		flags |= tableLast
	}
	if len(t.Holds) > 0 {
		flags |= tableHolds
	}
	e.uint(flags)
	e.uint(t.Sum)
	e.uint(uint64(len(t.Segments)))
	for i := range t.Segments {
		t.Segments[i].append(&e)
	}
	e.uint(uint64(len(t.Slots)))
	for _, s := range t.Slots {
		e.uint(uint64(s.Slot))
		e.uint(s.Number)
	}
	e.uint(uint64(len(t.Destinations)))
	for _, d := range t.Destinations {
		e.uint(uint64(d.Number))
		e.string(d.Name)
		e.time(d.Until)
		e.string(d.Reason)
		e.uint(uint64(d.Slot))
		e.uint(uint64(d.Offset))
		e.uint(d.Oldest)
	}
	e.uint(uint64(len(t.Tenants)))
	for _, n := range t.Tenants {
		e.uint(uint64(n.Number))
		e.string(n.Name)
	}
	e.uint(uint64(len(t.Keys)))
	for _, k := range t.Keys {
		e = append(e, k.Hash[:]...)
		e.uint(k.Message)
	}
	e.uint(uint64(len(t.Rows)))
	for i := range t.Rows {
		e = t.Rows[i].append(e)
	}
	if len(t.Holds) == 0 {
		return e
	}
	e.uint(uint64(len(t.Holds)))
	for _, h := range t.Holds {
		e.uint(h.Message)
		e.int(h.Until)
	}
	return e
}

func (s *SegmentState) append(e *encoder) {
	e.uint(s.Number)
	e.int(s.Cost)
	e.uint(uint64(len(s.Gone)))
	for number, n := range s.Gone {
		e.uint(number)
		e.uint(uint64(n))
	}
	e.uint(uint64(len(s.From)))
	for _, n := range s.From {
		e.uint(n)
	}
}

func (r *Row) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, r.Message)
	b = binary.LittleEndian.AppendUint64(b, r.Since)
	b = binary.LittleEndian.AppendUint32(b, r.Destination)
	b = binary.LittleEndian.AppendUint32(b, r.Tenant)
	b = binary.LittleEndian.AppendUint32(b, r.Offset)
	b = binary.LittleEndian.AppendUint32(b, r.Size)
	b = binary.LittleEndian.AppendUint16(b, r.Home)
	b = binary.LittleEndian.AppendUint16(b, r.Record)
	return append(b, byte(r.Priority), r.Flags)
}

// ParseTable reads a head. It fails with ErrDamaged.
func ParseTable(b []byte) (*Table, error) {
	d := decoder{b: b}
	t := &Table{From: Place{d.uint(), d.uint32()}, Next: d.uint()}
	flags := d.uint()
	t.Last, t.Sum = flags&tableLast != 0, d.uint()
	for range d.count(4) {
		t.Segments = append(t.Segments, parseSegmentState(&d))
	}
	for range d.count(2) {
		t.Slots = append(t.Slots, SlotName{d.uint16(), d.uint()})
	}
	for range d.count(8) {
		t.Destinations = append(t.Destinations, DestinationState{
			Number: d.uint32(), Name: d.string(), Until: d.time(), Reason: d.string(), Slot: d.uint16(), Offset: d.uint32(), Oldest: d.uint()})
	}
	for range d.count(2) {
		t.Tenants = append(t.Tenants, TenantName{d.uint32(), d.string()})
	}
	for range d.count(17) {
		var k KeyOwner
		copy(k.Hash[:], d.take(16))
		k.Message = d.uint()
		t.Keys = append(t.Keys, k)
	}
	if n := d.count(rowSize); n > 0 {
		t.Rows = make([]Row, n)
		for i := range t.Rows {
			t.Rows[i].parse(d.take(rowSize))
		}
	}
	if flags&tableHolds != 0 {
		for range d.count(2) {
			t.Holds = append(t.Holds, HoldEnd{d.uint(), d.int()})
		}
	}
	return t, d.done()
}

func parseSegmentState(d *decoder) SegmentState {
	s := SegmentState{Number: d.uint(), Cost: d.int(), Gone: map[uint64]int{}}
	for range d.count(2) {
		number := d.uint()
		s.Gone[number] = int(d.uint32())
	}
	for range d.count(1) {
		s.From = append(s.From, d.uint())
	}
	return s
}

func (r *Row) parse(b []byte) {
	*r = Row{
		Message:     binary.LittleEndian.Uint64(b),
		Since:       binary.LittleEndian.Uint64(b[8:]),
		Destination: binary.LittleEndian.Uint32(b[16:]),
		Tenant:      binary.LittleEndian.Uint32(b[20:]),
		Offset:      binary.LittleEndian.Uint32(b[24:]),
		Size:        binary.LittleEndian.Uint32(b[28:]),
		Home:        binary.LittleEndian.Uint16(b[32:]),
		Record:      binary.LittleEndian.Uint16(b[34:]),
		Priority:    int8(b[36]),
		Flags:       b[37],
	}
}
