package index

import "iter"

// Ends is times at which something ends, by message, of which the first is found.
type Ends struct {
	of   map[uint64]*end
	heap endHeap
}

type end struct {
	message uint64
	at      int64
	pos     int
}

// Set records the end for a message, replacing an earlier one.
func (n *Ends) Set(message uint64, at int64) {
	if n.of == nil {
		n.of = map[uint64]*end{}
	}
	e := n.of[message]
	if e == nil {
		e = &end{message: message, pos: n.heap.list.n}
		n.of[message] = e
		n.heap.list.push(e)
	}
	e.at = at
	n.heap.fix(e.pos)
}

// Delete removes the end recorded for a message.
func (n *Ends) Delete(message uint64) {
	if e := n.of[message]; e != nil {
		delete(n.of, message)
		n.heap.remove(e.pos)
	}
}

// Of is when it ends for a message.
func (n *Ends) Of(message uint64) (at int64, ok bool) {
	e := n.of[message]
	if e == nil {
		return 0, false
	}
	return e.at, true
}

// First is the message for which it ends first.
func (n *Ends) First() (message uint64, at int64, ok bool) {
	if n.heap.list.n == 0 {
		return 0, 0, false
	}
	e := n.heap.at(0)
	return e.message, e.at, true
}

// All yields all of them in no order. Those that are added or removed meanwhile may be
// included or not.
func (n *Ends) All() iter.Seq2[uint64, int64] {
	return func(yield func(uint64, int64) bool) {
		for message, e := range n.of {
			if !yield(message, e.at) {
				return
			}
		}
	}
}

// endHeap is ends in the order of their times.
type endHeap struct{ list paged[*end] }

func (h *endHeap) at(i int) *end { return *h.list.at(i) }

func (h *endHeap) remove(i int) {
	last := h.list.n - 1
	h.swap(i, last)
	h.list.pop()
	if i < last {
		h.fix(i)
	}
}

func (h *endHeap) fix(i int) {
	for h.at(i).at < h.at((i-1)/2).at { // the first is not before itself
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	for {
		child := 2*i + 1
		if child >= h.list.n {
			return
		}
		if child+1 < h.list.n && h.at(child+1).at < h.at(child).at {
			child++
		}
		if h.at(child).at >= h.at(i).at {
			return
		}
		h.swap(i, child)
		i = child
	}
}

func (h *endHeap) swap(i, j int) {
	h.list.swap(i, j)
	h.at(i).pos, h.at(j).pos = i, j
}

// Len is for how many messages it is noted.
func (n *Ends) Len() int { return len(n.of) }
