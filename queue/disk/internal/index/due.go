package index

// dueHeap is lanes with something due: a heap for each tenant, and a heap of
// those, so that a claim steps over a tenant at once however many destinations it
// has.
type dueHeap struct {
	tenants []*tenantHeap // by number
	list    []*tenantHeap // those with lanes that are not set aside
}

// tenantHeap is the lanes of one tenant with something due.
type tenantHeap struct {
	lanes laneHeap
	pos   int // among the tenants; -1 is not there
	aside bool
}

// first is the lane whose first delivery comes next, nil where none is due.
func (d *dueHeap) first() *lane {
	if len(d.list) == 0 {
		return nil
	}
	return d.list[0].lanes.list[0]
}

func (d *dueHeap) of(l *lane) *tenantHeap {
	n := int(l.key.tenant)
	for n >= len(d.tenants) {
		d.tenants = append(d.tenants, nil)
	}
	if d.tenants[n] == nil {
		d.tenants[n] = &tenantHeap{lanes: laneHeap{less: before}, pos: -1}
	}
	return d.tenants[n]
}

func (d *dueHeap) push(x *Index, l *lane) {
	t := d.of(l)
	t.lanes.push(x, l, inDue)
	l.due = d
	d.place(x, t)
}

func (d *dueHeap) remove(x *Index, l *lane) {
	t := d.of(l)
	t.lanes.remove(x, l.pos)
	d.place(x, t)
}

func (d *dueHeap) fix(x *Index, l *lane) {
	t := d.of(l)
	t.lanes.fix(x, l.pos)
	d.place(x, t)
}

// setAside keeps a lane's tenant from coming first until it is put back.
func (d *dueHeap) setAside(x *Index, l *lane) *tenantHeap {
	t := d.of(l)
	t.aside = true
	d.place(x, t)
	return t
}

func (d *dueHeap) putBack(x *Index, t *tenantHeap) {
	t.aside = false
	d.place(x, t)
}

// place puts a tenant where it belongs after its lanes have changed.
func (d *dueHeap) place(x *Index, t *tenantHeap) {
	wanted := len(t.lanes.list) > 0 && !t.aside
	switch {
	case wanted && t.pos < 0:
		t.pos = len(d.list)
		d.list = append(d.list, t)
		d.up(x, t.pos)
	case wanted:
		d.up(x, t.pos)
		d.down(x, t.pos)
	case t.pos >= 0:
		d.takeOut(x, t)
	}
}

func (d *dueHeap) takeOut(x *Index, t *tenantHeap) {
	i, last := t.pos, len(d.list)-1
	d.swap(i, last)
	d.list[last] = nil
	d.list = d.list[:last]
	t.pos = -1
	if i < last {
		moved := d.list[i]
		d.up(x, i)
		d.down(x, moved.pos)
	}
}

func (d *dueHeap) less(x *Index, i, j int) bool {
	return before(x, d.list[i].lanes.list[0], d.list[j].lanes.list[0])
}

func (d *dueHeap) up(x *Index, i int) {
	for i > 0 && d.less(x, i, (i-1)/2) {
		d.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (d *dueHeap) down(x *Index, i int) {
	for {
		child := 2*i + 1
		if child >= len(d.list) {
			return
		}
		if child+1 < len(d.list) && d.less(x, child+1, child) {
			child++
		}
		if !d.less(x, child, i) {
			return
		}
		d.swap(i, child)
		i = child
	}
}

func (d *dueHeap) swap(i, j int) {
	d.list[i], d.list[j] = d.list[j], d.list[i]
	d.list[i].pos, d.list[j].pos = i, j
}
