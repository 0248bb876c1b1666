package sched

// heap is a priority queue whose elements know their places, so that one can be
// moved or taken out when what it is ordered by changes.
type heap[T any] struct {
	list []T
	less func(a, b T) bool
	at   func(T) *int // the place of an element in list, or absent
}

// absent is the place of an element that is in no heap.
const absent = -1

func (h *heap[T]) first() (t T, ok bool) {
	if len(h.list) == 0 {
		return t, false
	}
	return h.list[0], true
}

func (h *heap[T]) add(t T) {
	*h.at(t) = len(h.list)
	h.list = append(h.list, t)
	h.up(len(h.list) - 1)
}

func (h *heap[T]) remove(t T) {
	i, last := *h.at(t), len(h.list)-1
	h.swap(i, last)
	var none T
	h.list[last] = none
	h.list = h.list[:last]
	*h.at(t) = absent
	if i < last {
		h.fix(h.list[i])
	}
}

// fix moves an element to its place after its order has changed.
func (h *heap[T]) fix(t T) {
	h.up(*h.at(t))
	h.down(*h.at(t))
}

func (h *heap[T]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(h.list[i], h.list[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *heap[T]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.list) {
			return
		}
		if child+1 < len(h.list) && h.less(h.list[child+1], h.list[child]) {
			child++
		}
		if !h.less(h.list[child], h.list[i]) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

func (h *heap[T]) swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	*h.at(h.list[i]), *h.at(h.list[j]) = i, j
}
