package index

// ownLanes is the lanes of a destination with many of them, of as many tenants, as
// the heaps of all destinations have them, so that a claim that names the destination
// need not look at each.
type ownLanes struct {
	due   dueHeap
	later laneHeap
}

// keepOwn begins to keep the lanes of a destination apart.
func (x *Index) keepOwn(d *destination) {
	if d.own != nil {
		return
	}
	d.own = &ownLanes{due: dueHeap{own: true}, later: laneHeap{own: true, less: earlier}}
	for l := d.lanes; l != none; l = x.lane(l).next {
		d.own.place(x, x.lane(l))
	}
}

// place puts a lane where it stands among all.
func (o *ownLanes) place(x *Index, l *lane) {
	want := l.where
	if l.ownWhere != want {
		switch l.ownWhere {
		case inDue:
			o.due.remove(x, l)
		case inLater:
			o.later.remove(x, l.ownPos)
		}
		l.ownWhere = inNone
	}
	switch {
	case l.ownWhere == inDue:
		o.due.fix(x, l)
	case l.ownWhere == inLater:
		o.later.fix(x, l.ownPos)
	case want == inDue:
		o.due.push(x, l)
	case want == inLater:
		o.later.push(x, l, inLater)
	}
}

// soonest is when a lane of a claim's tenants is due, at least: it looks at so many.
func (o *ownLanes) soonest(c *Claim, i int, steps *int) {
	c.x.work++
	if i >= o.later.list.n {
		return
	}
	l := o.later.at(i)
	if l.at >= c.wake {
		return
	}
	if *steps--; *steps < 0 || !c.exceptTenants.numbers[l.key.tenant] {
		c.wake = l.at
		return
	}
	o.soonest(c, 2*i+1, steps)
	o.soonest(c, 2*i+2, steps)
}
