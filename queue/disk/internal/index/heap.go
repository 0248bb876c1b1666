package index

// pile is a binary heap of slots in pages: the first page grows, the others
// are whole, so that a long one is never copied and little is left over.
type pile struct {
	pages [][]uint32
	n     int
}

const pilePage = 1024

func (p *pile) at(i int) Slot { return Slot(p.pages[i/pilePage][i%pilePage]) }

func (p *pile) set(i int, s Slot) { p.pages[i/pilePage][i%pilePage] = uint32(s) }

func (p *pile) grow(s Slot) {
	last := len(p.pages) - 1
	switch {
	case last < 0:
		p.pages = append(p.pages, []uint32{uint32(s)})
	case len(p.pages[last]) == pilePage:
		p.pages = append(p.pages, append(make([]uint32, 0, pilePage), uint32(s)))
	default:
		p.pages[last] = append(p.pages[last], uint32(s))
	}
	p.n++
}

func (p *pile) shrink() {
	p.n--
	last := len(p.pages) - 1
	p.pages[last] = p.pages[last][:len(p.pages[last])-1]
	if len(p.pages[last]) == 0 {
		p.pages[last] = nil
		p.pages = p.pages[:last]
	}
}

// older is the order within a lane: longer due first, then the lower id.
func (x *Index) older(a, b Slot) bool {
	sa, sb := x.since(a), x.since(b)
	if sa != sb {
		return sa < sb
	}
	return x.message(a) < x.message(b)
}

func (x *Index) push(p *pile, s Slot) {
	p.grow(s)
	x.up(p, p.n-1)
}

// remove takes s out. Finding it reads the heap from end to end, four bytes a
// delivery, which only administration and damage ask for; a claim takes the
// first.
func (x *Index) remove(p *pile, s Slot) {
	i := 0
	for p.at(i) != s {
		x.steps++
		i++
	}
	last := p.at(p.n - 1)
	p.shrink()
	if i == p.n {
		return
	}
	p.set(i, last)
	x.up(p, i)
	x.down(p, i)
}

func (x *Index) up(p *pile, i int) {
	s := p.at(i)
	for i > 0 {
		parent := (i - 1) / 2
		if !x.older(s, p.at(parent)) {
			break
		}
		p.set(i, p.at(parent))
		i = parent
	}
	p.set(i, s)
}

func (x *Index) down(p *pile, i int) {
	s := p.at(i)
	for {
		child := 2*i + 1
		if child >= p.n {
			break
		}
		if child+1 < p.n && x.older(p.at(child+1), p.at(child)) {
			child++
		}
		if !x.older(p.at(child), s) {
			break
		}
		p.set(i, p.at(child))
		i = child
	}
	p.set(i, s)
}

// heapify restores the order of the whole.
func (x *Index) heapify(p *pile) {
	for i := p.n/2 - 1; i >= 0; i-- {
		x.down(p, i)
	}
}
