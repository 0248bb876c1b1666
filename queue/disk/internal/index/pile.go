package index

import "slices"

// pile is a list of ordered numbers, in pages: the first page grows, and the others
// have their full size, so that a long list is never copied. The caller gives the order
// each time; it must not change for the numbers in the pile.
//
// To find, add or remove a number takes as many comparisons as the logarithm of their
// count.
type pile struct {
	pages [][]uint32 // none of them empty
	n     int
}

// pilePage is how many numbers a page has at most.
const pilePage = 1024

func (p *pile) first() Slot { return Slot(p.pages[0][0]) }

// seek returns the page and place of the first number that is not before some point.
// The page is after the last if there is none.
func (p *pile) seek(before func(uint32) bool) (page, at int) {
	lo, hi := 0, len(p.pages)
	for lo < hi {
		mid := (lo + hi) / 2
		if last := p.pages[mid]; before(last[len(last)-1]) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(p.pages) {
		return lo, 0
	}
	list := p.pages[lo]
	a, b := 0, len(list)
	for a < b {
		mid := (a + b) / 2
		if before(list[mid]) {
			a = mid + 1
		} else {
			b = mid
		}
	}
	return lo, a
}

// insert puts a number where it belongs.
func (p *pile) insert(v uint32, less func(a, b uint32) bool) {
	p.n++
	last := len(p.pages) - 1
	if last < 0 {
		p.pages = append(p.pages, []uint32{v})
		return
	}
	if list := p.pages[last]; less(list[len(list)-1], v) {
		if len(list) < pilePage {
			p.pages[last] = append(list, v)
		} else {
			p.pages = append(p.pages, append(make([]uint32, 0, pilePage), v))
		}
		return
	}
	i, at := p.seek(func(o uint32) bool { return less(o, v) })
	if len(p.pages[i]) == pilePage {
		i, at = p.makeRoom(i, at)
	}
	p.pages[i] = slices.Insert(p.pages[i], at, v)
}

// makeRoom lets a full page share with an adjacent one or splits it, and returns where
// the place in it is then.
func (p *pile) makeRoom(i, at int) (page, place int) {
	const worth = pilePage / 8 // what sharing must bring
	if i+1 < len(p.pages) && len(p.pages[i+1]) <= pilePage-2*worth {
		n := (pilePage - len(p.pages[i+1])) / 2
		p.pages[i+1] = slices.Insert(p.pages[i+1], 0, p.pages[i][pilePage-n:]...)
		p.pages[i] = p.pages[i][:pilePage-n]
	} else if i > 0 && len(p.pages[i-1]) <= pilePage-2*worth {
		n := (pilePage - len(p.pages[i-1])) / 2
		p.pages[i-1] = append(p.pages[i-1], p.pages[i][:n]...)
		p.pages[i] = slices.Delete(p.pages[i], 0, n)
		if at < n {
			return i - 1, len(p.pages[i-1]) - n + at
		}
		return i, at - n
	} else {
		half := append(make([]uint32, 0, pilePage), p.pages[i][pilePage/2:]...)
		p.pages[i] = p.pages[i][:pilePage/2]
		p.pages = slices.Insert(p.pages, i+1, half)
	}
	if at > len(p.pages[i]) {
		return i + 1, at - len(p.pages[i])
	}
	return i, at
}

// remove takes a number out.
func (p *pile) remove(v uint32, less func(a, b uint32) bool) {
	i, at := 0, 0
	if p.pages[0][0] != v {
		i, at = p.seek(func(o uint32) bool { return less(o, v) })
	}
	p.n--
	if at == 0 {
		p.pages[i] = p.pages[i][1:]
	} else {
		p.pages[i] = slices.Delete(p.pages[i], at, at+1)
	}
	if n := len(p.pages[i]); n == 0 {
		p.drop(i)
	} else if n < pilePage/4 {
		p.join(i)
	}
}

// drop takes a page out.
func (p *pile) drop(i int) {
	p.pages = slices.Delete(p.pages, i, i+1)
	if len(p.pages) == 0 {
		p.pages = nil
	}
}

// join puts a page of which little is left together with the next or the one
// before.
func (p *pile) join(i int) {
	if i+1 == len(p.pages) {
		i--
	}
	if i < 0 || len(p.pages[i])+len(p.pages[i+1]) > pilePage*3/4 {
		return
	}
	p.pages[i] = append(append(make([]uint32, 0, pilePage), p.pages[i]...), p.pages[i+1]...)
	p.drop(i + 1)
}

// older is the order within a lane: longer due first, then the lower id.
func (x *Index) older(a, b uint32) bool {
	x.steps++
	sa, sb := x.since(Slot(a)), x.since(Slot(b))
	if sa != sb {
		return sa < sb
	}
	return x.message(Slot(a)) < x.message(Slot(b))
}

func (x *Index) push(p *pile, s Slot) { p.insert(uint32(s), x.older) }

func (x *Index) remove(p *pile, s Slot) { p.remove(uint32(s), x.older) }
