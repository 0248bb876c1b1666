package keys_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/keys"
)

func TestEntryInAFile(t *testing.T) {
	want := keys.Entry{Hash: hash(1), Message: 1 << 40, Left: -5}
	b := want.Append([]byte("before"))[len("before"):]
	if got := keys.Parse(b); len(b) != keys.EntrySize || got != want {
		t.Errorf("%d bytes, read as %+v, want %+v", len(b), got, want)
	}
}

// TestNothingIsRemembered has a bound of no keys, or of no time.
func TestNothingIsRemembered(t *testing.T) {
	for _, c := range [][2]int64{{0, 9}, {-1, 9}, {9, 0}, {9, -1}} {
		k := keys.New(c[0], int(c[1]))
		k.Add(keys.Entry{Hash: hash(1), Message: 1, Left: 5})
		if found, list := k.Find(hash(1), 5); found != nil || len(list) > 0 || k.Len() != 0 || k.Added != 0 {
			t.Errorf("for %d microseconds and %d at most: %v, %v, %d, %d", c[0], c[1], found, list, k.Len(), k.Added)
		}
	}
	k := keys.New(1, 1)
	k.Add(keys.Entry{Hash: hash(1), Message: 1, Left: 5})
	if found, _ := k.Find(hash(1), 5); found == nil || k.Len() != 1 {
		t.Errorf("one is not remembered: %v, %d", found, k.Len())
	}
}

// parts are how many entries each generation has that are not saved yet.
func parts(k *keys.Keys) string {
	var list []int
	for _, g := range k.Unsaved() {
		list = append(list, count(g.Pending()))
	}
	return fmt.Sprint(list)
}

// TestGenerations has keys divided by number and by time, so that a few are given
// up at a time.
func TestGenerations(t *testing.T) {
	for name, c := range map[string]struct {
		keep int64
		max  int
		left []int64
		want string
	}{
		"by number":                {1 << 40, 64, []int64{1, 1, 1, 1, 1}, "[2 2 1]"},
		"by time":                  {320, 1 << 20, []int64{100, 109, 110, 119, 130}, "[2 2 1]"},
		"for a moment":             {1, 1 << 20, []int64{5, 5, 5}, "[3]"},
		"while the clock is stuck": {320, 1 << 20, []int64{100, 100, 100}, "[3]"},
		"while it goes backwards":  {320, 1 << 20, []int64{100, 50, 105, 110}, "[3 1]"},
	} {
		k := keys.New(c.keep, c.max)
		for i, at := range c.left {
			k.Add(keys.Entry{Hash: hash(uint64(i)), Message: 1, Left: at})
		}
		if got := parts(k); got != c.want || k.Added != uint64(len(c.left)) {
			t.Errorf("%s: %s, %d, want %s", name, got, k.Added, c.want)
		}
	}
}

// TestForgotten has keys given up because they are too old, which is not counted, and
// because there are too many, which is. A generation without a file leaves none.
func TestForgotten(t *testing.T) {
	add := func(k *keys.Keys, at ...int64) {
		for _, left := range at {
			k.Add(keys.Entry{Hash: hash(uint64(left)), Message: uint64(left), Left: left})
		}
	}
	check := func(when string, k *keys.Keys, length int, forgotten uint64, dead ...uint64) {
		t.Helper()
		if got := k.Dead(); k.Len() != length || k.Forgotten != forgotten || !slices.Equal(got, dead) || len(k.Dead()) > 0 {
			t.Errorf("%s: %d, %d forgotten, %v dead, want %d, %d, %v", when, k.Len(), k.Forgotten, got, length, forgotten, dead)
		}
	}
	k := keys.New(320, 1<<20)
	add(k, 100, 109, 110) // in two generations
	k.Unsaved()[0].End = 1
	add(k, 109+319)
	check("before its time", k, 4, 0)
	add(k, 109+320)
	check("at its time", k, 3, 0, 1)
	add(k, 110+320)
	check("without a file", k, 3, 0)

	k = keys.New(1<<40, 64) // two in each generation
	for i := range int64(64) {
		add(k, 1+i)
	}
	for _, g := range k.Unsaved()[:2] {
		g.End = 1
	}
	check("as many as may be", k, 64, 0)
	add(k, 100)
	check("one too many", k, 63, 2, 1)
	add(k, 101)
	check("as many again", k, 64, 2)
	add(k, 102)
	check("one more", k, 63, 4, 2)

	k = keys.New(320, 32) // one in each
	for i := range int64(32) {
		add(k, 1+i)
	}
	add(k, 321)
	check("too old and too many", k, 32, 0)
	add(k, 321)
	check("too many, and not too old", k, 32, 1)
}

// TestFileWithoutKeys has a file that was made, and nothing written to it.
func TestFileWithoutKeys(t *testing.T) {
	k := keys.New(320, 1<<20)
	k.Load(&keys.Generation{Number: 7})
	if found, list := k.Find(hash(1), 10); found != nil || len(list) > 0 {
		t.Errorf("a key is %v, %v", found, list)
	}
	k.Add(keys.Entry{Hash: hash(1), Message: 1, Left: 100})
	if found, _ := k.Find(hash(1), 100); found == nil {
		t.Error("a key is not found")
	}
}

