package index_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// TestOneBigDestination does to each of very many deliveries for one destination
// what compaction, replay, holds, drops and late settlements do: what it costs must
// not grow with their number.
func TestOneBigDestination(t *testing.T) {
	const (
		many = 20_000
		most = 130 // steps for each; a million would take a third more
	)
	now := time.Unix(1e9, 0)
	rng := rand.New(rand.NewPCG(1, 1))
	x := index.New()
	slots := make([]index.Slot, many)
	list := make([]index.Entry, many)
	for n := range list {
		list[n] = index.Entry{Message: index.Number(uint64(n+1), 1), Destination: "big.example",
			Since: index.Micros(now) + rng.Int64N(1e9), Size: 100}
		slots[n] = x.Set(&list[n])
	}
	rng.Shuffle(many, func(i, j int) { list[i], list[j], slots[i], slots[j] = list[j], list[i], slots[j], slots[i] })
	for _, of := range []struct {
		what string
		do   func(n int)
	}{
		{"its record is moved", func(n int) { list[n].Record.Segment++; x.Set(&list[n]) }},
		{"it is deferred again", func(n int) { list[n].Since = index.Micros(now) + rng.Int64N(1e9); x.Set(&list[n]) }},
		{"it is put on hold", func(n int) { x.SetFlag(slots[n], index.Held, true) }},
		{"it is released", func(n int) { x.SetFlag(slots[n], index.Held, false) }},
		{"its lease ends and it is deferred", func(n int) {
			x.Lease(slots[n], 1, now, nil)
			x.Claim(now, index.Bounds{Max: 1}, func(index.Slot) { t.Fatal("nothing is due") })
			x.Set(&list[n])
			x.Unlease(slots[n])
		}},
		{"it is dropped", func(n int) { x.Remove(slots[n]) }},
	} {
		before := x.Steps()
		for n := range list {
			of.do(n)
		}
		if each := float64(x.Steps()-before) / many; each > most {
			t.Errorf("%s: %.0f steps each of %d, want at most %d", of.what, each, many, most)
		} else {
			t.Logf("%s: %.0f steps each", of.what, each)
		}
	}
	if x.Len() != 0 {
		t.Errorf("%d are left", x.Len())
	}
}

// TestPieces goes on with what takes long for so much at a time: what is asked for
// bounds what is done, however much waits.
func TestPieces(t *testing.T) {
	const (
		many  = 10_000
		piece = 100
	)
	now := time.Unix(1e9, 0)
	fill := func(destination func(n int) string, number func(n int) uint64) *index.Index {
		x := index.New()
		for n := range many {
			x.Set(&index.Entry{Message: number(n), Destination: destination(n), Since: index.Micros(now) + int64(n)})
		}
		return x
	}
	one := func(int) string { return "big.example" }
	each := func(n int) string { return fmt.Sprintf("d%d.example", n) }
	ordinal := func(n int) uint64 { return index.Number(uint64(n+1), 1) }
	wide := func(int) uint64 { return index.Number(1, many) }
	for _, of := range []struct {
		what string
		x    *index.Index
		f    index.Flushing
	}{
		{"a flush of a big destination", fill(one, ordinal), index.Flushing{Destination: "big.example"}},
		{"a flush of everything at one destination", fill(one, ordinal), index.Flushing{}},
		{"a flush of many destinations", fill(each, ordinal), index.Flushing{}},
		{"a flush of a wide message", fill(each, wide), index.Flushing{Message: wide(0)}},
	} {
		t.Run(of.what, func(t *testing.T) {
			x, f := of.x, &of.f
			f.Since = index.Micros(now) - 1
			pieces := 0
			for done := false; !done; pieces++ {
				before := x.Steps()
				done = x.Flush(f, piece)
				if n := x.Steps() - before; n > 150*piece {
					t.Fatalf("a piece of %d took %d steps", piece, n)
				}
			}
			if f.Count != many || pieces > 3*many/piece {
				t.Errorf("%d flushed in %d pieces, want %d", f.Count, pieces, many)
			}
			got := 0
			x.Claim(now, index.Bounds{Max: 2 * many}, func(s index.Slot) {
				got++
				x.Lease(s, 1, now.Add(time.Hour), nil)
			})
			if got != many {
				t.Errorf("%d are due, want %d", got, many)
			}
		})
	}
	t.Run("a page of the list, from the middle", func(t *testing.T) {
		x := fill(one, ordinal)
		before := x.Steps()
		list, last, more := x.List(nil, ordinal(many/2), piece, "")
		if len(list) != piece || list[0] != ordinal(many/2+1) || last != list[piece-1] || !more {
			t.Errorf("a page of %d messages from %d on", len(list), list[0])
		}
		if n := x.Steps() - before; n > 20*piece {
			t.Errorf("a page of %d took %d steps", piece, n)
		}
	})
	t.Run("a flush of one destination among many", func(t *testing.T) {
		x := fill(each, ordinal)
		before := x.Steps()
		for n := range piece {
			f := index.Flushing{Destination: each(n)}
			if !x.Flush(&f, piece) || f.Count != 1 {
				t.Fatalf("%d flushed of %s", f.Count, each(n))
			}
		}
		if n := x.Steps() - before; n > 20*piece {
			t.Errorf("%d flushes took %d steps", piece, n)
		}
	})
}

