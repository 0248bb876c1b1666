package disk

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// recorder is a directory of the system that knows what is not saved in it.
type recorder struct {
	vfs.FS
	mu    sync.Mutex
	files map[string]bool // written to since they were synced
	names []string        // made, renamed or removed since the directory was
	syncs int
}

func (r *recorder) note(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

func (r *recorder) Create(name string) (vfs.File, error) {
	f, err := r.FS.Create(name)
	r.note(func() { r.names = append(r.names, name) })
	return &recorded{f, r, name}, err
}

func (r *recorder) Open(name string, write bool) (vfs.File, error) {
	f, err := r.FS.Open(name, write)
	return &recorded{f, r, name}, err
}

func (r *recorder) Rename(from, to string) error {
	r.note(func() { r.names, r.files[to] = append(r.names, to), r.files[from] })
	return r.FS.Rename(from, to)
}

func (r *recorder) SyncDir() error {
	err := r.FS.SyncDir()
	r.note(func() { r.names = nil })
	return err
}

// unsaved is what would not survive a power cut.
func (r *recorder) unsaved() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, is := range r.files {
		if is {
			list = append(list, name)
		}
	}
	return append(list, r.names...)
}

type recorded struct {
	vfs.File
	r    *recorder
	name string
}

func (f *recorded) WriteAt(p []byte, off int64) (int, error) {
	f.r.note(func() { f.r.files[f.name] = true })
	return f.File.WriteAt(p, off)
}

func (f *recorded) Truncate(size int64) error {
	f.r.note(func() { f.r.files[f.name] = true })
	return f.File.Truncate(size)
}

func (f *recorded) Sync() error {
	err := f.File.Sync()
	f.r.note(func() { f.r.files[f.name] = false; f.r.syncs++ })
	return err
}

// TestNothingIsAnsweredBeforeItIsSaved looks at what is not saved at each return of
// a call that promises that what it did is.
func TestNothingIsAnsweredBeforeItIsSaved(t *testing.T) {
	t.Run("QUE-2 stable storage before success", func(t *testing.T) {
		ctx, now := context.Background(), time.Unix(1e9, 0)
		r := &recorder{FS: vfs.OS(t.TempDir()), files: map[string]bool{}}
		s, err := openByHand(r, small())
		must(t, err)
		defer s.Close()
		check := func(what string, err error) {
			t.Helper()
			must(t, err)
			if list := r.unsaved(); len(list) > 0 {
				t.Errorf("%s returned, and %v is not saved", what, list)
			}
		}
		for i := range 60 {
			m := textMessage(strings.Repeat("x", []int{10, 1000, 9000}[i%3]))
			m.Guarantee = queue.Guarantee(i % 2)
			before := r.syncs
			id, err := s.Put(ctx, now, m)
			check("Put", err)
			if r.syncs == before {
				t.Error("Put returned without a sync")
			}
			if i%5 == 0 {
				check("Hold", s.Hold(ctx, id))
				check("Release", s.Release(ctx, id))
			}
			c, err := s.Claim(ctx, now, queue.ClaimOptions{})
			must(t, err)
			lease := c.Deliveries[0].Lease
			check("Mark", s.Mark(ctx, []queue.Lease{lease}))
			if i%7 == 0 {
				check("Drop", s.Drop(ctx, id))
				continue
			}
			_, err = s.Settle(ctx, now, []queue.Settlement{{Lease: lease, Results: []queue.Result{{Outcome: queue.Failed}},
				Create: []*queue.Message{textMessage(fmt.Sprint("report ", i))}}})
			check("Settle with a message", err)
			c, err = s.Claim(ctx, now, queue.ClaimOptions{})
			must(t, err)
			_, err = s.Settle(ctx, now, []queue.Settlement{{Lease: c.Deliveries[0].Lease, Results: []queue.Result{{Outcome: queue.Delivered}}}})
			must(t, err)
			if i%20 == 19 {
				must(t, s.takeCheckpoint(ctx))
				must(t, s.maintain(ctx))
			}
		}
		if s.nextSegment < 4 {
			t.Error("no second segment was begun")
		}
	})
	t.Run("QUE-2 the directory, too, is in its parent", func(t *testing.T) {
		top := t.TempDir()
		tree := &recordedTree{Tree: vfs.OSTree()}
		dir := filepath.Join(top, "a", "b")
		s, err := openIn(tree, dir, Options{})
		must(t, err)
		defer s.Close()
		a := filepath.Join(top, "a")
		if want := []string{"sync " + filepath.Dir(top), "mkdir " + a, "sync " + top, "mkdir " + dir, "sync " + a}; !slices.Equal(tree.calls, want) {
			t.Errorf("Open did %v, want %v", tree.calls, want)
		}
	})
}

// recordedTree records what is done to directories.
type recordedTree struct {
	vfs.Tree
	calls []string
}

func (r *recordedTree) Mkdir(dir string) error {
	r.calls = append(r.calls, "mkdir "+dir)
	return r.Tree.Mkdir(dir)
}

func (r *recordedTree) SyncDir(dir string) error {
	r.calls = append(r.calls, "sync "+dir)
	return r.Tree.SyncDir(dir)
}
