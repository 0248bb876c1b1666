package memory

import "slices"

// idList is the ids in the queue in their order. They come in ascending order
// and leave in any, so what has left is swept out now and then.
type idList struct {
	ids  []string // ascending; an id that has left stays until the next sweep
	gone map[string]bool
}

func (l *idList) add(id string) { l.ids = append(l.ids, id) }

func (l *idList) remove(id string) {
	if l.gone == nil {
		l.gone = make(map[string]bool)
	}
	l.gone[id] = true
	if len(l.gone) > 1000 && len(l.gone) > len(l.ids)/2 {
		l.ids = slices.DeleteFunc(l.ids, func(id string) bool { return l.gone[id] })
		clear(l.gone)
	}
}

// sweep sweeps now, and keeps no more room than is needed.
func (l *idList) sweep() {
	l.ids = slices.Clone(slices.DeleteFunc(l.ids, func(id string) bool { return l.gone[id] }))
	l.gone = nil
}

// after returns the ids greater than one, in order.
func (l *idList) after(id string) func(yield func(string) bool) {
	at, found := slices.BinarySearch(l.ids, id)
	if found {
		at++
	}
	return func(yield func(string) bool) {
		for _, id := range l.ids[at:] {
			if !l.gone[id] && !yield(id) {
				return
			}
		}
	}
}
