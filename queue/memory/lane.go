package memory

// lane is the deliveries of one tenant at a destination that are due, so that a claim
// passes over all of them at once.
type lane struct {
	destination *destination
	tenant      string
	ready       sorted[*delivery] // by the order of claims
	at          int
}

func (l *lane) place() *int { return &l.at }

func laneBefore(a, b *lane) bool { return a.ready.first().before(b.ready.first()) }

// lane returns the lane of a tenant, and makes it if it is new. Most destinations have
// mail of one tenant at a time.
func (d *destination) lane(tenant string) *lane {
	if d.home.ready.empty() || d.home.tenant == tenant {
		d.home.tenant = tenant
		return &d.home
	}
	l := d.lanes[tenant]
	if l == nil {
		l = &lane{destination: d, tenant: tenant}
		l.ready.before = (*delivery).before
		if d.lanes == nil {
			d.lanes = make(map[string]*lane)
		}
		d.lanes[tenant] = l
	}
	return l
}

// add puts a delivery among those that are due. Its destination lies in no heap, or is
// put anew where it lies.
func (d *destination) add(one *delivery) {
	l := d.lane(one.entry.message.Tenant)
	if !l.ready.empty() {
		d.ready.remove(l)
	}
	l.ready.add(one)
	d.ready.add(l)
	one.lane, one.in = l, &l.ready
}

// remove takes one out.
func (d *destination) remove(one *delivery) {
	l := one.lane
	d.ready.remove(l)
	l.ready.remove(one)
	one.lane, one.in = nil, nil
	if !l.ready.empty() {
		d.ready.add(l)
	} else if l != &d.home {
		delete(d.lanes, l.tenant)
	}
}
