package memory

import (
	"cmp"
	"slices"
)

// idList is the ids in the queue in their order, in pieces, so that little is moved when
// one leaves. They come in ascending order.
type idList struct{ pieces [][]string } // no piece is empty

// idsPiece is how many ids one piece has at most.
const idsPiece = 512

func (l *idList) add(id string) {
	last := len(l.pieces) - 1
	if last < 0 || len(l.pieces[last]) == idsPiece {
		l.pieces = append(l.pieces, nil)
		last++
	}
	l.pieces[last] = append(l.pieces[last], id)
}

// find is where the first id stands that is not less than one.
func (l *idList) find(id string) (piece, at int) {
	piece, _ = slices.BinarySearchFunc(l.pieces, id, func(p []string, id string) int { return cmp.Compare(p[len(p)-1], id) })
	if piece < len(l.pieces) {
		at, _ = slices.BinarySearch(l.pieces[piece], id)
	}
	return piece, at
}

// remove takes out an id that is there.
func (l *idList) remove(id string) {
	piece, at := l.find(id)
	p := slices.Delete(l.pieces[piece], at, at+1)
	switch {
	case len(p) == 0:
		l.pieces = slices.Delete(l.pieces, piece, piece+1)
		return
	case len(p) <= cap(p)/4: // if less than a quarter of the piece is used
		p = slices.Clone(p)
	}
	l.pieces[piece] = p
}

// after is the first id that is greater than one, which need not be there.
func (l *idList) after(id string) (next string, ok bool) {
	piece, at := l.find(id)
	if piece < len(l.pieces) && l.pieces[piece][at] == id {
		at++
	}
	if piece < len(l.pieces) && at == len(l.pieces[piece]) {
		piece, at = piece+1, 0
	}
	if piece == len(l.pieces) {
		return "", false
	}
	return l.pieces[piece][at], true
}