// TestLoadedGenerationGoesOn has a generation that was read from its file take more,
// for as long as it would have without a restart.
func TestLoadedGenerationGoesOn(t *testing.T) {
	k := keys.New(320, 1<<20)
	g := &keys.Generation{Number: 7, End: 64}
	g.LoadPiece(32, []keys.Entry{{Hash: hash(1), Message: 1, Left: 100}, {Hash: hash(2), Message: 2, Left: 101}})
	k.Load(g)
	if len(k.Unsaved()) > 0 {
		t.Error("what was read from a file is to be saved in it")
	}
	k.Add(keys.Entry{Hash: hash(3), Message: 3, Left: 109})
	if list := k.Unsaved(); len(list) != 1 || list[0] != g {
		t.Errorf("%d generations are to be saved, want the one that was read", len(list))
	}
	k.Add(keys.Entry{Hash: hash(4), Message: 4, Left: 110})
	list := k.Unsaved()
	if len(list) != 2 || list[1].Number != 8 {
		t.Fatalf("%d generations are to be saved, want another", len(list))
	}
	g.Saved(1, []keys.Piece{{Off: 64}})
	if list = k.Unsaved(); len(list) != 1 || list[0] == g {
		t.Errorf("%d generations are to be saved, want the new one", len(list))
	}
	for key, want := range map[uint64]keys.Match{1: {g, 32, 0}, 2: {g, 32, 1}, 3: {g, 64, 0}} {
		if found, list := k.Find(hash(key), 110); found != nil || len(list) != 1 || list[0] != want {
			t.Errorf("key %d is looked for at %v, want %v", key, list, want)
		}
	}
}

// TestKeysThatLookAlike has keys of which the table in memory has the same bits.
func TestKeysThatLookAlike(t *testing.T) {
	alike := func(bits uint64, last byte) (h keys.Hash) {
		binary.LittleEndian.PutUint64(h[:], bits<<26)
		h[15] = last
		return h
	}
	k := keys.New(1000, 1<<20)
	for i := range byte(3) {
		k.Add(keys.Entry{Hash: alike(5, i), Message: uint64(i) + 1, Left: 10})
	}
	for i := range byte(3) {
		if found, list := k.Find(alike(5, i), 10); found == nil || found.Message != uint64(i)+1 || len(list) > 0 {
			t.Errorf("key %d is %v, %v", i, found, list)
		}
	}
	if found, list := k.Find(alike(5, 3), 10); found != nil || len(list) > 0 {
		t.Errorf("one that was not added is %v, %v", found, list)
	}
	if found, _ := k.Find(alike(5, 0), 1010); found != nil {
		t.Errorf("one that is too old is %v", found)
	}
	for i := range uint64(3) { // beside those in the table
		k.Add(keys.Entry{Hash: alike(6+i, 0), Message: 7, Left: 10})
	}
	g := k.Unsaved()[0]
	g.Saved(count(g.Pending()), []keys.Piece{{Off: 64}})
	if _, list := k.Find(alike(7, 0), 10); len(list) != 1 {
		t.Errorf("a key is looked for in %d places of its file, want one", len(list))
	}
	k.Add(keys.Entry{Hash: keys.Hash{}, Message: 9, Left: 10})
	if found, _ := k.Find(keys.Hash{}, 10); found == nil {
		t.Error("a hash of zeros is not found")
	}
}

// TestNewestOfAKey has a key that was used twice, at the end of a table that grows:
// the message that came last has it.
func TestNewestOfAKey(t *testing.T) {
	at := func(slot uint64) (h keys.Hash) {
		binary.LittleEndian.PutUint64(h[:], slot<<26)
		return h
	}
	k := keys.New(1000, 1<<20)
	for message := range uint64(3) {
		k.Add(keys.Entry{Hash: at(255), Message: message, Left: 10})
	}
	for i := range uint64(200) {
		k.Add(keys.Entry{Hash: at(i%60 + 2), Message: 100 + i, Left: 10})
		if found, _ := k.Find(at(255), 10); found == nil || found.Message != 2 {
			t.Fatalf("after %d others it is %v, want message 2", i+1, found)
		}
	}
	for i := range uint64(60) {
		if found, _ := k.Find(at(i+2), 10); found == nil {
			t.Errorf("key %d is not found", i)
		}
	}
}

// TestSavedInParts has many keys, of which some are saved at a time: those that wait are the
// rest, in their order, whatever comes meanwhile.
func TestSavedInParts(t *testing.T) {
	for _, n := range []int{1, keys.PieceSize - 1, keys.PieceSize, keys.PieceSize + 1, 700} {
		k := keys.New(1<<40, 1<<20)
		added, saved := uint64(0), uint64(0)
		add := func(n int) {
			for range n {
				added++
				k.Add(keys.Entry{Hash: hash(added), Message: added, Left: 1})
			}
		}
		add(3 * keys.PieceSize)
		g := k.Unsaved()[0]
		for range 4 {
			want := saved
			for _, piece := range g.Pending() {
				if len(piece) > keys.PieceSize {
					t.Fatalf("%d at a time: a piece of %d", n, len(piece))
				}
				for _, e := range piece {
					if want++; e.Message != want {
						t.Fatalf("%d at a time: key %d waits, want %d", n, e.Message, want)
					}
				}
			}
			if want != added {
				t.Fatalf("%d at a time: %d of %d wait", n, want-saved, added-saved)
			}
			if found, _ := k.Find(hash(added), 1); saved < added && (found == nil || found.Message != added) {
				t.Fatalf("%d at a time: found %v, want key %d", n, found, added)
			}
			g.Saved(int(min(uint64(n), added-saved)), nil)
			saved = min(saved+uint64(n), added)
			add(5)
		}
		g.Saved(int(added-saved), nil)
		if n := count(g.Pending()); n != 0 {
			t.Errorf("%d keys wait when all are saved", n)
		}
	}
}
