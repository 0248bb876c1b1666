package outcomes_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/outcomes"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

func at(n int) record.Place { return record.Place{Segment: 1, Offset: uint32(8 * n)} }

// kept are the places of all records that a log has, those of a file by what was saved in
// it.
func kept(l *outcomes.Log, files map[uint64][]record.Place, after record.Place) (list []record.Place) {
	parts, waiting := l.After(after, at(1<<20), 1<<20)
	for _, p := range parts {
		list = append(list, files[p.Number]...)
	}
	list = slices.DeleteFunc(list, func(p record.Place) bool { return p.Before(after) })
	for _, r := range waiting {
		list = append(list, r.At)
	}
	return list
}

// TestLog adds records, some of them out of order as a batch has them, saves some of those
// that wait, and loads the files into another log now and then. It has all records after
// those that were forgotten, and these are the oldest.
func TestLog(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		const most, keep = 40, 1000
		l := outcomes.New(keep, most)
		files := map[uint64][]record.Place{}
		var loaded []*outcomes.File
		var all []record.Place
		now := int64(0)
		for n := 1; n < 300; n += 2 {
			now += rng.Int64N(30) - 5
			order := []int{n, n + 1}
			if rng.IntN(3) == 0 {
				slices.Reverse(order)
			}
			for _, i := range order {
				l.Add(outcomes.Record{At: at(i), Time: now, Count: 1 + i%2, Head: make([]byte, 50)})
			}
			all = append(all, at(n), at(n+1))
			for rng.IntN(3) == 0 {
				f, list := l.Next(at(n - rng.IntN(4)))
				if f == nil {
					break
				}
				offs := make([]int64, len(list))
				for i := range offs {
					offs[i] = 1024 + 100*int64(len(files[f.Number]))
					files[f.Number] = append(files[f.Number], list[i].At)
				}
				if len(files[f.Number]) == len(list) {
					loaded = append(loaded, f)
				}
				l.Saved(f, list, offs, offs[len(offs)-1]+100)
			}
			for _, dead := range l.Dead() {
				delete(files, dead)
				loaded = slices.DeleteFunc(loaded, func(f *outcomes.File) bool { return f.Number == dead })
			}
			floor := l.Forgotten().At
			want := slices.Clone(all)
			want = slices.DeleteFunc(want, func(p record.Place) bool { return !floor.Before(p) })
			if got := kept(l, files, record.Place{}); !slices.Equal(got, want) {
				t.Fatalf("seed %d: %d records are kept, want the %d after %v", seed, len(got), len(want), floor)
			}
			if len(want) > most {
				t.Fatalf("seed %d: %d records of at least one outcome each are kept, want at most %d outcomes", seed, len(want), most)
			}
			if len(want) > 0 {
				i := rng.IntN(len(want))
				if got := kept(l, files, want[i]); !slices.Equal(got, want[i:]) {
					t.Fatalf("seed %d: from the record %d on there are %d, want %d", seed, i, len(got), len(want)-i)
				}
			}
			again := outcomes.New(keep, most)
			for _, f := range loaded {
				if !again.Load(f) {
					t.Fatalf("seed %d: a file with records is not loaded", seed)
				}
			}
			for _, p := range all { // the log has them all
				again.Replay(outcomes.Record{At: p, Time: now, Count: 1, Head: make([]byte, 50)})
			}
			if got := kept(again, files, floor); len(loaded) > 0 && !slices.Equal(got, want) {
				t.Fatalf("seed %d: %d records are known after a restart, want %d", seed, len(got), len(want))
			}
		}
	}
}

// TestWaitingIsBounded: while no record can be written, the oldest are forgotten before
// they take too much memory.
func TestWaitingIsBounded(t *testing.T) {
	l := outcomes.New(1<<40, 1<<40)
	for n := range 100 {
		l.Add(outcomes.Record{At: at(n + 1), Time: int64(n), Count: 1, Head: make([]byte, 1<<20)})
	}
	if w := l.Waiting(); w > 16<<20 || w < 14<<20 {
		t.Errorf("%d bytes wait, want up to 16 MiB", w)
	}
	if got := kept(l, nil, record.Place{}); got[len(got)-1] != at(100) || l.Forgotten().At.Before(at(80)) {
		t.Errorf("%v are kept, and %v is the last that was forgotten, want the newest", got, l.Forgotten())
	}
}

// TestMoved: records that stand elsewhere in the log are found there.
func TestMoved(t *testing.T) {
	l := outcomes.New(1000, 100)
	for n := range 4 {
		l.Add(outcomes.Record{At: at(n + 1), Count: 1})
	}
	l.Move(map[record.Place]record.Place{at(3): at(5), at(4): at(9)})
	if got := kept(l, nil, at(2)); !slices.Equal(got, []record.Place{at(2), at(5), at(9)}) {
		t.Errorf("the records are at %v", got)
	}
}
