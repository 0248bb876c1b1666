package keys

import "slices"

// PieceSize is how many entries one piece has at most.
const PieceSize = 512

// pending has the entries that wait to be written, in pieces, so that no entries are
// moved when others come or go.
type pending struct {
	pieces [][]Entry
	first  int // how many of the first piece do not wait any more
	n      int
}

func (p *pending) add(e Entry) {
	last := len(p.pieces) - 1
	if last < 0 || len(p.pieces[last]) == PieceSize {
		p.pieces = append(p.pieces, nil)
		last++
	}
	p.pieces[last] = append(p.pieces[last], e)
	p.n++
}

func (p *pending) at(i int) *Entry {
	i += p.first
	return &p.pieces[i/PieceSize][i%PieceSize]
}

// all is all of them as they are now, whatever comes.
func (p *pending) all() [][]Entry {
	list := slices.Clone(p.pieces)
	if len(list) > 0 {
		list[0] = list[0][p.first:]
	}
	return list
}

// drop takes the first n out.
func (p *pending) drop(n int) {
	if p.n -= n; p.n == 0 {
		*p = pending{}
		return
	}
	p.first += n
	whole := p.first / PieceSize
	clear(p.pieces[:whole])
	p.pieces, p.first = p.pieces[whole:], p.first%PieceSize
}
