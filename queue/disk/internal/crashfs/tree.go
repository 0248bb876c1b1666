package crashfs

import (
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// Tree is directories that are made in each other. One that was made since its
// parent was last synced may be gone after a power cut, with all that is in it.
type Tree struct {
	rng     *rand.Rand
	seen    map[string]bool
	durable map[string]bool
	cutAt   int // no call is done from this one on; 0 is never
	calls   int
}

var _ vfs.Tree = (*Tree)(nil)

// NewTree returns a tree with the directories given, which are saved.
func NewTree(seed uint64, dirs ...string) *Tree {
	t := &Tree{rng: rand.New(rand.NewPCG(seed, 7)), seen: map[string]bool{}, durable: map[string]bool{}}
	for _, d := range dirs {
		t.seen[d], t.durable[d] = true, true
	}
	return t
}

// CutAt cuts the power at the n-th call from the start, the first being 1.
func (t *Tree) CutAt(n int) { t.cutAt = n }

// Restart returns what the machine finds when the power is back. Where the power
// was not cut it does so too.
func (t *Tree) Restart() *Tree {
	var left []string
	lost := map[string]bool{}
	for _, d := range slices.Sorted(maps.Keys(t.seen)) { // parents first
		if lost[filepath.Dir(d)] || !t.durable[d] && t.rng.IntN(2) == 0 {
			lost[d] = true
			continue
		}
		left = append(left, d)
	}
	return NewTree(t.rng.Uint64(), left...)
}

// Kill ends the program but not the machine.
func (t *Tree) Kill() *Tree {
	g := NewTree(t.rng.Uint64())
	g.seen, g.durable = maps.Clone(t.seen), maps.Clone(t.durable)
	return g
}

// Has reports whether a directory is there.
func (t *Tree) Has(dir string) bool { return t.seen[dir] }

func (t *Tree) before() error {
	t.calls++
	if t.cutAt > 0 && t.calls >= t.cutAt {
		return ErrPowerCut
	}
	return nil
}

// Exists implements vfs.Tree.
func (t *Tree) Exists(dir string) (bool, error) { return t.seen[dir], t.before() }

// Mkdir implements vfs.Tree.
func (t *Tree) Mkdir(dir string) error {
	if err := t.before(); err != nil {
		return err
	}
	switch {
	case t.seen[dir]:
		return pathError("mkdir", dir, fs.ErrExist)
	case !t.seen[filepath.Dir(dir)]:
		return pathError("mkdir", dir, fs.ErrNotExist)
	}
	t.seen[dir] = true
	return nil
}

// SyncDir implements vfs.Tree.
func (t *Tree) SyncDir(dir string) error {
	if err := t.before(); err != nil {
		return err
	}
	if !t.seen[dir] {
		return pathError("syncdir", dir, fs.ErrNotExist)
	}
	for d := range t.seen {
		if filepath.Dir(d) == dir {
			t.durable[d] = true
		}
	}
	return nil
}
