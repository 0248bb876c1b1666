package mtasts_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
)

// faultyStore is a Store whose methods fail while they are told to.
type faultyStore struct {
	mtasts.Memory
	load, save error
}

func (f *faultyStore) Load(ctx context.Context, domain string) (mtasts.Entry, error) {
	if f.load != nil {
		return mtasts.Entry{}, f.load
	}
	return f.Memory.Load(ctx, domain)
}

func (f *faultyStore) Save(ctx context.Context, e mtasts.Entry) error {
	if f.save != nil {
		return f.save
	}
	return f.Memory.Save(ctx, e)
}

// TestStoreThatCannotBeRead: if the store does not say whether a policy is in force, and
// none is fetched instead, this is known.
func TestStoreThatCannotBeRead(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *world, s *faultyStore)
		origin mtasts.Origin
		unread bool
	}{
		{"nothing is wrong", func(w *world, _ *faultyStore) { w.record("") }, mtasts.Cached, false},
		{"and there is no record", func(w *world, s *faultyStore) { s.load = errBroken; w.record("") }, mtasts.NoPolicy, true},
		{"and the record is not valid", func(w *world, s *faultyStore) { s.load = errBroken; w.record("v=STSv1;") }, mtasts.NoPolicy, true},
		{"and there is a record and a policy", func(_ *world, s *faultyStore) { s.load = errBroken }, mtasts.Fetched, false},
		{"and the policy host is down", func(w *world, s *faultyStore) { s.load = errBroken; w.down(true) }, mtasts.NoPolicy, true},
		{"and the policy is nonsense", func(w *world, s *faultyStore) { s.load = errBroken; w.serve("nonsense") }, mtasts.NoPolicy, true},
		{"since the entry is damaged, and there is no record", func(w *world, s *faultyStore) { s.load = mtasts.ErrDamaged; w.record("") }, mtasts.Fetched, false},
		{"since the entry is damaged, and nothing else is there", func(w *world, s *faultyStore) { s.load = mtasts.ErrDamaged; w.record(""); w.down(true) }, mtasts.NoPolicy, true},
	} {
		t.Run("TLS-17 "+c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				store := &faultyStore{}
				s := w.source()
				s.Store = store
				s.Find(t.Context(), "e.test")
				pass(time.Hour)
				restarted := w.source()
				restarted.Store = store
				c.change(w, store)
				found := restarted.Find(t.Context(), "e.test")
				if found.Origin != c.origin || (found.Unread != nil) != c.unread || c.unread && !errors.Is(found.Unread, store.load) {
					t.Errorf("found %v, unread: %v; want %v, unread: %t", found.Origin, found.Unread, c.origin, c.unread)
				}
				store.load = nil
				if found := restarted.Find(t.Context(), "e.test"); !found.Enforced() || found.Unread != nil {
					t.Errorf("once the store works again: %s", found.String())
				}
			})
		})
	}
	t.Run("TLS-17 a damaged entry is replaced by a fetch, which is not repeated for each message", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			dir := &mtasts.Dir{Path: t.TempDir()}
			s := w.source()
			s.Store = dir
			s.Find(t.Context(), "e.test")
			file := filepath.Join(dir.Path, "mta-sts.e.test.json")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			w.record("")
			w.down(true)
			s = w.source()
			s.Store = &mtasts.Dir{Path: dir.Path}
			for range 3 {
				if found := s.Find(t.Context(), "e.test"); !errors.Is(found.Unread, mtasts.ErrDamaged) || found.Err == nil {
					t.Errorf("while the policy host is down: %s", found.String())
				}
			}
			before := w.fetched()
			w.down(false)
			pass(5 * time.Minute)
			w.want(s.Find(t.Context(), "e.test"), mtasts.Fetched, mtasts.Enforce, before+1)
			w.want(s.Find(t.Context(), "e.test"), mtasts.Cached, mtasts.Enforce, before+1)
		})
	})
	t.Run("its context ended", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.record("")
			ctx, cancel := context.WithCancel(t.Context())
			s := w.source()
			s.Store = &faultyStore{load: context.Canceled}
			s.Trace = &mtasts.Trace{StoreFailed: func(_ string, err error) { t.Errorf("told of %v", err) }}
			cancel()
			if found := s.Find(ctx, "e.test"); !errors.Is(found.Unread, context.Canceled) {
				t.Errorf("found %s", found.String())
			}
		})
	})
}

