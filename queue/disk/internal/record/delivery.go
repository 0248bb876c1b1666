package record

import (
	"encoding/binary"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Place is where a frame begins.
type Place struct {
	Segment uint64
	Offset  uint32
}

// Before reports whether a place comes earlier in the log than another.
func (p Place) Before(other Place) bool {
	return p.Segment < other.Segment || p.Segment == other.Segment && p.Offset < other.Offset
}

// Delivery is the whole state of one delivery; a later record replaces an
// earlier one.
type Delivery struct {
	ID          uint64 // of the message
	Destination string
	Home        Place // of the message's record
	Due         time.Time
	AtOnce      bool   // due whatever the time; Due is since when
	Tenant      string // these are the message's
	Priority    int
	Size        uint32
	InFile      bool
	AtMostOnce  bool

	Held   bool // the message is on hold
	Warned bool // the sender was told about the delay
	Marked bool // a delivery with AtMostOnce is about to be sent

	Hold    queue.Terms // where Held
	Because string      // the reason of the last settlement

	Recipients []Recipient
}

// Recipient is one pending recipient and what happened to it so far.
type Recipient struct {
	queue.Recipient
	queue.State
}

const (
	deliveryAtMostOnce = 1 << iota
	deliveryHeld
	deliveryWarned
	deliveryMarked
	deliveryAtOnce
	deliveryInFile
	deliveryTerms   // the terms of a hold follow
	deliveryBecause // a reason follows
)

// placeSize is the length of a Place, which begins the head of a Delivery at a
// fixed length, so that it can be filled in when the frames' places are known.
const placeSize = 12

// SetHome fills in the place of the message's record in the head of a Delivery.
func SetHome(head []byte, home Place) {
	binary.LittleEndian.PutUint64(head, home.Segment)
	binary.LittleEndian.PutUint32(head[8:], home.Offset)
}

// Append appends the head.
func (d *Delivery) Append(b []byte) []byte {
	start := len(b)
	e := encoder(append(b, make([]byte, placeSize)...))
	SetHome(e[start:], d.Home)
	e.uint(d.ID)
	e.string(d.Destination)
	e.time(d.Due)
	e.string(d.Tenant)
	e.int(int64(d.Priority))
	e.uint(uint64(d.Size))
	flags := uint64(0)
	terms := d.Held && d.Hold != (queue.Terms{})
	for i, on := range []bool{
		d.AtMostOnce, d.Held, d.Warned, d.Marked, d.AtOnce, d.InFile, terms, d.Because != "",
	} {
		if on {
			flags |= 1 << i
		}
	}
	e.uint(flags)
	if terms {
		e.terms(&d.Hold)
	}
	if d.Because != "" {
		e.string(d.Because)
	}
	e.uint(uint64(len(d.Recipients)))
	for i := range d.Recipients {
		d.Recipients[i].append(&e)
	}
	return e
}

func (r *Recipient) append(e *encoder) {
	e.string(r.Address)
	e.uint(uint64(r.Notify))
	e.string(r.OriginalType)
	e.string(r.Original)
	e.uint(uint64(r.Index))
	e.uint(uint64(r.Attempts))
	if r.Attempts == 0 {
		return
	}
	e.uint(uint64(r.Outcome))
	e.reply(&r.Reply)
	e.time(r.Tried)
}

// ParseDelivery reads a head. It fails with ErrDamaged.
func ParseDelivery(b []byte) (Delivery, error) {
	p, d := parseDelivery(b)
	if n := d.count(6); n > 0 {
		p.Recipients = make([]Recipient, n)
		for i := range p.Recipients {
			p.Recipients[i].parse(&d)
		}
	}
	return p, d.done()
}

// ParseDeliveryState reads a head without its recipients. It fails with
// ErrDamaged.
func ParseDeliveryState(b []byte) (Delivery, error) {
	p, d := parseDelivery(b)
	return p, d.err
}

func parseDelivery(b []byte) (Delivery, decoder) {
	var p Delivery
	d := decoder{b: b}
	p.Home = d.place()
	p.ID = d.uint()
	p.Destination = d.string()
	p.Due = d.time()
	p.Tenant = d.string()
	p.Priority = int(d.int())
	p.Size = d.uint32()
	flags := d.uint()
	p.AtMostOnce = flags&deliveryAtMostOnce != 0
	p.Held = flags&deliveryHeld != 0
	p.Warned = flags&deliveryWarned != 0
	p.Marked = flags&deliveryMarked != 0
	p.AtOnce = flags&deliveryAtOnce != 0
	p.InFile = flags&deliveryInFile != 0
	if flags&deliveryTerms != 0 {
		if p.Hold = d.terms(); !p.Held {
			d.fail()
		}
	}
	if flags&deliveryBecause != 0 {
		p.Because = d.string()
	}
	return p, d
}

func (r *Recipient) parse(d *decoder) {
	r.Address = d.string()
	r.Notify = queue.Notify(d.uint())
	r.OriginalType, r.Original = d.string(), d.string()
	r.Index = int(d.uint32())
	r.Attempts = int(d.uint32())
	if r.Attempts == 0 {
		return
	}
	r.Outcome = queue.Outcome(d.uint())
	r.Reply = d.reply()
	r.Tried = d.time()
}
