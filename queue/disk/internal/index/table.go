package index

import "math/bits"

// table is a linear hash table of slots by message: it grows by one bucket at
// a time, so that it neither stops for long nor ever needs itself twice.
// The buckets' chains run through the chunks.
//
// The deliveries of a message with very many destinations are spread over
// several buckets by destination. How many is in the message's number, so that
// they can be found without a destination too.
type table struct {
	pages [][]uint32
	n     uint32 // buckets
	round uint32 // the largest power of two not above n
	count uint32 // slots in it
}

const (
	tablePage  = 4096
	tableLoad  = 2 // slots for each bucket
	spreadBits = 4
	spreadMax  = 1<<spreadBits - 1
)

// Number is the number of the message that is the n-th of the spool and has so
// many deliveries. Numbers rise with n.
func Number(n uint64, deliveries int) uint64 {
	spread := min(bits.Len(uint(deliveries)/8), spreadMax)
	return n<<spreadBits | uint64(spread)
}

// Ordinal is the n that Number was given.
func Ordinal(number uint64) uint64 { return number >> spreadBits }

// spread is over how many buckets a message's deliveries are spread.
func spread(message uint64) uint32 { return 1 << (message & spreadMax) }

func (t *table) head(b uint32) *uint32 { return &t.pages[b/tablePage][b%tablePage] }

// bucket is the one of a message's buckets with the given number.
func (t *table) bucket(message uint64, part uint32) uint32 {
	h := hash(message*0x9e3779b97f4a7c15 ^ uint64(part)*0xd1b54a32d192ed03)
	b := h & (2*t.round - 1)
	if b >= t.n {
		b = h & (t.round - 1)
	}
	return b
}

// hash spreads its argument over all bits, of which a bucket takes the lowest.
func hash(v uint64) uint32 {
	v = (v ^ v>>32) * 0x94d049bb133111eb
	return uint32(v >> 32)
}

func part(message uint64, destination uint32) uint32 {
	return (destination * 0x9e3779b1) >> 16 & (spread(message) - 1)
}

func (x *Index) bucketOf(c *chunk, i int) uint32 {
	message := c.id[i] >> 16
	return x.table.bucket(message, part(message, x.lane(c.lane[i]).key.destination))
}

// addBucket makes an empty bucket.
func (t *table) addBucket() {
	if t.n%tablePage == 0 {
		t.pages = append(t.pages, make([]uint32, tablePage))
	}
	*t.head(t.n) = none
	t.n++
	if t.n >= 2*t.round {
		t.round = max(1, 2*t.round)
	}
}

func (x *Index) link(s Slot) {
	t := &x.table
	if t.n == 0 {
		t.addBucket()
	}
	if t.count >= t.n*tableLoad {
		x.split()
	}
	c, i := x.at(s)
	message := c.id[i] >> 16
	p := part(message, x.lane(c.lane[i]).key.destination)
	h := t.head(t.bucket(message, p))
	c.next[i] = *h
	*h = uint32(s)
	t.count++
	x.linked(message, p)
}

// split adds a bucket and moves to it what belongs there.
func (x *Index) split() {
	t := &x.table
	from := t.n - t.round
	rest := *t.head(from)
	t.addBucket()
	*t.head(from) = none
	for rest != none {
		c, i := x.at(Slot(rest))
		s := rest
		rest = c.next[i]
		h := t.head(x.bucketOf(c, i))
		c.next[i] = *h
		*h = s
	}
}

func (x *Index) unlink(s Slot) {
	t := &x.table
	c, i := x.at(s)
	message := c.id[i] >> 16
	in := part(message, x.lane(c.lane[i]).key.destination)
	p := t.head(t.bucket(message, in))
	for *p != uint32(s) {
		x.steps++
		c, i := x.at(Slot(*p))
		p = &c.next[i]
	}
	*p = c.next[i]
	t.count--
	x.unlinked(message, in)
	for range 4 { // faster than it empties
		if t.count < t.n*tableLoad/4 && t.n > tablePage {
			x.merge()
		}
	}
}

