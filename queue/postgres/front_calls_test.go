package postgres

import (
	"fmt"
	"testing"
	"time"
)

// said is what a claim says of the heads that it found and of its snapshot.
func said(anew bool, xmax int64, reach place, heads ...knownHead) *frontRow {
	var zero, server int64 = 0, 1
	r := &frontRow{
		anew: &anew, xmax: &xmax, rank: &reach.rank, seq: &reach.seq, later: &zero, lease: &zero, next: &zero, server: &server,
	}
	for _, h := range heads {
		r.xids, r.seqs, r.ranks = append(r.xids, h.xid), append(r.seqs, h.seq), append(r.ranks, h.rank)
		r.destinations, r.tenants = append(r.destinations, fmt.Sprint("d", h.seq)), append(r.tenants, nil)
		r.priorities, r.atOnce = append(r.priorities, 0), append(r.atOnce, true)
	}
	return r
}

// knows reports whether a head is remembered, or will be found by the next claim: in the
// snapshot that it goes by, or beyond what has been looked at.
func (f *front) knows(h knownHead) bool {
	for _, l := range f.order {
		for _, o := range l.heads {
			if o == h {
				return true
			}
		}
	}
	return h.xid >= f.xmax || h.place.compare(f.reachOf("")) > 0
}

// No head is forgotten for good, in whatever order claims end that were under way at the
// same time.
func TestClaimsAtTheSameTimeForgetNothing(t *testing.T) {
	all := func(laneKey) bool { return true }
	now := time.Now().UnixMicro()
	begin := func(f *front) *frontCall { return f.begin(10, now, now, false, false, all) }
	notLate := func(l laneKey) bool { return l.destination != "d8" }
	at := func(n int64) place { return place{n, n} }
	early, late, fresh := knownHead{90, at(5)}, knownHead{90, at(8)}, knownHead{103, at(20)}

	t.Run("one looks for more, others bring what is beyond", func(t *testing.T) {
		f := new(front)
		f.end(begin(f), said(true, 100, at(10), early), nil)
		more, brings := begin(f), begin(f)
		f.end(brings, said(false, 105, at(10), early, fresh), nil)
		after := begin(f)
		f.end(more, said(false, 100, everywhere, early), nil)
		f.end(after, said(false, 110, at(10), early), nil)
		if !f.knows(fresh) {
			t.Error("a head that came meanwhile is forgotten")
		}
	})
	t.Run("one looks for more, and what is before is forgotten for want of room", func(t *testing.T) {
		f := new(front)
		f.end(begin(f), said(true, 100, at(10), early, late), nil)
		more := f.begin(10, now, now, false, false, notLate)
		f.of = map[string]int{"": 1, "other": 1} // as many tenants as there is room for
		f.shrink(1)
		f.end(more, said(false, 100, everywhere, early), nil)
		if !f.knows(early) || !f.knows(late) {
			t.Error("a head is forgotten")
		}
	})
	t.Run("two look for more, and the one that began first ends last", func(t *testing.T) {
		f := new(front)
		f.end(begin(f), said(true, 100, at(10), early), nil)
		first, second := begin(f), begin(f)
		f.end(second, said(false, 105, at(15), early, fresh), nil)
		f.end(first, said(false, 101, at(30), early), nil)
		if !f.knows(fresh) {
			t.Error("a head that came meanwhile is forgotten")
		}
	})
	t.Run("one looks for more, and one that began before begins anew", func(t *testing.T) {
		f := new(front)
		f.end(begin(f), said(true, 100, at(10), early), nil)
		first, second := begin(f), begin(f)
		f.end(second, said(false, 105, at(30), early, fresh), nil)
		f.end(first, said(true, 101, at(30), early), nil)
		if !f.knows(fresh) {
			t.Error("a head that came meanwhile is forgotten")
		}
	})
	t.Run("one looks for more and knows what ripens first, and one that began before does not", func(t *testing.T) {
		f := new(front)
		f.end(begin(f), said(true, 100, at(10), early), nil)
		first, second := begin(f), begin(f)
		sooner, later := now+1000, now+2000
		r := said(false, 105, at(30), early)
		r.later, r.lease, r.next = &sooner, &sooner, &sooner
		f.end(second, r, nil)
		r = said(false, 101, at(10), early)
		r.later, r.lease, r.next = &later, &later, &later
		f.end(first, r, nil)
		if f.xmax > 101 && (f.later > sooner || f.lease > sooner || f.next > sooner) {
			t.Errorf("the next claim looks at what comes from transaction %d on, and for heads that ripen from %d on and leases that end from %d and %d on, want %d",
				f.xmax, f.later, f.lease, f.next, sooner)
		}
	})
}
