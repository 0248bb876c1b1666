package index

import (
	"cmp"
	"slices"
	"time"
)

// Count has the waiting deliveries of one destination.
type Count struct {
	Name                     string
	Deliveries, Held, Leased int
	Bytes                    int64
	Postponed                time.Time
	Reason                   string
	Oldest                   uint64 // the message with the lowest id
}

// Survey counts by destination, some at a time: those after a name, in order, at most
// so many.
type Survey struct {
	After string
	Max   int
	List  []Count

	from   int               // the destinations, and then the deliveries, that come next
	oldest map[string]*Count // by name, since numbers may be given to others meanwhile
}

// Count goes on with the destinations and reports whether there are more. It looks at
// so many of them.
func (x *Index) Count(v *Survey, most int) (more bool) {
	to := min(v.from+most, x.destinations.n)
	x.work += to - v.from
	for ; v.from < to; v.from++ {
		d := x.destinations.at(v.from)
		if d.deliveries > 0 && d.name > v.After {
			v.List = append(v.List, Count{d.name, d.deliveries, d.held, d.leased, d.bytes, d.until, d.reason, 0})
		}
	}
	return to < x.destinations.n
}

// Sort leaves the first destinations, in order. It does not need the index.
func (v *Survey) Sort() {
	slices.SortFunc(v.List, func(a, b Count) int { return cmp.Compare(a.Name, b.Name) })
	v.List = slices.CompactFunc(v.List, func(a, b Count) bool { return a.Name == b.Name })
	v.List = v.List[:min(len(v.List), v.Max)]
}

// SeekOldest must be called when the list is complete.
func (v *Survey) SeekOldest() {
	v.from, v.oldest = 0, make(map[string]*Count, len(v.List))
	for i := range v.List {
		v.oldest[v.List[i].Name] = &v.List[i]
	}
}

// Oldest looks at so many deliveries for the oldest at each destination and reports
// whether there are more.
func (x *Index) Oldest(v *Survey, most int) (more bool) {
	to := max(v.from, min(v.from+most, len(x.chunks)*chunkLen))
	x.work += to - v.from
	for ; v.from < to; v.from++ {
		c, i := x.at(Slot(v.from))
		if c == nil || Flags(c.when[i])&used == 0 {
			continue
		}
		n := v.oldest[x.dest(x.lane(c.lane[i]).key.destination).name]
		if m := c.id[i] >> 16; n != nil && (n.Oldest == 0 || m < n.Oldest) {
			n.Oldest = m
		}
	}
	return to < len(x.chunks)*chunkLen && len(v.oldest) > 0
}
