package memory

import "container/heap"

// sorted is a heap whose items know their place in it, so that any of them can
// be taken out.
type sorted[T item] struct {
	before func(a, b T) bool
	items  []T
}

// item is a thing that lies in one heap at a time.
type item interface{ place() *int }

func (s *sorted[T]) Len() int           { return len(s.items) }
func (s *sorted[T]) Less(i, j int) bool { return s.before(s.items[i], s.items[j]) }
func (s *sorted[T]) Swap(i, j int) {
	s.items[i], s.items[j] = s.items[j], s.items[i]
	*s.items[i].place(), *s.items[j].place() = i, j
}

// Push and Pop are for package heap alone.
func (s *sorted[T]) Push(x any) {
	*x.(T).place() = len(s.items)
	s.items = append(s.items, x.(T))
}

func (s *sorted[T]) Pop() any {
	var none T
	last := len(s.items) - 1
	x := s.items[last]
	s.items[last] = none
	s.items = s.items[:last]
	return x
}

func (s *sorted[T]) add(x T)     { heap.Push(s, x) }
func (s *sorted[T]) remove(x T)  { heap.Remove(s, *x.place()) }
func (s *sorted[T]) fix(x T)     { heap.Fix(s, *x.place()) }
func (s *sorted[T]) first() T    { return s.items[0] }
func (s *sorted[T]) empty() bool { return len(s.items) == 0 }
