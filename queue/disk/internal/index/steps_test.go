package index

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

func (p *pair) add() {
	message := p.number()
	var list []Entry
	for _, name := range p.some(5) {
		list = append(list, p.entry(message, name))
	}
	p.tell("add %+v", list)
	if p.oneIn(2) {
		for i := range list {
			list[i].Tenant = list[0].Tenant
		}
		p.x.Add(list)
	} else {
		for i := range list {
			p.x.Set(&list[i])
		}
	}
	for _, e := range list {
		p.added(&modeled{Entry: e})
	}
}

// added is for a delivery that is in the index.
func (p *pair) added(e *modeled) {
	s, ok := p.x.Find(e.Message, e.Destination)
	p.want(ok, "%d at %s is not found once it is there", e.Message, e.Destination)
	e.slot = s
	p.m.list = append(p.m.list, e)
}

func (p *pair) change(e *modeled) {
	switch p.rng.IntN(14) {
	case 0, 1, 2:
		p.remove(e)
	case 3, 4:
		to := p.entry(e.Message, e.Destination)
		if p.oneIn(3) { // as it was, at another place
			to.Since, to.Flags = e.Since, e.Flags
			if p.oneIn(2) {
				to.AtOnce, to.Tenant, to.Priority = e.AtOnce, e.Tenant, e.Priority
			}
		}
		p.tell("set %+v", to)
		if p.oneIn(2) {
			p.want(p.x.Set(&to) == e.slot, "what is set again is at another slot")
		} else {
			p.x.Update(e.slot, &to)
		}
		e.Entry, e.flushed = to, false
	case 5:
		e.Home, e.Record = uint16(p.rng.IntN(4)), p.place()
		p.tell("move %d at %s to %d, %v", e.Message, e.Destination, e.Home, e.Record)
		p.x.Move(e.slot, e.Home, e.Record)
	case 6, 7:
		p.tell("unlease %d at %s", e.Message, e.Destination)
		p.x.Unlease(e.slot)
		e.leased, e.ended, e.token, e.until, e.note = false, false, 0, time.Time{}, nil
	case 8:
		p.lease(e, p.now.Add(time.Duration(p.rng.IntN(60))*time.Microsecond+1))
	case 9:
		p.tell("note %d at %s", e.Message, e.Destination)
		p.token++
		p.x.Note(e.slot, p.token)
		if e.leased {
			e.note = p.token
		}
	case 10:
		on := p.oneIn(2)
		p.tell("mark %d at %s %t", e.Message, e.Destination, on)
		p.x.SetFlag(e.slot, Marked, on)
		e.set(Marked, on)
	default:
		on := e.Flags&Held == 0
		p.tell("hold %d at %s %t", e.Message, e.Destination, on)
		p.x.SetFlag(e.slot, Held, on)
		e.set(Held, on)
	}
}

func (e *modeled) set(f Flags, on bool) {
	if e.Flags &^= f; on {
		e.Flags |= f
	}
}

func (p *pair) remove(e *modeled) {
	p.tell("remove %d at %s", e.Message, e.Destination)
	p.m.list = slices.DeleteFunc(p.m.list, func(o *modeled) bool { return o == e })
	last := !slices.ContainsFunc(p.m.list, func(o *modeled) bool { return o.Message == e.Message })
	p.want(p.x.Remove(e.slot) == last, "whether the last of %d has gone is not %t", e.Message, last)
	p.want(!p.x.Is(e.slot, e.Message), "%d at %s is there once it has gone", e.Message, e.Destination)
}

func (p *pair) lease(e *modeled, until time.Time) {
	p.token++
	note := any(p.token)
	p.tell("lease %d at %s until %v", e.Message, e.Destination, until.Sub(p.now))
	p.x.Lease(e.slot, p.token, until, note)
	e.leased, e.ended, e.token, e.until, e.note = true, false, p.token, until, note
}

