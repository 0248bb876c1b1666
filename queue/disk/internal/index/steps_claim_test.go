package index

import (
	"maps"
	"slices"
	"time"
)

func (p *pair) bounds() Bounds {
	b := Bounds{Max: p.rng.IntN(20), PerDestination: p.rng.IntN(4), PerTenant: p.rng.IntN(4)}
	if p.oneIn(4) {
		b = Bounds{Max: 1000}
	}
	if p.oneIn(3) {
		b.Destinations = append(p.some(4), "unknown", p.name())
	}
	if p.oneIn(3) {
		b.Except = append(p.some(3), "unknown")
	}
	for range p.rng.IntN(2) * p.rng.IntN(p.tenants) {
		b.ExceptTenants = append(b.ExceptTenants, p.tenant())
	}
	if p.oneIn(2) {
		b.Owner = p.owner()
	}
	return b
}

func (p *pair) claim() {
	b := p.bounds()
	p.tell("at %v claim %+v", p.now, b)
	p.m.advance(p.now)
	want, bounded := p.m.due(p.now, b)
	var got []Slot
	long := time.Duration(1+p.rng.IntN(50)) * time.Microsecond
	take := func(s Slot) {
		got = append(got, s)
		for _, e := range p.m.list {
			if e.slot == s {
				p.lease(e, p.now.Add(time.Duration(len(got)%3)*10*time.Microsecond+long/2))
				e.changes++
				return
			}
		}
		p.want(false, "slot %d of nobody is claimed", s)
	}
	var next time.Time
	var ok bool
	if p.oneIn(2) {
		next, ok = p.x.Claim(p.now, b, take)
	} else {
		c := p.x.NewClaim(p.now, b)
		for n := 0; c.Some(1+p.rng.IntN(3), take); n++ {
			if n > 100*(len(p.m.list)+100) {
				p.want(false, "the claim does not end")
				return
			}
		}
		next, ok = c.Next()
		p.loose()
	}
	equal := len(got) == len(want)
	for i := 0; equal && i < len(got); i++ {
		equal = got[i] == want[i].slot
	}
	p.want(equal, "claimed %v, want %v", got, want)
	if bounded {
		p.want(ok && next.Equal(p.now), "the next claim is at %v, %t: some were left out", next, ok)
		return
	}
	p.nextIs(next, ok, &b)
}

// nextIs checks what a claim says of the next one.
func (p *pair) nextIs(next time.Time, ok bool, b *Bounds) {
	p.want(!ok || next.After(p.now), "the next claim is at %v, and none was left out", next)
	soonest, may := p.m.soonest(b)
	p.want(!may || ok && !next.After(soonest), "the next claim is at %v, %t: something is due at %v", next, ok, soonest)
	if p.back {
		return
	}
	want, some := p.m.next(p.now, b)
	p.want(ok == some && (!ok || next.Equal(want)), "the next claim is at %v, %t; want %v, %t", next, ok, want, some)
}

func (p *pair) loose() {
	for p.x.Loose(1 + p.rng.IntN(3)) {
	}
}

// claimBeside does other things between the pieces of a claim: what it hands out is due
// and is handed out once.
func (p *pair) claimBeside() {
	b := p.bounds()
	p.tell("at %v claim beside all else %+v", p.now, b)
	p.beside = true
	defer func() { p.beside = false }()
	at := p.now
	p.parks = nil
	destinations, tenants, total := map[string]int{}, map[string]int{}, 0
	take := func(s Slot) {
		for _, e := range p.m.list {
			if e.slot != s {
				continue
			}
			destinations[e.Destination]++
			tenants[e.Tenant]++
			total++
			until, parked := p.m.parked[b.Owner][e.Destination]
			p.want(!parked || until <= Micros(at) || slices.Contains(p.parks, e.Destination), "%d at %s is claimed, and is parked", e.Message, e.Destination)
			anybody := b
			anybody.Owner = ""
			p.want(p.m.isDue(at, &anybody, e), "%d at %s is claimed, and is not to be: %+v at %v", e.Message, e.Destination, *e, at)
			p.want(b.PerDestination == 0 || destinations[e.Destination] <= b.PerDestination, "too many of %s are claimed", e.Destination)
			p.want(b.PerTenant == 0 || tenants[e.Tenant] <= b.PerTenant, "too many of tenant %s are claimed", e.Tenant)
			p.want(total <= b.Max, "%d are claimed", total)
			p.lease(e, at.Add(time.Duration(1+p.rng.IntN(50))*time.Microsecond))
			e.changes++
			return
		}
		p.want(false, "slot %d of nobody is claimed", s)
	}
	c := p.x.NewClaim(at, b)
	for n := 0; c.Some(1+p.rng.IntN(3), take) && p.err == nil; n++ {
		p.tell("beside that:")
		p.unparked(at)
		p.m.now = Micros(at)
		p.step()
		p.want(n < 100*(len(p.m.list)+100), "the claim does not end")
	}
	for p.x.Advance(at, 10) {
	}
	p.m.advance(at)
	p.loose()
}

