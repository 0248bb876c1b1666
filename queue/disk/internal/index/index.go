package index

import "math"

// Index is the deliveries of one spool.
type Index struct {
	chunks []*chunk // nil where one was given back
	rooms  []room   // parallel to chunks
	roomy  []uint64 // a bit for each chunk with a free slot
	room   int      // chunks before it are not in roomy
	gaps   []int    // where chunks is nil
	empty  int      // a chunk that exists, possibly an empty one
	table  table

	lanes     paged[*lane]
	freeLanes paged[uint32]
	laneOfKey map[laneKey]uint32
	due       map[owners]*dueHeap // by who parks the destination
	parking   parking
	later     laneHeap
	now       int64  // the time of the last claim
	paused    *Claim // the claim in progress; nil if there is none

	destinations     paged[destination]
	freeDestinations paged[uint32]
	names            map[string]uint32
	stale            paged[uint32] // destinations with lanes that may not stand where they belong
	pins             int           // numbers of destinations and tenants must not be given again

	tenants      map[string]uint32
	tenantNames  paged[string]
	tenantLanes  paged[int32] // parallel to tenantNames
	freeTenants  paged[uint32]
	loose        paged[uint32] // destinations to forget when they are not pinned any more
	looseTenants paged[uint32]

	leases   map[Slot]*lease
	byEnd    leaseHeap
	segments []Refs

	ordinals ordinals // of the messages
	wide     map[uint64]*wide
	arriving uint64 // a message that is not complete yet; 0, which is not a message, if all are
	messages int
	bytes    int64
	waits    int   // deliveries in the piles
	flushed  int   // deliveries due by a flush alone
	ends     int64 // room for the ends of all deliveries
	nameRoom int64 // and for the names of destinations in a checkpoint
	steps    int   // taken along chains and piles to find something
	work     int   // entries that were looked at or changed
}

// New returns an empty index.
func New() *Index {
	x := &Index{
		laneOfKey: map[laneKey]uint32{},
		names:     map[string]uint32{},
		tenants:   map[string]uint32{},
		leases:    map[Slot]*lease{},
		wide:      map[uint64]*wide{},
		due:       map[owners]*dueHeap{},
		now:       math.MinInt64,
	}
	x.later.less = earlier
	return x
}

// Entry is what the index knows about a delivery.
type Entry struct {
	Message     uint64
	Destination string
	Tenant      string
	Priority    int
	AtOnce      bool  // due whatever the time
	Since       int64 // since or from when it is due, in microseconds
	Home        uint16
	Record      Place
	Size        uint32
	Flags       Flags
}

// Refs are how many things that are still needed lie in one segment.
type Refs struct {
	Homes        int   // deliveries whose message's record is there
	Records      int   // delivery records
	Destinations int   // destination records
	Bytes        int64 // roughly how much that is
}

// What a record takes in addition to the content, roughly.
const (
	MessageCost  = 300
	DeliveryCost = 250
	SmallCost    = 80
)

// Refs returns the counts of what is still needed in a segment.
func (x *Index) Refs(segment uint16) Refs { return *x.refs(segment) }

func (x *Index) refs(segment uint16) *Refs {
	for int(segment) >= len(x.segments) {
		x.segments = append(x.segments, Refs{})
	}
	return &x.segments[segment]
}

// MessageBytes is what a message with such a content costs in its segment.
func MessageBytes(size uint32, f Flags) int64 {
	if f&InFile != 0 {
		return MessageCost
	}
	return MessageCost + int64(size)
}

// Len is the number of deliveries, Messages of messages, and Bytes the size of
// their contents.
func (x *Index) Len() int { return int(x.table.count) }

// Messages is the number of messages.
func (x *Index) Messages() int { return x.messages }

// EndRoom is how many bytes of the log the ends of all deliveries take, at most.
func (x *Index) EndRoom() int64 { return x.ends }

// endRoom is what the end of a delivery takes in addition to the destination's name.
const endRoom = 96

// NameRoom is about how many bytes of a checkpoint the destinations take.
func (x *Index) NameRoom() int64 { return x.nameRoom }

const nameRoom = 32

// Bytes is the size of all contents.
func (x *Index) Bytes() int64 { return x.bytes }

// Set adds a delivery, or replaces its entry. A lease stays.
func (x *Index) Set(e *Entry) Slot {
	if s, known := x.Find(e.Message, e.Destination); known {
		x.Update(s, e)
		return s
	}
	return x.add(e, !x.Has(e.Message))
}

// Add adds the deliveries of a new message.
func (x *Index) Add(list []Entry) {
	for i := range list {
		x.add(&list[i], i == 0)
	}
}

// add adds a delivery that is not known, the first of its message or another.
func (x *Index) add(e *Entry, first bool) Slot {
	x.work++
	s := x.alloc()
	c, i := x.at(s)
	c.when[i] = uint64(clampSince(e.Since))<<8 | uint64(e.Flags|used)
	c.id[i] = e.Message<<16 | uint64(e.Home)
	c.size[i], c.offset[i], c.record[i] = e.Size, e.Record.Offset, e.Record.Segment
	c.lane[i] = x.laneFor(x.keyOf(e))
	if e.Flags&flushed != 0 {
		x.flushed++
	}
	x.link(s)
	if first {
		x.arrived(e.Message, e.Size)
	}
	if first && !isWide(e.Message) {
		x.tally(s, 1, false)
	} else {
		x.count(s, 1)
	}
	if l := x.lane(c.lane[i]); e.Flags&(Held|arriving) == 0 {
		x.enqueue(l, s)
	}
	return s
}

