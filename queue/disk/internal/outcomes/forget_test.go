package outcomes_test

import (
	"slices"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/outcomes"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// one is a record of some outcomes of a time.
func one(n int, time int64, count int) outcomes.Record {
	return outcomes.Record{At: at(n), Time: time, Count: count, Head: make([]byte, 50)}
}

// save has all that waits up to a place saved, and returns the files that were made.
func save(l *outcomes.Log, before record.Place) (made []*outcomes.File) {
	for {
		f, list := l.Next(before)
		if f == nil {
			return made
		}
		if f.End == 0 {
			made = append(made, f)
		}
		offs := make([]int64, len(list))
		end := max(f.End, 1024)
		for i := range offs {
			offs[i] = end
			end += 100
		}
		l.Saved(f, list, offs, end)
	}
}

// places are where the records of a log are that wait.
func places(l *outcomes.Log) (list []record.Place) {
	_, waiting := l.After(record.Place{}, at(1<<20), 1<<20)
	for _, r := range waiting {
		list = append(list, r.At)
	}
	return list
}

// TestAllThatIsOldIsForgotten adds a record long after others, some of them in files: all of
// those are forgotten at once, and it never is, however many outcomes it has.
func TestAllThatIsOldIsForgotten(t *testing.T) {
	for _, late := range []int64{999, 1000, 5000} {
		l := outcomes.New(1000, 32)
		for n := 1; n <= 5; n++ {
			l.Add(one(n, 0, 2))
		}
		files := len(save(l, at(4))) // the first three
		for n := 6; n <= 8; n++ {
			l.Add(one(n, 0, 2))
		}
		before := l.Waiting()
		l.Add(one(9, late, 2))
		each := before / 5
		want, dead, waiting := record.Before{At: at(8), Count: 2}, files, each
		if late < 1000 {
			want, dead, waiting = record.Before{}, 0, before+each
		}
		if got := l.Forgotten(); got != want || l.Waiting() != waiting {
			t.Errorf("after %d: %v is the last that was forgotten, and %d bytes wait, want %v and %d", late, got, l.Waiting(), want, waiting)
		}
		if got := len(l.Dead()); got != dead {
			t.Errorf("after %d: %d files are not needed, want %d", late, got, dead)
		}
		if got := len(l.Dead()); got != 0 {
			t.Errorf("%d files are named again", got)
		}
	}
}

// TestNoMoreThanAreKept adds records until there are as many outcomes as are kept, and one
// more: no more than the oldest are forgotten.
func TestNoMoreThanAreKept(t *testing.T) {
	for _, saved := range []int{0, 4, 8} {
		l := outcomes.New(1000, 16)
		for n := 1; n <= 8; n++ {
			l.Add(one(n, 0, 2))
		}
		save(l, at(saved+1))
		l.Add(one(9, 0, 0))
		if got := l.Forgotten(); got != (record.Before{}) {
			t.Errorf("%d in files: %v was forgotten of as many as are kept", saved, got)
		}
		l.Add(one(10, 0, 1))
		if got := l.Forgotten(); got != (record.Before{At: at(1), Count: 2}) {
			t.Errorf("%d in files: %v is the last that was forgotten, want the first of all", saved, got)
		}
		l.Add(one(11, 0, 1)) // for which there is room now
		if got := l.Forgotten(); got.At != at(1) {
			t.Errorf("%d in files: %v is the last that was forgotten, want the first of all still", saved, got)
		}
		l.Add(one(12, 0, 100))
		if got := places(l); !slices.Equal(got, []record.Place{at(12)}) {
			t.Errorf("%d in files: %v are left beside one with more than are kept", saved, got)
		}
	}
}

// TestForgottenWhileItIsSaved has a record be forgotten between Next and Saved: it is in the
// file nevertheless, and counts as long as the file is there.
func TestForgottenWhileItIsSaved(t *testing.T) {
	for _, all := range []bool{false, true} {
		l := outcomes.New(1000, 8)
		for n := 1; n <= 4; n++ {
			l.Add(one(n, 0, 2))
		}
		f, list := l.Next(at(1 << 10))
		if !all {
			list = list[:1]
		}
		l.Add(one(5, 0, 2)) // and the first goes
		offs := make([]int64, len(list))
		for i := range offs {
			offs[i] = 1024 + 100*int64(i)
		}
		l.Saved(f, list, offs, 2048)
		want := []record.Place{at(2), at(3), at(4), at(5)}[len(list)-1:]
		if got := places(l); !slices.Equal(got, want) {
			t.Errorf("%v wait, want %v", got, want)
		}
		l.Add(one(6, 0, 0))
		if len(l.Dead()) != 1 || l.Forgotten().At != list[len(list)-1].At {
			t.Errorf("%v is the last that was forgotten, want the last of the file", l.Forgotten())
		}
	}
}

// TestWaitingBesideFiles: the oldest that waits is forgotten for lack of memory before
// older ones that are in files.
func TestWaitingBesideFiles(t *testing.T) {
	l := outcomes.New(1000, 1000)
	l.Add(one(1, 0, 1))
	save(l, at(2))
	big := func(n int, size int) outcomes.Record {
		r := one(n, 500, 1)
		r.Head = make([]byte, size)
		return r
	}
	l.Add(big(2, 15<<20))
	l.Add(big(3, 2<<20))
	if got := places(l); !slices.Equal(got, []record.Place{at(3)}) || l.Forgotten().At != at(2) || len(l.Dead()) > 0 {
		t.Errorf("%v wait, %v is forgotten, want the second", got, l.Forgotten())
	}
	l.Add(big(4, 17<<20))
	if got := places(l); !slices.Equal(got, []record.Place{at(4)}) {
		t.Errorf("%v wait, want the last, which is too large for any other beside it", got)
	}
	l.Add(big(5, 0))
	l.Add(big(6, 8<<20))
	l.Add(big(7, 8<<20-3*48)) // so that it is 16 MiB
	if got := places(l); !slices.Equal(got, []record.Place{at(5), at(6), at(7)}) {
		t.Errorf("%v wait, want the last three", got)
	}
	l.Add(big(8, 8<<20)) // for which more than one goes
	if got := places(l); !slices.Equal(got, []record.Place{at(7), at(8)}) {
		t.Errorf("%v wait, want the last two", got)
	}
	late := big(9, 0)
	late.Time = 1000
	l.Add(late)
	if got := l.Forgotten().At; len(l.Dead()) != 1 || got.Before(at(6)) {
		t.Errorf("%v is the last that was forgotten after an older one in a file", got)
	}
	alone := outcomes.New(1000, 1000)
	alone.Add(big(1, 6<<20))
	alone.Add(big(2, 6<<20))
	alone.Add(big(3, 15<<20))
	if got := places(alone); !slices.Equal(got, []record.Place{at(3)}) {
		t.Errorf("without files %v wait, want the last", got)
	}
	if l.Waiting() <= 0 {
		t.Errorf("a record takes %d bytes", l.Waiting())
	}
}

// TestFilesOfALog: a file takes a sixteenth of what is kept, by number and by time, and no
// more than 8 MiB, or one record.
func TestFilesOfALog(t *testing.T) {
	for name, c := range map[string]struct {
		max   int
		keep  int64
		every int64 // the time between records
		count int
		size  int
		want  int // records in the first file
	}{
		"by number":             {160, 1 << 40, 1, 1, 50, 10},
		"by more than one each": {160, 1 << 40, 1, 3, 50, 4}, // nine are less than ten
		"by time":               {1 << 20, 1600, 10, 1, 50, 10},
		"by no time":            {1 << 20, 10, 1, 1, 50, 1},
		"by size":               {1 << 20, 1 << 40, 1, 1, 3 << 20, 3},
		"of large records":      {1 << 20, 1 << 40, 1, 1, 9 << 20, 1},
		"of more than it takes": {1, 1 << 40, 1, 5, 50, 1},
	} {
		for _, atOnce := range []bool{false, true} {
			if atOnce && c.keep < 1<<30 {
				continue // what waits long enough is in one file
			}
			l := outcomes.New(c.keep, c.max)
			per := map[uint64]int{}
			for n := 1; n <= 12 && len(per) < 3; n++ {
				l.Add(outcomes.Record{At: at(n), Time: int64(n) * c.every, Count: c.count, Head: make([]byte, c.size)})
				if atOnce && (n < 12 && l.Waiting() < 12<<20) {
					continue
				}
				for f, list := l.Next(at(n + 1)); f != nil; f, list = l.Next(at(n + 1)) {
					end := max(f.End, 1024)
					offs := make([]int64, len(list))
					for i := range offs {
						offs[i] = end
						end += int64(len(list[i].Head)) + 48
					}
					per[f.Number] += len(list)
					l.Saved(f, list, offs, end)
				}
			}
			if per[1] != c.want {
				t.Errorf("%s, at once %v: the first file has %d records, want %d", name, atOnce, per[1], c.want)
			}
		}
	}
}

// TestFileOfExactlySoMuch: a file that has 8 MiB takes no more.
func TestFileOfExactlySoMuch(t *testing.T) {
	l := outcomes.New(1<<40, 1<<20)
	for n := 1; n <= 2; n++ {
		l.Add(outcomes.Record{At: at(n), Count: 1, Head: make([]byte, 8<<20-48)})
	}
	f, list := l.Next(at(9))
	if len(list) != 1 {
		t.Fatalf("%d records for a file of 8 MiB, want 1", len(list))
	}
	l.Saved(f, list, []int64{0}, 8<<20)
	if next, list := l.Next(at(9)); next == f || len(list) != 1 {
		t.Errorf("a file of 8 MiB takes more")
	}
}

// TestNewestOfAFile: a file stays while the newest in it is not too old, even if that is not
// its last.
func TestNewestOfAFile(t *testing.T) {
	l := outcomes.New(1600, 1<<10)
	l.Add(one(1, 560, 1))
	l.Add(one(2, 600, 1))
	l.Add(one(3, 500, 1))
	save(l, at(4))
	l.Add(one(4, 2199, 1))
	if got := l.Forgotten(); got != (record.Before{}) {
		t.Errorf("%v is forgotten, and the newest of its file is not too old", got)
	}
	l.Add(one(5, 2200, 1))
	if got := l.Forgotten().At; got != at(3) {
		t.Errorf("%v is the last that was forgotten, want the last of the file", got)
	}
}

// TestOutcomesAreKeptForAWhile: they are kept if they are for some time.
func TestOutcomesAreKeptForAWhile(t *testing.T) {
	for keep, want := range map[int64]bool{-1: false, 0: false, 1: true} {
		if got := outcomes.New(keep, 1).Keeps(); got != want {
			t.Errorf("outcomes are kept for %d: %v", keep, got)
		}
	}
}

// TestLostBeforeTheFirst has files be lost, and what comes next be a file, a record in the
// log or a new one.
func TestLostBeforeTheFirst(t *testing.T) {
	for what, next := range map[string]func(l *outcomes.Log){
		"a file": func(l *outcomes.Log) {
			f := &outcomes.File{Number: 3, End: 2048}
			f.LoadBefore(record.Before{At: at(5)})
			f.LoadRecord(at(6), 0, 1, 1024)
			l.Load(f)
		},
		"a record in the log": func(l *outcomes.Log) { l.Replay(one(5, 0, 1)) },
		"a new one":           func(l *outcomes.Log) { l.Add(one(5, 0, 1)) }, // with which this life of the log begins
	} {
		l := outcomes.New(1000, 10)
		l.Lost()
		next(l)
		want := at(5)
		if what == "a new one" {
			want = at(0)
		}
		if got := l.Forgotten().At; got != want {
			t.Errorf("%s: %v is the last that was forgotten, want %v", what, got, want)
		}
		if (l.Waiting() > 0) == (what == "a file") {
			t.Errorf("%s: %d bytes wait", what, l.Waiting())
		}
	}
}

// TestLostFiles loads what is left of several files, and then the log: all up to what comes
// next counts as forgotten, and no more.
func TestLostFiles(t *testing.T) {
	l := outcomes.New(1<<40, 32)
	for n := 1; n <= 12; n++ {
		l.Add(one(n, int64(n), 1))
	}
	files := save(l, at(9)) // two in each
	if len(files) != 4 {
		t.Fatalf("%d files, want 4", len(files))
	}
	for lost := range 4 {
		again := outcomes.New(1<<40, 32)
		for i, f := range files {
			if i != lost {
				again.Load(f)
			}
		}
		if lost == 3 {
			again.Lost() // what tells the others is the next file
		}
		for n := 1; n <= 12; n++ {
			again.Replay(one(n, int64(n), 1))
		}
		want := at(2 * (lost + 1))
		if lost == 3 { // the log has them, as far as it goes
			want = at(7)
		}
		if got := again.Forgotten().At; got != want {
			t.Errorf("without file %d: %v is the last that was forgotten, want %v", lost+1, got, want)
		}
		again.Add(one(13, 13, 30))
		if got := again.Forgotten().At; got == want {
			t.Errorf("without file %d: what was found in the log does not count", lost+1)
		}
	}
	all := outcomes.New(1<<40, 32)
	for _, f := range files {
		all.Load(f)
	}
	if empty := (&outcomes.File{Number: 9}); all.Load(empty) {
		t.Error("a file without records is loaded")
	}
	all.Replay(one(10, 10, 1))
	all.Add(one(11, 99, 1))
	if got := all.Forgotten(); got != (record.Before{}) {
		t.Errorf("%v is forgotten, and nothing was lost", got)
	}
	all.Add(one(12, 99, 30))
	if made := save(all, at(20)); len(made) == 0 || made[0].Number != 10 {
		t.Errorf("%v are new files, want number 10 first", made)
	}
}

// TestAfter: the parts of files begin not much before a place, and what waits is returned up
// to a number.
func TestAfter(t *testing.T) {
	l := outcomes.New(1<<40, 1<<20)
	var offs []int64
	for n := 1; n <= 40; n++ {
		l.Add(one(n, 0, 1))
	}
	f, list := l.Next(at(31))
	for i := range list {
		offs = append(offs, 1024+4<<10*int64(i))
	}
	l.Saved(f, list, offs, 1<<20)
	for n := 1; n <= 30; n++ {
		parts, _ := l.After(at(n), at(100), 0)
		own := offs[n-1]
		if len(parts) != 1 || parts[0].From > own || parts[0].From <= own-16<<10 || parts[0].End != 1<<20 {
			t.Errorf("the record %d is at %d, and the part is %v", n, own, parts)
		}
	}
	for most := range 5 {
		parts, waiting := l.After(at(33), at(36), most)
		if want := min(most, 3); len(parts) != 0 || len(waiting) != want || want > 0 && waiting[0].At != at(33) {
			t.Errorf("at most %d: %v and %d records, want %d", most, parts, len(waiting), want)
		}
	}
}