// TestAdvanceInPieces has very many deliveries become due at one moment, by their own
// time, by the end of their lease and by that of a postponement: finding them is done
// in pieces of the size asked for.
func TestAdvanceInPieces(t *testing.T) {
	const (
		many  = 10_000
		piece = 100
	)
	now := time.Unix(1e9, 0)
	later := now.Add(time.Hour)
	each := func(n int) string { return fmt.Sprintf("d%d.example", n) }
	for what, set := range map[string]func(x *index.Index, n int){
		"by its time": func(x *index.Index, n int) {
			x.Set(&index.Entry{Message: index.Number(uint64(n+1), 1), Destination: each(n), Since: index.Micros(later)})
		},
		"by its destination's": func(x *index.Index, n int) {
			x.Set(&index.Entry{Message: index.Number(uint64(n+1), 1), Destination: each(n), AtOnce: true})
			x.Postpone(index.Postponement{Name: each(n), Until: later})
		},
		"by one owner's": func(x *index.Index, n int) {
			x.Set(&index.Entry{Message: index.Number(uint64(n+1), 1), Destination: each(n), AtOnce: true})
			x.Park("me", each(n), later)
		},
		"by its lease": func(x *index.Index, n int) {
			x.Lease(x.Set(&index.Entry{Message: index.Number(uint64(n+1), 1), Destination: "big.example"}), 1, later, nil)
		},
	} {
		t.Run(what, func(t *testing.T) {
			x := index.New()
			for n := range many {
				set(x, n)
			}
			bounds := index.Bounds{Max: 2 * many, Owner: "me"}
			x.Claim(now, bounds, func(index.Slot) { t.Fatal("something is due too early") })
			pieces := 1
			for x.Advance(later, piece) {
				pieces++
			}
			if pieces <= many/piece || pieces > many/piece+2 {
				t.Errorf("%d pieces of %d for %d deliveries", pieces, piece, many)
			}
			got := 0
			x.Claim(later, bounds, func(s index.Slot) { got++; x.Lease(s, 1, later.Add(time.Hour), nil) })
			if got != many {
				t.Errorf("%d are due, want %d", got, many)
			}
		})
	}
}

// TestSurveyInPieces counts many destinations in pieces, a page at a time.
func TestSurveyInPieces(t *testing.T) {
	const (
		many  = 3000
		piece = 70
		page  = 1000
	)
	x := index.New()
	name := func(n int) string { return fmt.Sprintf("d%04d.example", n) }
	for n := range 3 * many {
		x.Set(&index.Entry{Message: index.Number(uint64(3*many-n), 1), Destination: name(n % many), AtOnce: true, Size: 10})
	}
	after, seen := "", 0
	for range many / page {
		v := &index.Survey{After: after, Max: page}
		pieces := 1
		for x.Count(v, piece) {
			if pieces++; len(v.List) > 2*page {
				v.Sort()
			}
		}
		v.Sort()
		v.SeekOldest()
		for x.Oldest(v, piece) {
			pieces++
		}
		if least := (many + 3*many) / piece; len(v.List) != page || pieces < least {
			t.Fatalf("a page of %d in %d pieces, want %d in at least %d", len(v.List), pieces, page, least)
		}
		for _, c := range v.List {
			want := index.Count{Name: name(seen), Deliveries: 3, Bytes: 30, Oldest: index.Number(uint64(many-seen), 1)}
			if c.Name != want.Name || c.Deliveries != want.Deliveries || c.Bytes != want.Bytes || c.Oldest != want.Oldest {
				t.Fatalf("counted %+v, want %+v", c, want)
			}
			seen++
		}
		after = v.List[page-1].Name
	}
}