// arrived is for when a message is there.
func (x *Index) arrived(message uint64, size uint32) {
	x.messages++
	x.ordinals.add(Ordinal(message))
	x.bytes += int64(size)
}

func clampSince(t int64) int64 { return min(max(t, 0), 1<<56-1) }

func (x *Index) keyOf(e *Entry) laneKey {
	return laneKey{x.destinationFor(e.Destination), x.tenantFor(e.Tenant), int8(e.Priority), e.AtOnce}
}

// Update replaces the entry of a delivery. A lease stays.
func (x *Index) Update(s Slot, e *Entry) {
	c, i := x.at(s)
	old := c.lane[i]
	keep := Flags(c.when[i]) & (leased | used | arriving)
	when := uint64(clampSince(e.Since))<<8 | uint64(e.Flags|keep)
	if c.when[i] == when && x.lane(old).key == x.keyOf(e) {
		x.Move(s, e.Home, e.Record) // its place among the others is the same
		return
	}
	x.unqueue(s)
	x.count(s, -1)
	x.noteFlushed(s, false)
	c.when[i] = when
	c.id[i] = e.Message<<16 | uint64(e.Home)
	c.offset[i], c.record[i] = e.Record.Offset, e.Record.Segment
	c.lane[i] = x.laneFor(x.keyOf(e))
	if e.Flags&flushed != 0 {
		x.flushed++
	}
	x.leaveLane(old)
	x.count(s, 1)
	x.queue(s)
}

// Move changes where a delivery's records lie.
func (x *Index) Move(s Slot, home uint16, record Place) {
	x.work++
	x.count(s, -1)
	c, i := x.at(s)
	c.id[i] = c.id[i]&^0xffff | uint64(home)
	c.offset[i], c.record[i] = record.Offset, record.Segment
	x.count(s, 1)
}

// Remove takes a delivery out, its lease too, and reports whether it was the
// last of its message.
func (x *Index) Remove(s Slot) (last bool) {
	x.work++
	x.unqueue(s)
	x.count(s, -1)
	if l := x.leases[s]; l != nil {
		if l.pos >= 0 {
			x.byEnd.remove(l.pos)
		}
		delete(x.leases, s)
	}
	c, i := x.at(s)
	x.noteFlushed(s, false)
	message, size, lane := c.id[i]>>16, c.size[i], c.lane[i]
	d := x.lane(lane).key.destination
	x.unlink(s)
	x.leaveLane(lane)
	x.release(s)
	x.forget(d)
	last = !x.Has(message)
	if last {
		x.messages--
		x.ordinals.remove(Ordinal(message))
		x.bytes -= int64(size)
	}
	if x.table.count == 0 {
		x.chunks, x.rooms, x.roomy, x.room, x.gaps, x.empty = nil, nil, nil, 0, nil, 0
		x.table = table{}
	}
	return last
}

// count adds a delivery to its segments and destination, or takes it off.
func (x *Index) count(s Slot, sign int) {
	c, i := x.at(s)
	message, home := c.id[i]>>16, uint16(c.id[i])
	if isWide(message) {
		x.tally(s, sign, x.widen(message).atHome(home, sign))
		return
	}
	other := x.any(message, func(o Slot, oc *chunk, oi int) bool {
		return o != s && uint16(oc.id[oi]) == home
	})
	x.tally(s, sign, other)
}

// tally is count for who knows whether another delivery of the message has its
// home in the same segment.
func (x *Index) tally(s Slot, sign int, other bool) {
	c, i := x.at(s)
	h := x.refs(uint16(c.id[i]))
	h.Homes += sign
	if !other {
		h.Bytes += int64(sign) * MessageBytes(c.size[i], Flags(c.when[i]))
	}
	r := x.refs(c.record[i])
	r.Records += sign
	r.Bytes += int64(sign) * DeliveryCost
	d := x.dest(x.lane(c.lane[i]).key.destination)
	d.deliveries += sign
	x.ends += int64(sign) * (endRoom + int64(len(d.name)))
	d.bytes += int64(sign) * int64(c.size[i])
	if Flags(c.when[i])&Held != 0 {
		d.held += sign
	}
	if Flags(c.when[i])&leased != 0 {
		d.leased += sign
	}
}

// Get returns the entry of a delivery.
func (x *Index) Get(s Slot) Entry {
	c, i := x.at(s)
	l := x.lane(c.lane[i])
	return Entry{
		Message:     c.id[i] >> 16,
		Destination: x.dest(l.key.destination).name,
		Tenant:      *x.tenantNames.at(int(l.key.tenant)),
		Priority:    int(l.key.priority),
		AtOnce:      l.key.atOnce,
		Since:       int64(c.when[i] >> 8),
		Home:        uint16(c.id[i]),
		Record:      Place{c.record[i], c.offset[i]},
		Size:        c.size[i],
		Flags:       Flags(c.when[i]) &^ (leased | used | flushed | arriving),
	}
}

// Is reports whether a slot is taken by a delivery of the message.
func (x *Index) Is(s Slot, message uint64) bool {
	if n := int(s / chunkLen); n >= len(x.chunks) || x.chunks[n] == nil {
		return false
	}
	c, i := x.at(s)
	return Flags(c.when[i])&used != 0 && c.id[i]>>16 == message
}

// SetFlag changes one of Held and Marked.
func (x *Index) SetFlag(s Slot, f Flags, on bool) {
	x.unqueue(s)
	x.count(s, -1)
	x.setFlag(s, f, on)
	x.count(s, 1)
	x.queue(s)
}