// merge undoes the last split.
func (x *Index) merge() {
	t := &x.table
	t.n--
	rest := *t.head(t.n)
	if t.n%tablePage == 0 {
		t.pages[len(t.pages)-1] = nil
		t.pages = t.pages[:len(t.pages)-1]
	}
	if t.n < t.round {
		t.round /= 2
	}
	for rest != none {
		s := rest
		c, i := x.at(Slot(s))
		rest = c.next[i]
		h := t.head(x.bucketOf(c, i))
		c.next[i] = *h
		*h = s
	}
}

// chain calls f with the deliveries of a message in one bucket until it says
// to stop, and reports whether it did.
func (x *Index) chain(message uint64, part uint32, f func(s Slot, c *chunk, i int) bool) bool {
	x.steps++
	for s := *x.table.head(x.table.bucket(message, part)); s != none; {
		x.steps++
		c, i := x.at(Slot(s))
		if c.id[i]>>16 == message && f(Slot(s), c, i) {
			return true
		}
		s = c.next[i]
	}
	return false
}

// any reports whether f says yes to a delivery of the message. Two parts may
// share a bucket, so that f may see a delivery more than once.
func (x *Index) any(message uint64, f func(s Slot, c *chunk, i int) bool) bool {
	for p, ok := x.nextPart(message, 0); ok; p, ok = x.nextPart(message, p+1) {
		if x.chain(message, p, f) {
			return true
		}
	}
	return false
}

// Slots appends deliveries of a message, those in the parts from one on that it is
// spread over, until it has looked at about so many, and returns where to go on; 0 is
// the end. Each delivery that is there all the time is found once, whatever happens to
// the others in between. The deliveries of a message that is not there yet as a whole
// are not found.
func (x *Index) Slots(list []Slot, message uint64, from uint32, most int) (_ []Slot, next uint32) {
	if x.hides(message) {
		return list, 0
	}
	p, ok := x.nextPart(message, from)
	for ; ok && most > 0; p, ok = x.nextPart(message, p+1) {
		before := len(list)
		list = x.slotsIn(list, message, p)
		most -= 1 + len(list) - before
	}
	if !ok {
		p = 0
	}
	return list, p
}

// slotsIn appends the deliveries of a message in one of the parts it is spread over.
func (x *Index) slotsIn(list []Slot, message uint64, p uint32) []Slot {
	x.chain(message, p, func(s Slot, c *chunk, i int) bool {
		if part(message, x.lane(c.lane[i]).key.destination) == p {
			list = append(list, s)
		}
		x.work++
		return false
	})
	x.work++
	return list
}

// Has reports whether the message has a delivery.
func (x *Index) Has(message uint64) bool {
	if x.hides(message) {
		return false
	}
	return x.any(message, func(Slot, *chunk, int) bool { return true })
}

// Some returns one delivery of the message, a leased one if there is one among the
// first few.
func (x *Index) Some(message uint64) (found Slot, ok bool) {
	if x.hides(message) {
		return 0, false
	}
	seen := 0
	x.any(message, func(s Slot, c *chunk, i int) bool {
		held := Flags(c.when[i])&leased != 0
		if !ok || held {
			found, ok = s, true
		}
		seen++
		return held || seen == 8
	})
	return found, ok
}

// Size is the size of a delivery's content.
func (x *Index) Size(s Slot) uint32 {
	c, i := x.at(s)
	return c.size[i]
}

// Find returns the delivery of a message at a destination.
func (x *Index) Find(message uint64, destination string) (found Slot, ok bool) {
	d, known := x.names[destination]
	if !known || x.table.n == 0 {
		return 0, false
	}
	ok = x.chain(message, part(message, d), func(s Slot, c *chunk, i int) bool {
		found = s
		return x.lane(c.lane[i]).key.destination == d
	})
	return found, ok
}
