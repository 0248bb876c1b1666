package tlsrpt_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
)

// TestStoresKeepTheContract holds both Stores to what Store says, rule by rule.
func TestStoresKeepTheContract(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) tlsrpt.Store{
		"Memory": func(*testing.T) tlsrpt.Store { return &tlsrpt.Memory{} },
		"Dir":    func(t *testing.T) tlsrpt.Store { return &tlsrpt.Dir{Path: filepath.Join(t.TempDir(), "new", "er")} },
	} {
		t.Run(name, func(t *testing.T) { contract(t, open) })
	}
}

func contract(t *testing.T, open func(t *testing.T) tlsrpt.Store) {
	const day = tlsrpt.Day(20000)
	tally := func(domain string, n uint64) []tlsrpt.Tally {
		return []tlsrpt.Tally{{Domain: domain, Policy: *stsPolicy(domain), Successes: n, Failures: 1, Details: []tlsrpt.Detail{
			{Failure: goldenTallies()[0].Details[0].Failure, Sessions: 1},
		}}}
	}
	ctx := context.Background()
	load := func(t *testing.T, s tlsrpt.Store, day tlsrpt.Day) (all []string) {
		t.Helper()
		tallies, err := s.Load(ctx, day)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range tallies {
			all = append(all, fmt.Sprintf("%s %d", one.Domain, one.Successes))
		}
		slices.Sort(all)
		return all
	}
	save := func(t *testing.T, s tlsrpt.Store, day tlsrpt.Day, counter string, tallies []tlsrpt.Tally) {
		t.Helper()
		if err := s.Save(ctx, day, counter, tallies); err != nil {
			t.Fatal(err)
		}
	}
	update := func(t *testing.T, s tlsrpt.Store, d tlsrpt.Delivery) (tlsrpt.Delivery, bool) {
		t.Helper()
		now, stored, err := s.Update(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		return now, stored
	}
	t.Run("Save takes the place of what that Counts saved before for that day", func(t *testing.T) {
		s := open(t)
		save(t, s, day, "a", tally("e.test", 1))
		save(t, s, day, "b", tally("e.test", 2))
		save(t, s, day+1, "a", tally("e.test", 3))
		save(t, s, day, "a", tally("f.test", 4))
		if got := load(t, s, day); !slices.Equal(got, []string{"e.test 2", "f.test 4"}) {
			t.Errorf("loaded are %q", got)
		}
	})
	t.Run("Load returns what was saved", func(t *testing.T) {
		s := open(t)
		if got := load(t, s, day); got != nil {
			t.Errorf("nothing is %q", got)
		}
		save(t, s, day, "a", tally("e.test", 1))
		got, err := s.Load(ctx, day)
		if err != nil || !reflect.DeepEqual(got, tally("e.test", 1)) {
			t.Errorf("loaded is %+v, %v", got, err)
		}
	})
	t.Run("Update stores the next revision alone", func(t *testing.T) {
		s := open(t)
		first := tlsrpt.Delivery{
			Day: day, Domain: "e.test", Revision: 1, Until: time.Unix(1e9, 0).UTC(), First: time.Unix(1e9-1, 0).UTC(), Attempts: 1,
			Taken: []string{"https://r.test/"}, Refused: []string{"mailto:a@e.test"}, Problems: []string{"x"},
		}
		if now, stored := update(t, s, tlsrpt.Delivery{Day: day, Domain: "e.test", Revision: 2}); stored || !reflect.DeepEqual(now, tlsrpt.Delivery{Day: day, Domain: "e.test"}) {
			t.Errorf("a revision 2 of nothing: %+v, %v", now, stored)
		}
		if now, stored := update(t, s, first); !stored || !reflect.DeepEqual(now, first) {
			t.Errorf("revision 1: %+v, %v", now, stored)
		}
		for _, revision := range []int{0, 1, 3} {
			if now, stored := update(t, s, tlsrpt.Delivery{Day: day, Domain: "e.test", Revision: revision}); stored || !reflect.DeepEqual(now, first) {
				t.Errorf("a revision %d of 1: %+v, %v", revision, now, stored)
			}
		}
		second := first
		second.Revision, second.Done = 2, true
		if now, stored := update(t, s, second); !stored || !now.Done {
			t.Errorf("revision 2: %+v, %v", now, stored)
		}
		for _, other := range []tlsrpt.Delivery{
			{Day: day + 1, Domain: "e.test", Revision: 1}, {Day: day, Domain: "f.test", Revision: 1}, {Day: day, Domain: "e.test.1", Revision: 1},
			{Day: day, Domain: strings.Repeat("long.", 50) + "test", Revision: 1}, {Day: day, Domain: "../" + day.String(), Revision: 1},
			{Day: day, Domain: "", Revision: 1},
		} {
			if now, stored := update(t, s, other); !stored || !reflect.DeepEqual(now, other) {
				t.Errorf("another report: %+v, %v", now, stored)
			}
			if now, stored := update(t, s, other); stored || !reflect.DeepEqual(now, other) {
				t.Errorf("another report again: %+v, %v", now, stored)
			}
		}
	})
	t.Run("of several who try the same revision one succeeds", func(t *testing.T) {
		s := open(t)
		for revision := 1; revision <= 20; revision++ {
			var all sync.WaitGroup
			won := make(chan int, 8)
			for i := range 8 {
				all.Go(func() {
					if now, stored, err := s.Update(ctx, tlsrpt.Delivery{Day: day, Domain: "e.test", Revision: revision, Attempts: i}); err != nil {
						t.Error(err)
					} else if stored {
						won <- i
					} else if now.Revision != revision {
						t.Errorf("who was late has revision %d of %d", now.Revision, revision)
					}
				})
			}
			all.Wait()
			if len(won) != 1 {
				t.Fatalf("%d have stored revision %d", len(won), revision)
			}
			winner := <-won
			if now, _ := update(t, s, tlsrpt.Delivery{Day: day, Domain: "e.test", Revision: revision}); now.Attempts != winner {
				t.Errorf("stored is %+v, of %d", now, winner)
			}
		}
	})
	t.Run("Forget removes days before one", func(t *testing.T) {
		s := open(t)
		for d := day; d < day+3; d++ {
			save(t, s, d, "a", tally("e.test", 1))
			update(t, s, tlsrpt.Delivery{Day: d, Domain: "e.test", Revision: 1})
		}
		if err := s.Forget(ctx, day+2); err != nil {
			t.Fatal(err)
		}
		for d := day; d < day+3; d++ {
			kept := d == day+2
			if got := load(t, s, d); (got != nil) != kept {
				t.Errorf("of %v there is %q", d, got)
			}
			if _, stored := update(t, s, tlsrpt.Delivery{Day: d, Domain: "e.test", Revision: 1}); stored == kept {
				t.Errorf("revision 1 of %v can be stored: %v", d, stored)
			}
		}
	})
	t.Run("nothing is shared with the caller", func(t *testing.T) {
		s := open(t)
		d := tlsrpt.Delivery{Day: day, Domain: "e.test", Revision: 1, Taken: []string{"a"}}
		update(t, s, d)
		d.Taken[0] = "b"
		now, _ := update(t, s, d)
		if now.Taken[0] != "a" {
			t.Errorf("stored is %+v", now)
		}
	})
}

func TestDirSurvivesRestartsAndDamage(t *testing.T) {
	const day = tlsrpt.Day(20000)
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "reports")
	open := func() *tlsrpt.Dir { return &tlsrpt.Dir{Path: path} }
	if err := open().Save(ctx, day, "a", []tlsrpt.Tally{{Domain: "e.test", Successes: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := open().Save(ctx, day, "b", []tlsrpt.Tally{{Domain: "f.test", Successes: 1}}); err != nil {
		t.Fatal(err)
	}
	if _, stored, err := open().Update(ctx, tlsrpt.Delivery{Day: day, Domain: "e.test", Revision: 1, Attempts: 1}); err != nil || !stored {
		t.Fatal(stored, err)
	}
	if now, stored, err := open().Update(ctx, tlsrpt.Delivery{Day: day, Domain: "e.test", Revision: 1}); err != nil || stored || now.Attempts != 1 {
		t.Errorf("after a restart: %+v, %v, %v", now, stored, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v, %v", info.Mode(), err)
	}
	files, err := filepath.Glob(filepath.Join(path, day.String(), "*"))
	if err != nil || len(files) != 3 {
		t.Errorf("the files are %q, %v", files, err)
	}
	for _, damage := range []string{"", "{", `{"version": 2}`, "null"} {
		for _, f := range files {
			if !strings.Contains(f, "counts.b.") {
				if err := os.WriteFile(f, []byte(damage), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		got, err := open().Load(ctx, day)
		if err != nil || len(got) != 1 || got[0].Domain != "f.test" {
			t.Errorf("beside a file of %q: %+v, %v", damage, got, err)
		}
		now, stored, err := open().Update(ctx, tlsrpt.Delivery{Day: day, Domain: "e.test", Revision: 1})
		if err != nil || stored || now.Revision != 1 || now.Done {
			t.Errorf("a claim of %q: %+v, %v, %v", damage, now, stored, err)
		}
	}
	if _, stored, err := open().Update(ctx, tlsrpt.Delivery{Day: day, Domain: "e.test", Revision: 2}); err != nil || !stored {
		t.Errorf("after damage: %v, %v", stored, err)
	}
	if err := os.WriteFile(filepath.Join(path, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open().Forget(ctx, day+1); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(path); err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestDirNeedsAPath(t *testing.T) {
	var d tlsrpt.Dir
	ctx := context.Background()
	_, loading := d.Load(ctx, 0)
	_, _, updating := d.Update(ctx, tlsrpt.Delivery{Revision: 1})
	for _, err := range []error{d.Save(ctx, 0, "a", nil), loading, updating, d.Forget(ctx, 0)} {
		if err == nil || !strings.Contains(err.Error(), "tlsrpt.Dir.Path") {
			t.Errorf("error is %v", err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	full := tlsrpt.Dir{Path: file}
	if err := full.Save(ctx, 0, "a", nil); err == nil {
		t.Error("it saves into what is no directory")
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	used := tlsrpt.Dir{Path: t.TempDir()}
	if err := used.Save(ctx, 0, "a", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := used.Load(gone, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}
