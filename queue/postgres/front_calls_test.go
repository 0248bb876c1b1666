package postgres

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// destinationOf is that of a head: all of one rank have the same.
func destinationOf(h knownHead) string { return fmt.Sprint("d", h.rank) }

// said is what a claim says of the heads that it found and of its snapshot.
func said(anew bool, xmax int64, reach place, heads ...knownHead) *frontRow {
	var zero, server int64 = 0, 1
	r := &frontRow{
		anew: &anew, xmax: &xmax, rank: &reach.rank, seq: &reach.seq, later: &zero, lease: &zero, next: &zero, server: &server,
	}
	for _, h := range heads {
		r.xids, r.seqs, r.ranks = append(r.xids, h.xid), append(r.seqs, h.seq), append(r.ranks, h.rank)
		r.destinations, r.tenants = append(r.destinations, destinationOf(h)), append(r.tenants, nil)
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
	return h.xid >= f.xmax || h.place.compare(f.reachOf(laneKey{destination: destinationOf(h)})) > 0
}

// No head is forgotten for good, in whatever order claims end that were under way at the
// same time.
func TestClaimsAtTheSameTimeForgetNothing(t *testing.T) {
	all := newAdmission(nil, nil, nil)
	now := time.Now().UnixMicro()
	begin := func(f *front) *frontCall { return f.begin(10, now, now, false, all) }
	notLate := newAdmission(nil, []string{"d8"}, nil)
	at := func(n int64) place { return place{n, n} }
	early, late, fresh := knownHead{90, at(5)}, knownHead{90, at(8)}, knownHead{103, at(20)}

	t.Run("one looks for more, others bring what is beyond", func(t *testing.T) {
		f := new(front)
		f.end(begin(f), all, said(true, 100, at(10), early), nil)
		more, brings := begin(f), begin(f)
		f.end(brings, all, said(false, 105, at(10), early, fresh), nil)
		after := begin(f)
		f.end(more, all, said(false, 100, everywhere, early), nil)
		f.end(after, all, said(false, 110, at(10), early), nil)
		if !f.knows(fresh) {
			t.Error("a head that came meanwhile is forgotten")
		}
	})
	t.Run("one looks for more, and what is before is forgotten for want of room", func(t *testing.T) {
		f := new(front)
		f.end(begin(f), all, said(true, 100, at(10), early, late), nil)
		more := f.begin(10, now, now, false, notLate)
		// More tenants and destinations than there is room for.
		f.of = map[name]int{{ofTenant, ""}: 1, {ofTenant, "other"}: 1, {ofDestination, "d5"}: 1, {ofDestination, "d8"}: 1}
		f.shrink(1)
		f.end(more, all, said(false, 100, everywhere, early), nil)
		if !f.knows(early) || !f.knows(late) {
			t.Error("a head is forgotten")
		}
	})
	t.Run("two look for more, and the one that began first ends last", func(t *testing.T) {
		f := new(front)
		f.end(begin(f), all, said(true, 100, at(10), early), nil)
		first, second := begin(f), begin(f)
		f.end(second, all, said(false, 105, at(15), early, fresh), nil)
		f.end(first, all, said(false, 101, at(30), early), nil)
		if !f.knows(fresh) {
			t.Error("a head that came meanwhile is forgotten")
		}
	})
	t.Run("one looks for more, and one that began before begins anew", func(t *testing.T) {
		f := new(front)
		f.end(begin(f), all, said(true, 100, at(10), early), nil)
		first, second := begin(f), begin(f)
		f.end(second, all, said(false, 105, at(30), early, fresh), nil)
		f.end(first, all, said(true, 101, at(30), early), nil)
		if !f.knows(fresh) {
			t.Error("a head that came meanwhile is forgotten")
		}
	})
	t.Run("one looks for more and knows what ripens first, and one that began before does not", func(t *testing.T) {
		f := new(front)
		f.end(begin(f), all, said(true, 100, at(10), early), nil)
		first, second := begin(f), begin(f)
		sooner, later := now+1000, now+2000
		r := said(false, 105, at(30), early)
		r.later, r.lease, r.next = &sooner, &sooner, &sooner
		f.end(second, all, r, nil)
		r = said(false, 101, at(10), early)
		r.later, r.lease, r.next = &later, &later, &later
		f.end(first, all, r, nil)
		if f.xmax > 101 && (f.later > sooner || f.lease > sooner || f.next > sooner) {
			t.Errorf("the next claim looks at what comes from transaction %d on, and for heads that ripen from %d on and leases that end from %d and %d on, want %d",
				f.xmax, f.later, f.lease, f.next, sooner)
		}
	})
	t.Run("one looks for what others left out, and others bring more of it", func(t *testing.T) {
		f := new(front)
		f.end(begin(f), all, said(true, 100, everywhere, early, late), nil)
		f.setAside(notLate, 0)
		if f.heads != 1 {
			t.Fatalf("%d heads are remembered, want only the one that the claim does not leave out", f.heads)
		}
		looks := begin(f)
		if looks.back == nil {
			t.Fatal("the first claim does not look for what was left out")
		}
		more := knownHead{103, place{8, 30}}
		brings := f.begin(10, now, now, false, notLate)
		f.end(brings, notLate, said(false, 105, everywhere, early, more), nil)
		after := f.begin(10, now, now, false, notLate)
		f.end(looks, all, said(false, 100, everywhere, early, late), nil)
		f.end(after, notLate, said(false, 110, everywhere, early), nil)
		if !f.knows(late) || !f.knows(more) {
			t.Error("a head is forgotten")
		}
		if len(f.aside) > 0 {
			t.Errorf("all was looked at, and %v is left", f.aside)
		}
	})
	t.Run("one looks for what others left out, which is left out again", func(t *testing.T) {
		f := new(front)
		f.end(begin(f), all, said(true, 100, everywhere, early, late), nil)
		f.setAside(notLate, 0)
		looks := begin(f)
		f.aside[name{ofDestination, "d8"}] = at(2)
		f.end(looks, all, said(false, 100, everywhere, early, late), nil)
		if !f.knows(knownHead{90, place{8, 3}}) {
			t.Error("a head is forgotten that came before the place from which the claim looked")
		}
	})
}

// What a claim leaves out gives way to what it does not, but for half of the room.
func TestWhatIsLeftOutKeepsHalfOfTheRoom(t *testing.T) {
	f := new(front)
	var heads []knownHead
	var except []string
	for i := range int64(12) {
		heads = append(heads, knownHead{90, place{i, i}})
		if i >= 6 {
			except = append(except, fmt.Sprint("d", i))
		}
	}
	now := time.Now().UnixMicro()
	a := newAdmission(nil, except, nil)
	f.end(f.begin(10, now, now, false, a), a, said(true, 100, everywhere, heads...), nil)
	f.setAside(a, 4)
	for i, h := range heads {
		if i < 8 && !f.knows(h) {
			t.Errorf("head %d is forgotten", i)
		}
	}
	if f.heads != 8 {
		t.Errorf("%d heads are remembered, want the six that the claim may take and two others", f.heads)
	}
}

// Of a lane with more heads than a claim is told of, it is told of the first.
func TestClaimsAreToldOfTheFirstHeads(t *testing.T) {
	f := new(front)
	a := newAdmission(nil, nil, nil)
	now := time.Now().UnixMicro()
	first := knownHead{90, place{8, 1}}
	var heads []knownHead
	for i := range int64(mostNamed) {
		heads = append(heads, knownHead{90, place{8, i + 2}})
	}
	f.end(f.begin(10, now, now, false, a), a, said(true, 100, everywhere, append(heads, first)...), nil)
	if c := f.begin(10, now, now, false, a); !slices.Contains(c.seqs, first.seq) {
		t.Errorf("a claim is told of %d heads, and not of the first", len(c.seqs))
	}
}
