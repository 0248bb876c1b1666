package index

// paged is a slice in pages, so that it is never copied as a whole when it grows. The
// zero value is empty.
type paged[T any] struct {
	pages [][]T // all but the last are full
	n     int
}

// pageLen is how many elements a page has.
const pageLen = 512

func (p *paged[T]) at(i int) *T { return &p.pages[i/pageLen][i%pageLen] }

func (p *paged[T]) push(v T) {
	if p.n%pageLen == 0 {
		var page []T
		if p.n > 0 { // more will follow; a short list takes only what it needs
			page = make([]T, 0, pageLen)
		}
		p.pages = append(p.pages, page)
	}
	last := len(p.pages) - 1
	p.pages[last] = append(p.pages[last], v)
	p.n++
}

// pop takes the last one out.
func (p *paged[T]) pop() T {
	var zero T
	last := len(p.pages) - 1
	page := p.pages[last]
	v := page[len(page)-1]
	page[len(page)-1] = zero
	p.pages[last] = page[:len(page)-1]
	if p.n--; p.n%pageLen == 0 {
		p.pages[last] = nil
		p.pages = p.pages[:last]
	}
	return v
}

func (p *paged[T]) swap(i, j int) {
	a, b := p.at(i), p.at(j)
	*a, *b = *b, *a
}
