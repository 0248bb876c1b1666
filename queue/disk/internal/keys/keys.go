package keys

import (
	"encoding/binary"
	"slices"
	"sort"
)

// Hash stands for a tenant and a key.
type Hash [16]byte

// Entry is a key whose message has left.
type Entry struct {
	Hash    Hash
	Message uint64
	Left    int64 // when, in microseconds
}

// EntrySize is the length of an entry in a file.
const EntrySize = 32

// Append appends the entry as it stands in a file.
func (e *Entry) Append(b []byte) []byte {
	b = append(b, e.Hash[:]...)
	b = binary.LittleEndian.AppendUint64(b, e.Message)
	return binary.LittleEndian.AppendUint64(b, uint64(e.Left))
}

// Parse reads an entry.
func Parse(b []byte) Entry {
	e := Entry{Message: binary.LittleEndian.Uint64(b[16:]), Left: int64(binary.LittleEndian.Uint64(b[24:]))}
	copy(e.Hash[:], b)
	return e
}

// generations is the maximum number of parts into which the remembered keys are
// divided, by number and by time; most is the number of entries in one.
const (
	generations = 32
	most        = 1 << 17
)

// Keys is all that is remembered.
type Keys struct {
	keep  int64 // microseconds
	max   int
	list  []*Generation // the oldest first
	next  uint64        // number of a generation
	count int

	// Added is how often something was added, Forgotten how many entries were
	// given up because there were too many.
	Added, Forgotten uint64

	dead []uint64 // generations whose files are not needed any more
}

// New returns an empty Keys that remembers for so many microseconds, and at most
// so many.
func New(keep int64, max int) *Keys { return &Keys{keep: keep, max: max, next: 1} }

// Len is how many entries there are.
func (k *Keys) Len() int { return k.count }

// Generation is the entries of one file, those that are not in it yet included.
type Generation struct {
	Number uint64
	Salt   uint64 // of the file; the owner's
	End    int64  // of the file, set by the owner; 0 if there is none yet

	pieces        []Piece
	saved         int
	moved         int // of those behind these, which another generation has
	pending       pending
	table         table
	first, newest int64
}

// Piece is where in the file the entries from one on begin.
type Piece struct {
	From int
	Off  int64
}

// Add adds an entry, and forgets those that are too old at its time or too many.
func (k *Keys) Add(e Entry) {
	if k.max <= 0 || k.keep <= 0 {
		return
	}
	g := k.current(e.Left)
	g.insert(e)
	g.pending.add(e)
	k.count++
	k.Added++
	for k.list[0].newest <= e.Left-k.keep || k.count > k.max { // never the one it is in
		k.forgetFirst(k.list[0].newest > e.Left-k.keep)
	}
}

// current is the generation that takes one more entry.
func (k *Keys) current(now int64) *Generation {
	size := max(1, min(k.max/generations, most))
	if n := len(k.list); n > 0 {
		g := k.list[n-1]
		if g.len() < size && now-g.first < max(k.keep/generations, 1) {
			return g
		}
	}
	g := &Generation{Number: k.next}
	k.next++
	k.list = append(k.list, g)
	return g
}

func (k *Keys) forgetFirst(counted bool) {
	g := k.list[0]
	k.list = slices.Delete(k.list, 0, 1)
	k.count -= g.len()
	if counted {
		k.Forgotten += uint64(g.len())
	}
	if g.End > 0 {
		k.dead = append(k.dead, g.Number)
	}
}

// Dead returns the generations whose files are not needed any more, once.
func (k *Keys) Dead() []uint64 {
	list := k.dead
	k.dead = nil
	return list
}

// Load takes over a generation as it is in its file, in the order of their
// numbers: each piece by where it stands, and its entries.
func (k *Keys) Load(g *Generation) {
	k.list = append(k.list, g)
	k.count += g.len()
	k.next = max(k.next, g.Number+1)
}

// LoadPiece takes over a piece of a generation.
func (g *Generation) LoadPiece(off int64, list []Entry) {
	g.pieces = append(g.pieces, Piece{g.saved, off})
	for _, e := range list {
		g.insert(e)
		g.saved++
	}
}

func (g *Generation) len() int { return g.saved + g.pending.n }

func (g *Generation) insert(e Entry) {
	if g.len() == 0 {
		g.first = e.Left
	}
	g.newest = max(g.newest, e.Left)
	g.table.insert(&e.Hash, uint32(g.len()))
}

// Unsaved returns the generations that have entries which are not in their files.
func (k *Keys) Unsaved() (list []*Generation) {
	for _, g := range k.list {
		if g.pending.n > 0 {
			list = append(list, g)
		}
	}
	return list
}

// Pending is the entries that are not in the file yet, in pieces of at most PieceSize.
func (g *Generation) Pending() [][]Entry { return g.pending.all() }

// Saved says that the first n of the pending entries are in the file now, in
// pieces that begin there.
func (g *Generation) Saved(n int, pieces []Piece) {
	for _, p := range pieces {
		g.pieces = append(g.pieces, Piece{g.saved + p.From, p.Off})
	}
	g.saved += n
	g.pending.drop(n)
}

// Another begins another generation. All that is added goes there from now on.
func (k *Keys) Another() *Generation {
	g := &Generation{Number: k.next}
	k.next++
	k.list = append(k.list, g)
	return g
}

// Move has a later generation take a piece of what waits to be saved in one whose file cannot
// be written to. It reports whether there was any.
func (k *Keys) Move(from, to *Generation) bool {
	if from.pending.n == 0 || !slices.Contains(k.list, from) || !slices.Contains(k.list, to) {
		return false
	}
	piece := from.pending.all()[0]
	for _, e := range piece {
		to.insert(e)
		to.pending.add(e)
	}
	from.pending.drop(len(piece))
	from.moved += len(piece)
	return true
}

// Match is an entry that may be the one looked for.
type Match struct {
	Generation *Generation
	Off        int64 // of its piece
	At         int   // in the piece
}

// Find looks for a key that is remembered at a time: found is its entry where that
// is in memory, and list what must be looked at in files, the newest first.
func (k *Keys) Find(h Hash, now int64) (found *Entry, list []Match) {
	var numbers []int
	for _, g := range slices.Backward(k.list) {
		numbers = g.table.find(&h, numbers[:0])
		slices.Sort(numbers)
		for _, n := range slices.Backward(numbers) {
			if n >= g.saved {
				if at := n - g.saved - g.moved; at >= 0 {
					if e := g.pending.at(at); e.Hash == h && k.Remembers(e, now) {
						return e, nil
					}
				}
				continue
			}
			p := sort.Search(len(g.pieces), func(i int) bool { return g.pieces[i].From > n }) - 1
			list = append(list, Match{g, g.pieces[p].Off, n - g.pieces[p].From})
		}
	}
	return nil, list
}

// Remembers reports whether an entry counts at a time.
func (k *Keys) Remembers(e *Entry, now int64) bool { return now < e.Left+k.keep }
