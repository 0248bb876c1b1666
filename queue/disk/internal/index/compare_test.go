package index

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// compare asks the index everything that the model can answer.
func (p *pair) compare() {
	p.compareDeliveries()
	p.compareMessages()
	p.compareDestinations()
	p.compareSurvey()
	p.compareRows()
}

func (p *pair) compareDeliveries() {
	x, m := p.x, p.m
	p.want(x.Len() == len(m.list), "%d deliveries, want %d", x.Len(), len(m.list))
	var ends int64
	flushes := 0
	for _, e := range m.list {
		s, found := x.Find(e.Message, e.Destination)
		p.want(found && s == e.slot, "%d at %s is found %t at %d, want %d", e.Message, e.Destination, found, s, e.slot)
		p.want(x.Get(e.slot) == e.Entry, "it is %+v, want %+v", x.Get(e.slot), e.Entry)
		p.want(x.Is(e.slot, e.Message) && !x.Is(e.slot, e.Message+1), "slot %d is not that of %d, or of the next too", e.slot, e.Message)
		p.want(x.Size(e.slot) == e.Size, "a size of %d, want %d", x.Size(e.slot), e.Size)
		token, until, note, ok := x.Leased(e.slot)
		p.want(ok == e.leased && token == e.token && until.Equal(e.until) && note == e.note, "%d at %s is leased %t by %d until %v, want %t, %d, %v",
			e.Message, e.Destination, ok, token, until, e.leased, e.token, e.until)
		ends += endRoom + int64(len(e.Destination))
		if e.flushed {
			flushes++
		}
	}
	p.want(x.EndRoom() == ends, "the ends take %d, want %d", x.EndRoom(), ends)
	p.want(x.Flushed() == flushes, "%d are due by a flush, want %d", x.Flushed(), flushes)
	_, known := x.Find(p.last<<8, "d0")
	_, named := x.Find(1, "nobody")
	p.want(!known && !named, "what is not there is found")
	segment := uint16(p.rng.IntN(5))
	var want []Slot
	for _, e := range m.list {
		if e.Home == segment || e.Home == 1 {
			want = append(want, e.slot)
		}
	}
	got := x.AtHome(segment, 1)
	slices.Sort(got)
	slices.Sort(want)
	p.want(slices.Equal(got, slices.Compact(want)), "at home in %d are %v, want %v", segment, got, want)
}

func (p *pair) compareMessages() {
	x, m := p.x, p.m
	of := map[uint64][]*modeled{}
	var bytes int64
	for _, e := range m.list {
		if e.hidden {
			continue
		}
		if of[e.Message] == nil {
			bytes += int64(e.Size)
		}
		of[e.Message] = append(of[e.Message], e)
	}
	p.want(x.Messages() == len(of) && x.Bytes() == bytes, "%d messages of %d bytes, want %d of %d", x.Messages(), x.Bytes(), len(of), bytes)
	for number, list := range of {
		s, ok := x.Some(number)
		p.want(x.Has(number) && ok && slices.ContainsFunc(list, func(e *modeled) bool { return e.slot == s }), "message %d is not there", number)
		if spread(number) == 1 && slices.ContainsFunc(list, func(e *modeled) bool { return e.leased }) {
			_, _, _, is := x.Leased(s)
			p.want(is, "a delivery of %d is leased, and another is found", number)
		}
		var got, want []Slot
		for from, more := uint32(0), true; more; more = from > 0 {
			got, from = x.Slots(got, number, from, 1+p.rng.IntN(3))
		}
		for _, e := range list {
			want = append(want, e.slot)
		}
		slices.Sort(got)
		slices.Sort(want)
		p.want(slices.Equal(got, want), "deliveries of %d are %v, want %v", number, got, want)
	}
	if p.arrival != nil && p.arrival.message == x.arriving {
		n := p.arrival.message
		_, some := x.Some(n)
		slots, from := x.Slots(nil, n, 0, 100)
		p.want(!some && !x.Has(n) && slots == nil && from == 0, "a message is there before it has come")
	}
	destination := ""
	if p.oneIn(2) {
		destination = p.name()
	}
	var want, got []uint64
	for number, list := range of {
		if destination == "" || slices.ContainsFunc(list, func(e *modeled) bool { return e.Destination == destination }) {
			want = append(want, number)
		}
	}
	slices.Sort(want)
	most := 1 + p.rng.IntN(4)
	for last, more := uint64(0), true; more; {
		before := len(got)
		if got, last, more = x.List(got, last, most, destination); len(got) > before+most {
			p.want(false, "a page of %d, want %d", len(got)-before, most)
		}
	}
	p.want(slices.Equal(got, want), "listed %v, want %v", got, want)
}

