package waiting

import (
	"slices"
	"time"
)

// Mail is a delivery to be handled at a time.
type Mail struct {
	ID, Destination string
}

// Deadlines are the times at which deliveries are to be looked at: the earliest of
// them, no more than most at a time. Its zero value is empty.
type Deadlines struct {
	list    []deadline
	sorted  bool
	horizon time.Time // later ones were left out; zero if none were
}

type deadline struct {
	at   time.Time
	mail Mail
}

// most is how many are kept.
const most = 20_000

// Add adds one.
func (d *Deadlines) Add(at time.Time, m Mail) {
	if !d.horizon.IsZero() && !at.Before(d.horizon) {
		return
	}
	d.list, d.sorted = append(d.list, deadline{at, m}), false
	if len(d.list) >= 2*most {
		d.sort()
		d.horizon = d.list[most].at
		clear(d.list[most:])
		d.list = d.list[:most]
	}
}

func (d *Deadlines) sort() {
	if !d.sorted {
		slices.SortStableFunc(d.list, func(a, b deadline) int { return a.at.Compare(b.at) })
		d.sorted = true
	}
}

// Due removes and returns the deliveries that are due, the earliest first. If complete
// is false, there may be more that were left out: all must be added again.
func (d *Deadlines) Due(now time.Time) (list []Mail, complete bool) {
	d.sort()
	n := 0
	for n < len(d.list) && !d.list[n].at.After(now) {
		list = append(list, d.list[n].mail)
		n++
	}
	d.list = slices.Delete(d.list, 0, n)
	return list, d.horizon.IsZero() || len(d.list) > 0 // the remaining ones are due before the horizon
}

// Next returns when the next delivery is due, or zero if there is none.
func (d *Deadlines) Next() time.Time {
	if d.sort(); len(d.list) > 0 {
		return d.list[0].at
	}
	return d.horizon
}

// Reset forgets all.
func (d *Deadlines) Reset() { *d = Deadlines{list: d.list[:0], sorted: true} }
