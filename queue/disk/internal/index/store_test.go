package index

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSlots takes and releases very many slots at random: a slot is always of the first
// chunk that has any, and an empty chunk is given back if another is empty.
func TestSlots(t *testing.T) {
	const most = 70 * chunkLen // a word says of 64 chunks whether there is room
	x := New()
	rng := rand.New(rand.NewPCG(1, 1))
	var taken []Slot
	inChunk := map[int]int{}
	take := func() {
		s := x.alloc()
		n := int(s / chunkLen)
		for i := range n {
			if x.chunks[i] != nil && inChunk[i] < chunkLen {
				t.Fatalf("slot %d is taken while there is room in chunk %d", s, i)
			}
		}
		c, i := x.at(s)
		c.when[i] = uint64(used)
		taken = append(taken, s)
		inChunk[n]++
	}
	release := func(i int) {
		s := taken[i]
		taken[i] = taken[len(taken)-1]
		taken = taken[:len(taken)-1]
		inChunk[int(s/chunkLen)]--
		x.release(s)
	}
	check := func() {
		t.Helper()
		v := &verifier{x: x, there: map[Slot]bool{}}
		if v.store(); v.problem != nil {
			t.Fatal(v.problem)
		}
		if len(v.there) != len(taken) {
			t.Fatalf("%d slots are taken, want %d", len(v.there), len(taken))
		}
	}
	for len(taken) < most {
		if x.room < len(x.roomy)-1 || len(taken)%1000 == 0 {
			take()
			continue
		}
		s := x.alloc() // as take does, without the search
		c, i := x.at(s)
		c.when[i] = uint64(used)
		taken = append(taken, s)
		inChunk[int(s/chunkLen)]++
	}
	check()
	for i := len(taken) - 1; i >= 0; i-- { // all of the chunks behind the first word, and of some before
		if n := taken[i] / chunkLen; n >= 64 || n == 7 || n == 9 {
			release(i)
		}
	}
	check()
	if len(x.chunks) != 70 || len(x.gaps) != 7 {
		t.Errorf("of 70 chunks, 8 of which are empty, %d are gaps", len(x.gaps))
	}
	for range 3*chunkLen + chunkLen/2 {
		take()
	}
	check()
	for range 2000 {
		if rng.IntN(2) == 0 {
			take()
		} else {
			release(rng.IntN(len(taken)))
		}
	}
	check()
	for len(taken) > 10 {
		release(len(taken) - 1)
	}
	check()
	for range 2 * chunkLen {
		take()
	}
	check()
}

// TestIs asks for slots that are not, or not any more, those of a message.
func TestIs(t *testing.T) {
	x := New()
	if x.Is(0, Number(1, 1)) || x.Is(5*chunkLen, Number(1, 1)) {
		t.Error("an empty index has a delivery")
	}
	s := x.set(1, "a", "", start)
	if !x.Is(s, Number(1, 1)) || x.Is(s, Number(2, 1)) || x.Is(s+1, Number(1, 1)) || x.Is(s+1, 0) || x.Is(s+chunkLen, Number(1, 1)) {
		t.Error("a slot is not that of its message, or of another, too")
	}
	for n := range 3*chunkLen - 1 {
		x.set(n+2, "a", "", start)
	}
	for n := range Slot(2 * chunkLen) {
		x.Remove(chunkLen + n)
	}
	if len(x.gaps) != 1 || x.Len() != chunkLen || x.Is(Slot(x.gaps[0]*chunkLen), Number(2*chunkLen+1, 1)) {
		t.Errorf("%d are left, and %d chunks were given back", x.Len(), len(x.gaps))
	}
	if err := x.verify(); err != nil {
		t.Error(err)
	}
}

// TestChunksAreKept empties chunks: one of them is kept, the room of the others is given
// to others.
func TestChunksAreKept(t *testing.T) {
	x := New()
	var slots []Slot
	n := 0
	fill := func(chunks int) {
		for len(slots) < chunks*chunkLen {
			n++
			slots = append(slots, x.set(n, "a", "", start))
		}
	}
	drop := func(chunks ...Slot) {
		left := slots[:0]
		for _, s := range slots {
			if slices.Contains(chunks, s/chunkLen) {
				x.Remove(s)
			} else {
				left = append(left, s)
			}
		}
		slots = left
	}
	check := func(chunks int, gone ...int) {
		t.Helper()
		v := &verifier{x: x, there: map[Slot]bool{}}
		v.store()
		if v.problem != nil || len(x.chunks) != chunks || !slices.Equal(x.gaps, gone) {
			t.Errorf("%d chunks without %v, want %d without %v: %v", len(x.chunks), x.gaps, chunks, gone, v.problem)
		}
	}
	fill(4)
	check(4)
	drop(1)
	check(4)
	kept := x.chunks[1]
	for range 3 { // the same one again and again
		x.Remove(x.set(1e6, "a", "", start))
		check(4)
	}
	if x.chunks[1] != kept {
		t.Error("a chunk is made anew for every delivery")
	}
	drop(3)
	check(4, 3)
	drop(2)
	check(4, 3, 2)
	fill(2)
	check(4, 3, 2)
	fill(3)
	check(4, 3)
	fill(4)
	check(4)
	fill(5)
	check(5)
	drop(0, 1, 2, 3)
	check(5, 1, 2, 3)
	drop(4)
	check(0)
	fill(1)
	x.set(1e6, "a", "", start)
	check(2)
	drop(0)
	x.Remove(chunkLen)
	check(0)
}
