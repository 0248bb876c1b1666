package index

// dueHeap is lanes with something due: a heap for each tenant, and a heap of
// those, so that a claim steps over a tenant at once however many destinations it
// has.
type dueHeap struct {
	own     bool // of one destination
	by      owners
	tenants []*tenantPage      // by number; nil if there is none
	list    paged[*tenantHeap] // those with lanes that are not set aside
	lanes   int
}

// tenantPage is tenants whose numbers follow each other.
type tenantPage [64]*tenantHeap

// tenantHeap is the lanes of one tenant with something due.
type tenantHeap struct {
	lanes laneHeap
	pos   int // among the tenants; -1 is not there
	aside bool
}

// first returns the lane whose first delivery comes next, or nil if none is due.
func (d *dueHeap) first() *lane {
	if d.list.n == 0 {
		return nil
	}
	return d.at(0).lanes.at(0)
}

func (d *dueHeap) at(i int) *tenantHeap { return *d.list.at(i) }

// of is the lanes of one tenant, nil if there never were any.
func (d *dueHeap) of(tenant uint32) *tenantHeap {
	if n := int(tenant) / len(tenantPage{}); n < len(d.tenants) && d.tenants[n] != nil {
		return d.tenants[n][int(tenant)%len(tenantPage{})]
	}
	return nil
}

func (d *dueHeap) set(tenant uint32, t *tenantHeap) {
	n := int(tenant) / len(tenantPage{})
	for n >= len(d.tenants) {
		d.tenants = append(d.tenants, nil)
	}
	if d.tenants[n] == nil {
		d.tenants[n] = new(tenantPage)
	}
	d.tenants[n][int(tenant)%len(tenantPage{})] = t
}

// forget gives up what there is of a tenant without lanes.
func (d *dueHeap) forget(tenant uint32) {
	if n := int(tenant) / len(tenantPage{}); n < len(d.tenants) && d.tenants[n] != nil {
		d.tenants[n][int(tenant)%len(tenantPage{})] = nil
	}
}

func (d *dueHeap) push(x *Index, l *lane) {
	t := d.of(l.key.tenant)
	if t == nil {
		t = &tenantHeap{lanes: laneHeap{own: d.own, less: before}, pos: -1}
		d.set(l.key.tenant, t)
	}
	t.lanes.push(x, l, inDue)
	if !d.own {
		l.due = d
	}
	d.lanes++
	d.place(x, t)
}

func (d *dueHeap) remove(x *Index, l *lane) {
	t := d.of(l.key.tenant)
	t.lanes.remove(x, *t.lanes.pos(l))
	d.place(x, t)
	if d.lanes--; d.lanes == 0 && d.by != 0 { // the one without owners stays
		delete(x.due, d.by)
	}
}

func (d *dueHeap) fix(x *Index, l *lane) {
	t := d.of(l.key.tenant)
	t.lanes.fix(x, *t.lanes.pos(l))
	d.place(x, t)
}

// setAside keeps a lane's tenant from coming first until it is put back.
func (d *dueHeap) setAside(x *Index, l *lane) *tenantHeap {
	t := d.of(l.key.tenant)
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
	wanted := t.lanes.list.n > 0 && !t.aside
	switch {
	case wanted && t.pos < 0:
		t.pos = d.list.n
		d.list.push(t)
		d.up(x, t.pos)
	case wanted:
		d.up(x, t.pos)
		d.down(x, t.pos)
	case t.pos >= 0:
		d.takeOut(x, t)
	}
}

func (d *dueHeap) takeOut(x *Index, t *tenantHeap) {
	i, last := t.pos, d.list.n-1
	d.swap(i, last)
	d.list.pop()
	t.pos = -1
	if i < last {
		moved := d.at(i)
		d.up(x, i)
		d.down(x, moved.pos)
	}
}

func (d *dueHeap) less(x *Index, i, j int) bool {
	return before(x, d.at(i).lanes.at(0), d.at(j).lanes.at(0))
}

func (d *dueHeap) up(x *Index, i int) {
	for d.less(x, i, (i-1)/2) { // the first is not before itself
		d.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (d *dueHeap) down(x *Index, i int) {
	for {
		child := 2*i + 1
		if child >= d.list.n {
			return
		}
		if child+1 < d.list.n && d.less(x, child+1, child) {
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
	d.list.swap(i, j)
	d.at(i).pos, d.at(j).pos = i, j
}