// TestStoreThatCannotBeWritten: what was fetched is in force nevertheless, and is stored
// once the store works again, unless another agent has stored something newer.
func TestStoreThatCannotBeWritten(t *testing.T) {
	for _, newer := range []bool{false, true} {
		bubble(t, func(t *testing.T, w *world) {
			store := &faultyStore{save: errBroken}
			s := w.source()
			s.Store = store
			w.want(s.Find(t.Context(), "e.test"), mtasts.Fetched, mtasts.Enforce, 1)
			w.want(s.Find(t.Context(), "e.test"), mtasts.Live, mtasts.Enforce, 1)
			w.record("")
			w.down(true)
			pass(2 * time.Hour)
			w.want(s.Find(t.Context(), "e.test"), mtasts.Cached, mtasts.Enforce, 1)
			store.load = errBroken
			w.want(s.Find(t.Context(), "e.test"), mtasts.Cached, mtasts.Enforce, 1)
			store.load, store.save = nil, nil
			want := "1"
			if newer {
				e, err := s.Store.Load(t.Context(), "e.test")
				if err != nil || e.Domain != "" {
					t.Fatalf("stored is %+v, %v", e, err)
				}
				e = entry("e.test", "2")
				e.Fetched, e.Used = time.Now(), time.Now()
				if err := store.Save(t.Context(), e); err != nil {
					t.Fatal(err)
				}
				want = "2"
			}
			s.Refresh(t.Context())
			if e, err := store.Load(t.Context(), "e.test"); err != nil || e.ID != want {
				t.Errorf("stored is then %+v, %v, want the id %s", e, err, want)
			}
			other := w.source()
			other.Store = store
			for _, s := range []*mtasts.Source{s, other} {
				if found := s.Find(t.Context(), "e.test"); found.ID != want {
					t.Errorf("found %s", found.String())
				}
			}
		})
	}
}

// TestKeptInMemoryTooLong: a policy that could not be stored, and has expired, says nothing of
// what the store has, since other agents use it, too.
func TestKeptInMemoryTooLong(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		store := &faultyStore{save: errBroken}
		s := w.source()
		s.Store = store
		found := s.Find(t.Context(), "e.test")
		w.want(found, mtasts.Fetched, mtasts.Enforce, 1)
		pass(found.Policy.MaxAge + time.Minute)
		e := entry("e.test", "2")
		e.Fetched, e.Used, e.Policy.Mode = time.Now(), time.Now(), mtasts.Enforce
		if err := store.Memory.Save(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		w.record("")
		store.load = errBroken
		if found := s.Find(t.Context(), "e.test"); !errors.Is(found.Unread, errBroken) {
			t.Errorf("TLS-17 found %s", found.String())
		}
		store.load = nil
		if found := s.Find(t.Context(), "e.test"); found.ID != "2" || !found.Enforced() {
			t.Errorf("TLS-17 once the store works again: %s", found.String())
		}
	})
}

// TestClockAheadAndStoreThatCannotBeWritten: a policy that was stored while the clock was ahead
// counts from when that was seen first, although the store cannot be corrected.
func TestClockAheadAndStoreThatCannotBeWritten(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		store := &faultyStore{save: errBroken}
		e := entry("e.test", "1")
		e.Policy.Mode, e.Fetched = mtasts.Enforce, time.Now().AddDate(1, 0, 0)
		if err := store.Memory.Save(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		s := w.source()
		s.Store = store
		w.record("")
		for range 7 {
			w.want(s.Find(t.Context(), "e.test"), mtasts.Cached, mtasts.Enforce, 0)
			pass(day - time.Minute)
		}
		pass(time.Hour)
		if found := s.Find(t.Context(), "e.test"); found.Origin != mtasts.NoPolicy {
			t.Errorf("TLS-17 after its time: %s", found.String())
		}
	})
}

// TestManyUnreadableFiles: what is said of them stays short, as after a return to an older
// version, for which all are too new.
func TestManyUnreadableFiles(t *testing.T) {
	dir := &mtasts.Dir{Path: t.TempDir()}
	for i := range 1000 {
		if err := os.WriteFile(filepath.Join(dir.Path, fmt.Sprintf("mta-sts.d%d.test.json", i)), []byte(`{"version":2}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir.Path, "mta-sts._00.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := dir.Save(t.Context(), entry("e.test", "1")); err != nil {
		t.Fatal(err)
	}
	all, err := dir.List(t.Context(), "", 100)
	if len(all) != 1 || !errors.Is(err, mtasts.ErrDamaged) || len(err.Error()) > 1000 || !strings.Contains(err.Error(), "1000 other") {
		t.Errorf("listed are %d, %.2000v", len(all), err)
	}
}

// TestOneUnreadableFile does not keep the policies in the other files from being renewed,
// and is told of.
func TestOneUnreadableFile(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"damaged":        func(file string) error { return os.WriteFile(file, []byte("{"), 0o600) },
		"cannot be read": func(file string) error { return os.Mkdir(file, 0o700) },
		"of a long name": func(file string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(file), "mta-sts._00.json"), nil, 0o600)
		},
		"and one of that": func(file string) error { return os.Mkdir(filepath.Join(filepath.Dir(file), "mta-sts._00.json"), 0o700) },
	} {
		t.Run("TLS-23 "+name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				dir := &mtasts.Dir{Path: t.TempDir()}
				s := w.source()
				s.Store = dir
				s.Find(t.Context(), "e.test")
				if err := spoil(filepath.Join(dir.Path, "mta-sts.a.test.json")); err != nil {
					t.Fatal(err)
				}
				told := 0
				s.Trace = &mtasts.Trace{StoreFailed: func(string, error) { told++ }}
				pass(day)
				s.Refresh(t.Context())
				if w.fetched() != 2 || told == 0 {
					t.Errorf("it is fetched %d times, and told of %d times; want a second time, and told", w.fetched(), told)
				}
			})
		})
	}
}
