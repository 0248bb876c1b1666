package record

import (
	"encoding/binary"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Outcomes are the final outcomes of some recipients of a message, settled together.
type Outcomes struct {
	At   Place     // of the record in the log; zero in the log itself
	Time time.Time // of the settlement
	ID   uint64    // of the message

	Tenant, Key string
	List        []Outcome
}

// Outcome is that of one recipient.
type Outcome struct {
	Address  string
	Index    int
	Attempts int
	Outcome  queue.Outcome
	Reply    queue.Reply
}

// SetAt fills in the place in the head of Outcomes.
func SetAt(head []byte, at Place) { SetHome(head, at) }

// Append appends the head.
func (o *Outcomes) Append(b []byte) []byte {
	start := len(b)
	e := encoder(append(b, make([]byte, placeSize)...))
	SetAt(e[start:], o.At)
	e.time(o.Time)
	e.uint(o.ID)
	e.string(o.Tenant)
	e.string(o.Key)
	e.uint(uint64(len(o.List)))
	for i := range o.List {
		o.List[i].append(&e)
	}
	return e
}

func (o *Outcome) append(e *encoder) {
	e.string(o.Address)
	e.uint(uint64(o.Index))
	e.uint(uint64(o.Attempts))
	e.uint(uint64(o.Outcome))
	e.reply(&o.Reply)
}

// ParseOutcomes reads a head. It fails with ErrDamaged.
func ParseOutcomes(b []byte) (Outcomes, error) {
	o, d, n := parseOutcomes(b)
	if n > 0 {
		o.List = make([]Outcome, n)
		for i := range o.List {
			o.List[i].parse(&d)
		}
	}
	return o, d.done()
}

// ParseOutcomesState reads a head without its list, and returns the length of that. It
// fails with ErrDamaged.
func ParseOutcomesState(b []byte) (Outcomes, int, error) {
	o, d, n := parseOutcomes(b)
	return o, n, d.err
}

func parseOutcomes(b []byte) (Outcomes, decoder, int) {
	var o Outcomes
	d := decoder{b: b}
	o.At = d.place()
	o.Time = d.time()
	o.ID = d.uint()
	o.Tenant, o.Key = d.string(), d.string()
	n := d.count(9)
	return o, d, n
}

func (o *Outcome) parse(d *decoder) {
	o.Address = d.string()
	o.Index = int(d.uint32())
	o.Attempts = int(d.uint32())
	o.Outcome = queue.Outcome(d.uint())
	o.Reply = d.reply()
}

// Before is what a file of outcomes begins with: the place of the last record before it,
// and how many outcomes that has. Both are zero if there is none.
type Before struct {
	At    Place
	Count int
}

// Append appends the head.
func (p Before) Append(b []byte) []byte {
	start := len(b)
	e := encoder(append(b, make([]byte, placeSize)...))
	SetAt(e[start:], p.At)
	e.uint(uint64(p.Count))
	return e
}

// ParseBefore reads a head. It fails with ErrDamaged.
func ParseBefore(b []byte) (Before, error) {
	d := decoder{b: b}
	p := Before{At: d.place()}
	p.Count = int(d.uint32())
	return p, d.done()
}

func (d *decoder) place() Place {
	b := d.take(placeSize)
	if d.err != nil {
		return Place{}
	}
	return Place{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])}
}

func (e *encoder) reply(r *queue.Reply) {
	e.string(r.Host)
	e.string(r.Addr)
	e.int(int64(r.Code))
	e.string(r.Enhanced)
	e.string(r.Text)
}

func (d *decoder) reply() queue.Reply {
	var r queue.Reply
	r.Host, r.Addr = d.string(), d.string()
	r.Code = int(d.int())
	r.Enhanced, r.Text = d.string(), d.string()
	return r
}
