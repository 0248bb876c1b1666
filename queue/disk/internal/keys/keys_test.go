package keys_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/keys"
)

// store is keys with the files that they are kept in.
type store struct {
	*keys.Keys
	files map[uint64]map[int64][]keys.Entry // by generation and the place of a piece
}

func newStore(keep int64, max int) *store {
	return &store{keys.New(keep, max), map[uint64]map[int64][]keys.Entry{}}
}

// save writes what is pending, in pieces of three.
func (s *store) save() {
	for _, g := range s.Unsaved() {
		list := slices.Concat(g.Pending()...)
		file := s.files[g.Number]
		if file == nil {
			file = map[int64][]keys.Entry{}
			s.files[g.Number] = file
		}
		var pieces []keys.Piece
		for from := 0; from < len(list); from += 3 {
			g.End++
			file[g.End] = append([]keys.Entry(nil), list[from:min(from+3, len(list))]...)
			pieces = append(pieces, keys.Piece{From: from, Off: g.End})
		}
		g.Saved(len(list), pieces)
	}
	for _, n := range s.Dead() {
		delete(s.files, n)
	}
}

// reopen loads what the files hold.
func (s *store) reopen(t *testing.T, keep int64, max int) *store {
	t.Helper()
	s.save()
	again := newStore(keep, max)
	var numbers []uint64
	for n := range s.files {
		numbers = append(numbers, n)
	}
	for range numbers {
		least := ^uint64(0)
		for n := range s.files {
			if again.files[n] == nil {
				least = min(least, n)
			}
		}
		g := &keys.Generation{Number: least}
		again.files[least] = s.files[least]
		for off := int64(1); s.files[least][off] != nil; off++ {
			g.LoadPiece(off, s.files[least][off])
			g.End = off
		}
		again.Load(g)
	}
	return again
}

// find looks a key up as an owner does, files included.
func (s *store) find(h keys.Hash, now int64) (message uint64, known bool) {
	found, list := s.Find(h, now)
	if found != nil {
		return found.Message, true
	}
	for _, m := range list {
		if e := s.files[m.Generation.Number][m.Off][m.At]; e.Hash == h && s.Remembers(&e, now) {
			return e.Message, true
		}
	}
	return 0, false
}

func hash(n uint64) (h keys.Hash) {
	r := rand.NewPCG(n, 7)
	binary.LittleEndian.PutUint64(h[:], r.Uint64())
	binary.LittleEndian.PutUint64(h[8:], r.Uint64())
	return h
}

// TestAgainstModel adds, saves, reopens and looks up at random: what was added not
// too long ago is found unless so many came since that it may be forgotten, and
// nothing else is.
func TestAgainstModel(t *testing.T) {
	const keep = 1000
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		most := []int{5, 64, 3000}[seed%3]
		s := newStore(keep, most)
		type left struct {
			key, message uint64
			at           int64
		}
		var all []left
		last := map[uint64]left{}
		now := int64(10_000)
		for step := range uint64(4000) {
			now += rng.Int64N(3)
			switch n := rng.IntN(100); {
			case n < 55:
				l := left{rng.Uint64N(1000), step + 1, now}
				s.Add(keys.Entry{Hash: hash(l.key), Message: l.message, Left: now})
				all, last[l.key] = append(all, l), l
			case n < 60:
				s.save()
			case n < 61:
				s = s.reopen(t, keep, most)
			default:
				k := rng.Uint64N(1100)
				message, known := s.find(hash(k), now)
				l, was := last[k]
				switch {
				case known && (!was || message != l.message || now >= l.at+keep):
					t.Fatalf("seed %d step %d: key %d is known as %d, want %+v at %d", seed, step, k, message, l, now)
				case !known && was && now < l.at+keep && since(len(all), func(i int) bool { return all[i].message > l.message }) < most-most/32-1:
					t.Fatalf("seed %d step %d: key %d is forgotten, want %+v at %d", seed, step, k, l, now)
				}
			}
			if s.Len() > most {
				t.Fatalf("seed %d step %d: %d are remembered, want %d at most", seed, step, s.Len(), most)
			}
		}
		s.save()
		if n := len(s.files); n > 2*32+2 {
			t.Errorf("seed %d: %d files for at most %d keys", seed, n, most)
		}
	}
}

func since(n int, is func(i int) bool) (count int) {
	for i := n - 1; i >= 0 && is(i); i-- {
		count++
	}
	return count
}

// TestMemory holds a million keys to about 16 bytes each.
func TestMemory(t *testing.T) {
	const many = 1_000_000
	s := newStore(1<<40, 4_000_000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range uint64(many) {
		s.Add(keys.Entry{Hash: hash(i), Message: i + 1, Left: 1})
		if i%100_000 == 99_999 {
			for _, g := range s.Unsaved() {
				g.Saved(count(g.Pending()), []keys.Piece{{Off: 1}})
			}
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := float64(after.HeapAlloc-before.HeapAlloc) / many; each > 18 {
		t.Errorf("a key costs %.1f bytes, want about 16", each)
	}
	runtime.KeepAlive(s)
}

// TestMoved has another generation take what waits to be saved in one whose file cannot be
// written to: all is found meanwhile, and counted once.
func TestMoved(t *testing.T) {
	const all, saved = 3*keys.PieceSize + 7, keys.PieceSize + 3
	k := keys.New(1<<40, 1<<20)
	added := uint64(0)
	add := func(n int) {
		for range n {
			added++
			k.Add(keys.Entry{Hash: hash(added), Message: added, Left: 1})
		}
	}
	add(all)
	g := k.Unsaved()[0]
	g.End = 1
	g.Saved(saved, []keys.Piece{{Off: 64}})
	check := func(when string) {
		t.Helper()
		for i := uint64(1); i <= added; i++ {
			found, list := k.Find(hash(i), 1)
			if i <= saved && (found != nil || len(list) != 1 || list[0] != keys.Match{Generation: g, Off: 64, At: int(i - 1)}) ||
				i > saved && (found == nil || found.Message != i || len(list) > 0) {
				t.Fatalf("%s: key %d is %v, %v", when, i, found, list)
			}
		}
		if k.Len() != int(added) {
			t.Errorf("%s: there are %d, want %d", when, k.Len(), added)
		}
	}
	to := k.Another()
	for moves := 1; k.Move(g, to); moves++ {
		add(2)
		check(fmt.Sprintf("after %d pieces", moves))
	}
	check("in the end")
	if list := k.Unsaved(); len(list) != 1 || list[0] != to || to.Number != g.Number+1 {
		t.Errorf("%d generations are to be saved, want the other", len(list))
	}
	to.End = 1
	to.Saved(count(to.Pending()), []keys.Piece{{Off: 8}})
	if found, list := k.Find(hash(all), 1); found != nil || len(list) != 1 || list[0].Generation != to {
		t.Errorf("a key that was moved and saved is %v, %v", found, list)
	}
}

// TestMoveOfWhatIsForgotten has a generation be forgotten before what waits in it is moved.
func TestMoveOfWhatIsForgotten(t *testing.T) {
	k := keys.New(320, 1<<20)
	k.Add(keys.Entry{Hash: hash(1), Message: 1, Left: 100})
	g := k.Unsaved()[0]
	to := k.Another()
	k.Add(keys.Entry{Hash: hash(2), Message: 2, Left: 500})
	if k.Move(g, to) || k.Len() != 1 {
		t.Errorf("%d are remembered, want one", k.Len())
	}
	if found, _ := k.Find(hash(1), 400); found != nil {
		t.Errorf("what was forgotten is %v", found)
	}
}