// unparked takes over which of the postponements that are over have been found to be.
func (p *pair) unparked(at time.Time) {
	for owner, list := range p.m.parked {
		maps.DeleteFunc(list, func(name string, until int64) bool {
			o, known := p.x.parking.numbers[owner]
			return until <= Micros(at) && !(known && p.x.parking.owners[o].byDestination[p.x.names[name]] != nil)
		})
	}
	p.m.tidy()
}

func (p *pair) advance() {
	p.tell("at %v", p.now)
	if p.oneIn(4) {
		p.x.At(p.now)
		p.m.now = Micros(p.now)
		return
	}
	for n := 0; p.x.Advance(p.now, 1+p.rng.IntN(3)); n++ {
		p.want(n < 10*(len(p.m.list)+100), "the index does not come to an end of what is over")
		if p.err != nil {
			return
		}
	}
	p.m.advance(p.now)
}

func (p *pair) flushing() *Flushing {
	f := &Flushing{Since: Micros(p.now) - p.rng.Int64N(20)}
	if e := p.any(); e != nil && p.oneIn(2) {
		f.Message = e.Message
		if p.oneIn(2) {
			f.Destination = e.Destination
		}
	}
	if p.oneIn(3) {
		f.Destination = p.name()
	}
	if p.oneIn(2) {
		below := uint32(p.rng.IntN(120))
		f.Earlier = func(at Place) bool { return at.Offset < below }
	}
	if p.oneIn(3) {
		f.Counted = map[string]bool{p.name(): true}
	}
	return f
}

func (p *pair) flush() {
	f := p.flushing()
	p.tell("flush %+v", *f)
	want := 0
	if p.oneIn(2) {
		for p.x.Expire(p.now, 1+p.rng.IntN(3)) {
		}
		for _, e := range p.m.list {
			over := e.leased && !e.until.After(p.now)
			p.want(!over || !p.x.claimed(e.slot), "the lease of %d at %s has not ended at its end", e.Message, e.Destination)
			e.ended = e.ended || over
		}
	}
	for _, e := range p.m.list {
		if p.m.named(p.x, f, e) {
			if f.Message == 0 || !f.Counted[e.Destination] {
				want++
			}
			p.m.flush(f, e)
			e.changes++
		}
	}
	for n := 0; !p.x.Flush(f, 1+p.rng.IntN(3)); n++ {
		if n > 10*(len(p.m.list)+1000) {
			p.want(false, "the flush does not end")
			return
		}
	}
	same := f.Count == want
	p.want(same, "%d are flushed, want %d", f.Count, want)
}

// flushBeside does other things between the pieces of a flush: what nobody else changes
// is flushed, and nothing else is.
func (p *pair) flushBeside() {
	f := p.flushing()
	p.tell("flush beside all else %+v", *f)
	p.beside, p.flushes = true, true
	defer func() { p.beside, p.flushes = false, false }()
	changes := map[*modeled]int{}
	for _, e := range p.m.list {
		if p.m.named(p.x, f, e) {
			changes[e] = e.changes
		}
	}
	for n := 0; !p.x.Flush(f, 1+p.rng.IntN(3)) && p.err == nil; n++ {
		p.tell("beside that:")
		p.step()
		p.want(n < 10*(len(p.m.list)+1000), "the flush does not end")
		for _, e := range p.m.list { // it may have come to these before
			if have := p.x.Get(e.slot); have.AtOnce && !e.AtOnce && have.Since == f.Since {
				p.reconcile(f, e)
			}
		}
	}
	for _, e := range p.m.list {
		if n, named := changes[e]; named && n == e.changes {
			p.m.flush(f, e)
		} else if have := p.x.Get(e.slot); have.AtOnce && !e.AtOnce {
			p.reconcile(f, e)
		}
	}
}

// reconcile takes over that a flush has made a delivery due.
func (p *pair) reconcile(f *Flushing, e *modeled) {
	p.want((f.Message == 0 || f.Message == e.Message) && (f.Destination == "" || f.Destination == e.Destination),
		"%d at %s is flushed", e.Message, e.Destination)
	earlier := f.Earlier
	f.Earlier = nil // it may have been moved since
	p.m.flush(f, e)
	f.Earlier = earlier
}
