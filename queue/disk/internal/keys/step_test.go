package keys_test

import (
	"runtime"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/keys"
)

// TestNoStepIsLong fills a generation: what one key more, or what was saved, takes must
// not depend on how many there are. What is moved is moved to new memory, so that tells.
func TestNoStepIsLong(t *testing.T) {
	const many, some, most = 40_000, 32, 64 << 10
	k := keys.New(1<<40, 4_000_000)
	var before, after runtime.MemStats
	allocated := func(do func()) uint64 {
		runtime.ReadMemStats(&before)
		do()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	for from := uint64(0); from < many; from += some {
		bytes := allocated(func() {
			for i := from; i < from+some; i++ {
				k.Add(keys.Entry{Hash: hash(i), Message: i + 1, Left: 1})
			}
		})
		if bytes > most {
			t.Fatalf("the %d keys from %d on have %d bytes moved, want at most %d", some, from, bytes, most)
		}
	}
	g := k.Unsaved()[0]
	n := 0
	if bytes := allocated(func() { n = count(g.Pending()) }); n != many || bytes > most {
		t.Errorf("what is to be saved is %d keys and takes %d bytes, want %d and at most %d", n, bytes, many, most)
	}
	for i := range uint64(many) { // meanwhile
		k.Add(keys.Entry{Hash: hash(many + i), Message: many + i + 1, Left: 1})
	}
	if bytes := allocated(func() { g.Saved(many, []keys.Piece{{Off: 1}}) }); bytes > most {
		t.Errorf("when they have been saved %d bytes are moved, want at most %d", bytes, most)
	}
	for _, i := range []uint64{0, many - 1} {
		if _, list := k.Find(hash(i), 1); len(list) == 0 || list[0].At != int(i) {
			t.Errorf("key %d is looked for in %v", i, list)
		}
	}
	for _, i := range []uint64{many, many + 1, 2*many - 1} {
		if found, _ := k.Find(hash(i), 1); found == nil || found.Message != i+1 {
			t.Errorf("key %d, which was added meanwhile, is %v", i, found)
		}
	}
}

// count is how many entries are in pieces.
func count(pieces [][]keys.Entry) (n int) {
	for _, p := range pieces {
		n += len(p)
	}
	return n
}
