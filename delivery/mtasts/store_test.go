package mtasts_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/storetest"
)

// entry is an entry with something in every field.
func entry(domain, id string) mtasts.Entry {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return mtasts.Entry{Domain: domain, ID: id, Fetched: at, Used: at.Add(time.Hour), Policy: mtasts.Policy{
		Mode: mtasts.Testing, MX: []string{"*.e.test"}, MaxAge: 7 * day, Lines: []string{"version: STSv1"}, Notes: []string{"it has empty lines"},
	}}
}

func TestStores(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) mtasts.Store{
		"in memory":      func(*testing.T) mtasts.Store { return &mtasts.Memory{} },
		"in a directory": func(t *testing.T) mtasts.Store { return &mtasts.Dir{Path: filepath.Join(t.TempDir(), "a", "b")} },
	} {
		t.Run("TLS-17 "+name, func(t *testing.T) { storetest.RunPolicies(t, open) })
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := mtasts.Memory{MaxEntries: 100}
	for i := range 1000 {
		e := entry(fmt.Sprintf("d%03d.test", i), "1")
		e.Used = e.Used.Add(time.Duration(i) * time.Second)
		if err := m.Save(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if e, err := m.Load(t.Context(), e.Domain); err != nil || e.Domain == "" {
			t.Fatalf("what was saved is %+v, %v", e, err)
		}
	}
	all, err := m.List(t.Context(), "", 1000)
	if err != nil || len(all) > 100 || len(all) < 80 || all[0].Domain < "d900.test" {
		t.Errorf("%d are left, from %s, %v; want the last hundred or a few less", len(all), all[0].Domain, err)
	}
}

func TestDirOutlivesItsProcess(t *testing.T) {
	path := t.TempDir()
	if err := (&mtasts.Dir{Path: path}).Save(t.Context(), entry("a.test", "1")); err != nil {
		t.Fatal(err)
	}
	d := &mtasts.Dir{Path: path}
	if e, err := d.Load(t.Context(), "a.test"); err != nil || e.ID != "1" {
		t.Errorf("TLS-17 after a restart it has %+v, %v", e, err)
	}
	files, err := os.ReadDir(path)
	if err != nil || len(files) != 1 {
		t.Fatalf("the files are %v, %v", files, err)
	}
	name := filepath.Join(path, files[0].Name())
	if info, err := os.Stat(name); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v; want it 0600", info.Mode(), err)
	}
	for what, text := range map[string]string{
		"cut": "{\"version\":1,\"dom", "empty": "", "of a newer version": "{\"version\":2,\"domain\":\"a.test\"}", "another's": "{\"version\":1,\"domain\":\"b.test\"}",
		"of an unknown mode": "{\"version\":1,\"domain\":\"a.test\",\"policy\":{\"mode\":\"x\"}}",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d = &mtasts.Dir{Path: path}
		if e, err := d.Load(t.Context(), "a.test"); !errors.Is(err, mtasts.ErrDamaged) || e.Domain != "" || !strings.Contains(err.Error(), name) {
			t.Errorf("of a file that is %s it has %+v, %v, want an ErrDamaged that names it", what, e, err)
		}
		if all, err := d.List(t.Context(), "", 10); err == nil || len(all) > 0 {
			t.Errorf("of a file that is %s it lists %+v, %v", what, all, err)
		}
		old := time.Now().AddDate(-1, -1, 0)
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
		if e, err := d.Load(t.Context(), "a.test"); err != nil || e.Domain != "" {
			t.Errorf("of a file that is %s and so old that no policy in it is in force it has %+v, %v", what, e, err)
		}
		long := filepath.Join(path, "mta-sts._00.json") // of a name that is too long for one
		if err := os.Rename(name, long); err != nil {
			t.Fatal(err)
		}
		if all, err := d.List(t.Context(), "", 10); what != "another's" && (err != nil || len(all) > 0) {
			t.Errorf("of a file that is %s, that old and of a long name it lists %+v, %v", what, all, err)
		}
		if err := os.Remove(long); err != nil {
			t.Fatal(err)
		}
		if err := d.Save(t.Context(), entry("a.test", "3")); err != nil {
			t.Errorf("a file that is %s cannot be replaced: %v", what, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.List(ctx, "", 10); err == nil {
		t.Error("a list does not end with its context")
	}
}

// TestDirOfSeveralProcesses: what one stores or deletes the others see within ten seconds,
// and it sees at once itself.
func TestDirOfSeveralProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := t.TempDir()
		ours, theirs := &mtasts.Dir{Path: path}, &mtasts.Dir{Path: path}
		look := func(d *mtasts.Dir, want string) {
			t.Helper()
			if e, err := d.Load(t.Context(), "a.test"); err != nil || e.ID != want {
				t.Errorf("it has %+v, %v, want the id %q", e, err, want)
			}
		}
		look(ours, "")
		look(theirs, "")
		for _, id := range []string{"1", "2"} {
			if err := theirs.Save(t.Context(), entry("a.test", id)); err != nil {
				t.Fatal(err)
			}
			look(theirs, id)
			time.Sleep(10 * time.Second)
			look(ours, id)
		}
		if err := theirs.Delete(t.Context(), "a.test"); err != nil {
			t.Fatal(err)
		}
		look(theirs, "")
		time.Sleep(10 * time.Second)
		look(ours, "")
	})
}

func TestDirThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*mtasts.Dir{{}, {Path: filepath.Join(file, "below")}} {
		if err := d.Save(t.Context(), entry("a.test", "1")); err == nil {
			t.Errorf("in %q a policy is saved", d.Path)
		}
		if _, err := d.Load(t.Context(), "a.test"); err == nil && d.Path == "" {
			t.Errorf("in %q a policy is found", d.Path)
		}
		if _, err := d.List(t.Context(), "", 1); err == nil {
			t.Errorf("%q is listed", d.Path)
		}
		if err := d.Delete(t.Context(), "a.test"); err == nil {
			t.Errorf("in %q a policy is deleted", d.Path)
		}
	}
}

func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		store := &mtasts.Dir{Path: t.TempDir()}
		start := func() *mtasts.Source {
			s := w.source()
			s.Store = store
			return s
		}
		w.want(start().Find(t.Context(), "e.test"), mtasts.Fetched, mtasts.Enforce, 1)
		w.record("")
		w.down(true)
		pass(3 * day)
		w.want(start().Find(t.Context(), "e.test"), mtasts.Cached, mtasts.Enforce, 1)
		other := start()
		w.record("v=STSv1; id=1")
		w.want(other.Find(t.Context(), "e.test"), mtasts.Live, mtasts.Enforce, 1)
		pass(5 * day)
		w.record("")
		w.want(start().Find(t.Context(), "e.test"), mtasts.NoPolicy, mtasts.None, 1)
	})
}
