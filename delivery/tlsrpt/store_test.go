package tlsrpt_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/storetest"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
)

// TestStoresKeepTheContract holds both Stores to what Store says, rule by rule.
func TestStoresKeepTheContract(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) tlsrpt.Store{
		"Memory": func(*testing.T) tlsrpt.Store { return &tlsrpt.Memory{} },
		"Dir":    func(t *testing.T) tlsrpt.Store { return &tlsrpt.Dir{Path: filepath.Join(t.TempDir(), "new", "er")} },
	} {
		t.Run(name, func(t *testing.T) { storetest.RunReports(t, open) })
	}
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

// TestDirOfManyRevisions: the latest of any number of revisions is found, also by another
// process.
func TestDirOfManyRevisions(t *testing.T) {
	const day = tlsrpt.Day(20000)
	dir := t.TempDir()
	for revision := 1; revision <= 70; revision++ {
		d := tlsrpt.Delivery{Day: day, Domain: "to e.test", Revision: revision, Attempts: revision}
		if now, stored, err := (&tlsrpt.Dir{Path: dir}).Update(t.Context(), d); err != nil || !stored || now.Attempts != revision {
			t.Fatalf("revision %d: %+v, %t, %v", revision, now, stored, err)
		}
		for _, other := range []int{revision - 1, revision, revision + 2} {
			d.Revision = other
			if now, stored, err := (&tlsrpt.Dir{Path: dir}).Update(t.Context(), d); err != nil || stored || now.Revision != revision || now.Attempts != revision {
				t.Fatalf("revision %d after %d: %+v, %t, %v", other, revision, now, stored, err)
			}
		}
	}
}