// arrive goes on with a message that comes in pieces.
func (p *pair) arrive() {
	switch {
	case p.arrival == nil:
		p.number()
		n := Number(p.last, 300)
		p.size[n] = uint32(p.rng.IntN(1000))
		p.arrival, p.coming = p.x.Arrive(n), nil
		p.tell("%d arrives", n)
	case p.arrival.message == p.x.arriving && len(p.coming) < 2 || p.arrival.message == p.x.arriving && p.oneIn(2):
		e := p.entry(p.arrival.message, p.name())
		if slices.ContainsFunc(p.coming, func(o *modeled) bool { return o.Destination == e.Destination }) {
			p.appear() // there are no more
			return
		}
		p.tell("with %+v", e)
		p.arrival.Add(e)
		m := &modeled{Entry: e, arriving: true, hidden: true}
		p.coming = append(p.coming, m)
		p.added(m)
	case p.arrival.message == p.x.arriving:
		p.appear()
	default:
		n := 1 + p.rng.IntN(3)
		p.tell("%d come to their turn", n)
		more := p.arrival.Queue(n)
		for ; n > 0 && len(p.coming) > 0; n-- {
			p.coming[0].arriving = false
			p.coming = p.coming[1:]
		}
		p.want(more == (len(p.coming) > 0), "there are more to come: %t", more)
		if !more {
			p.arrival = nil
		}
	}
}

func (p *pair) appear() {
	if len(p.coming) == 0 {
		return
	}
	p.tell("%d is there", p.arrival.message)
	p.arrival.Appear()
	for _, e := range p.coming {
		e.hidden = false
	}
}

func (p *pair) park() {
	owner, name := p.owner(), p.name()
	switch p.rng.IntN(5) {
	case 0, 1, 2:
		until := p.soon()
		p.tell("park %s for %s until %v", name, owner, until.Sub(p.now))
		p.want(p.x.Admit(owner, 1), "%s is not admitted", owner)
		p.x.Park(owner, name, until)
		p.m.park(owner, name, until)
		p.parks = append(p.parks, name)
	case 3:
		p.tell("unpark %s for %s", name, owner)
		p.x.Unpark(owner, name)
		delete(p.m.parked[owner], name)
	case 4:
		p.tell("unpark all for %s", owner)
		most := 1 + p.rng.IntN(3)
		for left := len(p.m.parked[owner]); ; left -= most {
			more := p.x.UnparkAll(owner, most)
			p.want(more == (left > most), "%d of %d are not parked any more, and there are more: %t", most, left, more)
			if !more {
				break
			}
		}
		delete(p.m.parked, owner)
	}
}

func (p *pair) postponements() {
	v := Postponement{Name: p.name(), Reason: fmt.Sprint("reason ", p.rng.IntN(100)), Record: p.place(), Oldest: 1 + p.rng.Uint64N(5)}
	older := func(of *Postponement) bool {
		p.want(p.m.dest(of.Name).recorded, "%s is not recorded, and somebody is asked for older records of it", of.Name)
		return of.Oldest%2 == 0
	}
	switch p.rng.IntN(11) {
	case 0, 1, 2, 3:
		v.Until = p.soon()
		p.tell("postpone %+v by %v", v, v.Until.Sub(p.now))
		p.x.Postpone(v)
		p.m.postpone(v)
	case 4, 5:
		p.tell("lift %+v", v)
		p.x.Postpone(v)
		p.m.postpone(v)
	case 6:
		p.tell("lifted %+v", v)
		p.x.Lifted(v)
		p.m.lifted(v)
	case 7:
		p.tell("forget %s", v.Name)
		p.x.Forget(v.Name)
		p.m.forget(v.Name)
	case 8, 9:
		p.tell("sweep")
		most := 1 + p.rng.IntN(5)
		for from := p.x.Sweep(0, most, older); from > 0; {
			from = p.x.Sweep(from, most, older)
		}
		for _, name := range slices.Collect(maps.Keys(p.m.destinations)) {
			if d := p.m.dest(name); d.recorded && p.m.over(name) && d.oldest%2 != 0 {
				p.m.forget(name)
			}
		}
	case 10:
		d := p.m.dest(v.Name)
		from := v.Record
		if p.oneIn(2) {
			from = d.record
		}
		to := Place{from.Segment, from.Offset + 1}
		p.tell("move the postponement of %s", v.Name)
		p.x.MovePostponement(v.Name, from, to)
		if d.recorded && d.record == from {
			d.record = to
		}
	}
}