func (p *pair) compareDestinations() {
	x, m := p.x, p.m
	all, next := x.Destinations(0, 1+p.rng.IntN(5))
	for next > 0 {
		var some []record.DestinationState
		some, next = x.Destinations(next, 1+p.rng.IntN(5))
		all = append(all, some...)
	}
	want := map[string]bool{}
	var postponed []string
	for n := range p.destinations {
		name := fmt.Sprint("d", n)
		d := m.dest(name)
		if m.known(name) {
			want[name] = true
		}
		if !d.until.IsZero() {
			postponed = append(postponed, name)
		}
		until, reason := x.Postponed(name)
		p.want(until.Equal(d.until) && (reason == d.reason || d.until.IsZero()), "%s is postponed to %v for %q, want %v for %q", name, until, reason, d.until, d.reason)
		p.want(x.IsPostponed(name) == !d.until.IsZero(), "%s is postponed: %t", name, x.IsPostponed(name))
		for _, at := range []Place{d.record, {d.record.Segment, d.record.Offset + 1}, {d.record.Segment, d.record.Offset - 1}, {d.record.Segment + 1, 0}} {
			p.want(x.RecordedAfter(name, at) == (d.recorded && d.record.Segment == at.Segment && d.record.Offset > at.Offset), "%s is recorded at %v, which is after %v: %t",
				name, d.record, at, x.RecordedAfter(name, at))
		}
		p.want(x.Over(&Postponement{Name: name}), "what is lifted is not over")
		p.want(x.Over(&Postponement{Name: name, Until: p.now}) == (m.known(name) && m.over(name)), "the postponement of %s is over: %t", name, m.over(name))
	}
	for _, s := range all {
		d := m.dest(s.Name)
		w := record.DestinationState{Number: s.Number, Name: s.Name}
		if d.recorded {
			w.Until, w.Reason, w.Slot, w.Offset, w.Oldest = d.until, d.reason, d.record.Segment, d.record.Offset, d.oldest
		}
		if s.Until.IsZero() {
			s.Reason, w.Reason = "", ""
		}
		p.want(s == w && want[s.Name], "a destination is %+v, want %+v", s, w)
		delete(want, s.Name)
	}
	p.want(len(want) == 0, "destinations %v are missing", slices.Collect(maps.Keys(want)))
	var got []string
	most := 1 + p.rng.IntN(5)
	got, from := x.AllPostponed(nil, 0, most)
	for from > 0 {
		got, from = x.AllPostponed(got, from, most)
	}
	slices.Sort(got)
	slices.Sort(postponed)
	p.want(slices.Equal(got, postponed), "postponed are %v, want %v", got, postponed)
	segment := uint16(p.rng.IntN(5))
	recorded := map[string]bool{}
	for name, d := range m.destinations {
		if d.recorded && d.record.Segment == segment {
			recorded[name] = true
		}
	}
	list, from := x.Postponements(segment, 0, most)
	for from > 0 {
		var some []*Postponement
		some, from = x.Postponements(segment, from, most)
		list = append(list, some...)
	}
	for _, v := range list {
		d := m.dest(v.Name)
		p.want(recorded[v.Name] && *v == Postponement{v.Name, d.until, d.reason, d.record, d.oldest}, "recorded in %d is %+v, want %+v", segment, v, d)
		delete(recorded, v.Name)
	}
	p.want(len(recorded) == 0, "of those recorded in %d are missing %v", segment, slices.Collect(maps.Keys(recorded)))
}

func (p *pair) compareSurvey() {
	after, most, piece := "", 1+p.rng.IntN(10), 1+p.rng.IntN(5)
	if p.oneIn(2) {
		after = p.name()
	}
	want := map[string]*Count{}
	for _, e := range p.m.list {
		if e.Destination <= after {
			continue
		}
		c := want[e.Destination]
		if c == nil {
			d := p.m.dest(e.Destination)
			c = &Count{Name: e.Destination, Postponed: d.until, Reason: d.reason, Oldest: e.Message}
			if d.until.IsZero() {
				c.Reason = ""
			}
			want[e.Destination] = c
		}
		c.Deliveries++
		c.Held += count(e.Flags&Held != 0)
		c.Leased += count(e.leased)
		c.Bytes += int64(e.Size)
		c.Oldest = min(c.Oldest, e.Message)
	}
	sorted := slices.SortedFunc(maps.Values(want), func(a, b *Count) int { return cmp.Compare(a.Name, b.Name) })
	v := &Survey{After: after, Max: most}
	for p.x.Count(v, piece) {
		if p.oneIn(2) && len(v.List) > most {
			v.Sort()
		}
	}
	v.Sort()
	v.SeekOldest()
	for p.x.Oldest(v, 1000*piece) {
	}
	sorted = sorted[:min(len(sorted), most)]
	p.want(len(v.List) == len(sorted), "%d destinations are counted, want %d", len(v.List), len(sorted))
	for i := range min(len(v.List), len(sorted)) {
		got := v.List[i]
		if got.Postponed.IsZero() {
			got.Reason = ""
		}
		p.want(got == *sorted[i], "counted %+v, want %+v", got, *sorted[i])
	}
}

// compareRows takes a checkpoint of the index as another would read it.
func (p *pair) compareRows() {
	x := p.x
	names := map[uint32]string{}
	all, _ := x.Destinations(0, 1000)
	for _, d := range all {
		names[d.Number] = d.Name
	}
	tenants := map[uint32]string{}
	list, next := x.Tenants(nil, 0, 3)
	for next > 0 {
		list, next = x.Tenants(list, next, 3)
	}
	for _, t := range list {
		tenants[t.Number] = t.Name
	}
	var rows []record.Row
	for from, more := 0, true; more; more = from > 0 {
		rows, from = x.Rows(rows, from, 900)
	}
	type place struct{ message, destination any }
	got := map[place]record.Row{}
	for _, r := range rows {
		got[place{r.Message, names[r.Destination]}] = r
	}
	p.want(len(got) == len(p.m.list) && len(rows) == len(got), "%d rows, want %d", len(rows), len(p.m.list))
	for _, e := range p.m.list {
		r := got[place{e.Message, e.Destination}]
		have := Entry{Message: r.Message, Destination: names[r.Destination], Tenant: tenants[r.Tenant], Priority: int(r.Priority),
			AtOnce: Flags(r.Flags)&AtOnce != 0, Since: int64(r.Since), Home: r.Home, Record: Place{r.Record, r.Offset}, Size: r.Size,
			Flags: Flags(r.Flags) &^ AtOnce}
		want := e.Entry
		if e.flushed {
			want.Flags |= flushed
		}
		p.want(have == want, "a row says %+v, want %+v", have, want)
	}
}
