package record

import (
	"io"
	"slices"
)

// Groups reads the groups of a file in order. Everything that goes through a
// segment does so by it, so that all of them see the groups that recovery saw.
type Groups struct {
	scan  *Scanner
	list  []Located
	whole bool
	ahead bool // the scanner is at a frame that belongs to the next group
	next  int64
}

// Located is a frame with its place. Its Body is nil.
type Located struct {
	Frame
	From, To int64
}

// NewGroups returns a reader of the groups of r, which is size bytes long, from off on,
// where a group must begin.
func NewGroups(r io.ReaderAt, size int64, salt uint64, off int64) *Groups {
	return &Groups{scan: NewScanner(r, size, salt, off)}
}

// Next goes to the next group, or to the remains of one, and reports whether there is
// any.
func (g *Groups) Next() bool {
	g.list, g.whole = g.list[:0], false
	for {
		if !g.ahead && !g.scan.Next() {
			return len(g.list) > 0
		}
		f := Located{*g.scan.Frame(), g.scan.Offset(), g.scan.End()}
		first, last := f.Flags&First != 0, f.Flags&Last != 0
		g.ahead = len(g.list) > 0 && (first || f.From != g.next)
		if g.ahead {
			return true
		}
		if !last { // the scanner goes on before the group is used
			f.Head = slices.Clone(f.Head)
		}
		g.list, g.next = append(g.list, f), f.To
		if len(g.list) == 1 && !first {
			return true // its beginning is missing
		}
		if last {
			g.whole = true
			return true
		}
	}
}

// Frames are the group's. They are valid until the next call of Next.
func (g *Groups) Frames() []Located { return g.list }

// Whole reports whether the group is complete. The remains of an incomplete one must
// not count.
func (g *Groups) Whole() bool { return g.whole }

// From is where the group begins.
func (g *Groups) From() int64 { return g.list[0].From }

// To is where the group ends.
func (g *Groups) To() int64 { return g.list[len(g.list)-1].To }

// Gaps are the ranges stepped over so far.
func (g *Groups) Gaps() []Gap { return g.scan.Gaps() }

// Err is what reading failed with, if it did.
func (g *Groups) Err() error { return g.scan.Err() }
