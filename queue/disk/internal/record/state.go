package record

import "time"

// Gone is the end of one delivery. It must outlive every older record of the
// delivery, or a reopened spool would deliver it again: it is needed for as
// long as the segment Home is in use.
type Gone struct {
	ID          uint64
	Destination string
	Home        uint64 // the segment of the message's record

	// Key stands for the tenant and key of the message, to be remembered from Left on
	// if that was its last delivery. Both are zero if there is nothing to remember.
	Key  [16]byte
	Left time.Time
}

// Append appends the head.
func (g *Gone) Append(b []byte) []byte {
	e := encoder(b)
	e.uint(g.ID)
	e.string(g.Destination)
	e.uint(g.Home)
	if !g.Left.IsZero() {
		e = append(e, g.Key[:]...)
		e.time(g.Left)
	}
	return e
}

// ParseGone reads a head. It fails with ErrDamaged.
func ParseGone(b []byte) (Gone, error) {
	d := decoder{b: b}
	g := Gone{ID: d.uint(), Destination: d.string(), Home: d.uint()}
	if len(d.b) > 0 {
		copy(g.Key[:], d.take(uint64(len(g.Key))))
		g.Left = d.time()
	}
	return g, d.done()
}

// Destination is the whole state of one destination; a later record replaces
// an earlier one.
type Destination struct {
	Name      string
	Postponed time.Time
	Reason    string
}

// Append appends the head.
func (s *Destination) Append(b []byte) []byte {
	e := encoder(b)
	e.string(s.Name)
	e.time(s.Postponed)
	e.string(s.Reason)
	return e
}

// ParseDestination reads a head. It fails with ErrDamaged.
func ParseDestination(b []byte) (Destination, error) {
	d := decoder{b: b}
	s := Destination{Name: d.string(), Postponed: d.time(), Reason: d.string()}
	return s, d.done()
}

// Segments is the list of the segments in use when a segment was begun, and
// the first number not given to a message by then.
type Segments struct {
	Next uint64
	List []Extent
}

// Extent is a segment and how much of it is known to have been saved whole.
type Extent struct {
	Segment uint64
	Saved   uint32
}

// Append appends the head.
func (s *Segments) Append(b []byte) []byte {
	e := encoder(b)
	e.uint(s.Next)
	e.uint(uint64(len(s.List)))
	for _, x := range s.List {
		e.uint(x.Segment)
		e.uint(uint64(x.Saved))
	}
	return e
}

// ParseSegments reads a head. It fails with ErrDamaged.
func ParseSegments(b []byte) (Segments, error) {
	d := decoder{b: b}
	s := Segments{Next: d.uint()}
	for range d.count(2) {
		s.List = append(s.List, Extent{d.uint(), d.uint32()})
	}
	return s, d.done()
}

// Retired says that a segment is no longer in use, so that a file that comes
// back after a power cut is known to be dead.
type Retired struct{ Segment uint64 }

// Append appends the head.
func (r *Retired) Append(b []byte) []byte {
	e := encoder(b)
	e.uint(r.Segment)
	return e
}

// ParseRetired reads a head. It fails with ErrDamaged.
func ParseRetired(b []byte) (Retired, error) {
	d := decoder{b: b}
	r := Retired{d.uint()}
	return r, d.done()
}

// Flush makes deliveries due at once that were put before it and are not on hold: those
// of a message, of a destination, both, or all.
type Flush struct {
	Since       time.Time
	Message     uint64 // 0 is any
	Destination string // empty is any
}

// Append appends the head.
func (f *Flush) Append(b []byte) []byte {
	e := encoder(b)
	e.time(f.Since)
	e.uint(f.Message)
	e.string(f.Destination)
	return e
}

// ParseFlush reads a head. It fails with ErrDamaged.
func ParseFlush(b []byte) (Flush, error) {
	d := decoder{b: b}
	f := Flush{Since: d.time(), Message: d.uint(), Destination: d.string()}
	return f, d.done()
}
