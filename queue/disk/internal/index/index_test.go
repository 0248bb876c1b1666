package index_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// model is the index as plain lists say it.
type model struct {
	entries   map[key]index.Entry
	leases    map[key]time.Time
	postponed map[string]time.Time
	parked    map[string]map[string]time.Time // by owner and destination
}

func (m *model) park(owner, destination string, until time.Time) {
	if m.parked[owner] == nil {
		m.parked[owner] = map[string]time.Time{}
	}
	m.parked[owner][destination] = until
}

// unpark forgets what is over, as a claim by anybody does.
func (m *model) unpark(now time.Time) {
	for _, list := range m.parked {
		maps.DeleteFunc(list, func(_ string, until time.Time) bool { return !until.After(now) })
	}
}

type key struct {
	message     uint64
	destination string
}

// due is what a claim must return, in order.
func (m *model) due(now time.Time, b index.Bounds) []key {
	var list []key
	for k, e := range m.entries {
		switch {
		case e.Flags&index.Held != 0, !e.AtOnce && e.Since > index.Micros(now), m.postponed[k.destination].After(now),
			m.parked[b.Owner][k.destination].After(now), m.leases[k].After(now), slices.Contains(b.Except, k.destination),
			len(b.Destinations) > 0 && !slices.Contains(b.Destinations, k.destination):
		default:
			list = append(list, k)
		}
	}
	slices.SortFunc(list, func(a, b key) int {
		x, y := m.entries[a], m.entries[b]
		step := queue.PriorityStep.Microseconds()
		return cmp.Or(cmp.Compare(x.Since-int64(x.Priority)*step, y.Since-int64(y.Priority)*step),
			cmp.Compare(a.message, b.message), cmp.Compare(a.destination, b.destination))
	})
	var out []key
	dest, tenant := map[string]int{}, map[string]int{}
	for _, k := range list {
		t := m.entries[k].Tenant
		if len(out) == b.Max || b.PerDestination > 0 && dest[k.destination] == b.PerDestination ||
			b.PerTenant > 0 && tenant[t] == b.PerTenant {
			continue
		}
		dest[k.destination]++
		tenant[t]++
		out = append(out, k)
	}
	return out
}

// TestAgainstModel does the same at random to an index and to lists.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { againstModel(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

func againstModel(t *testing.T, rng *rand.Rand) {
	x := index.New()
	m := &model{map[key]index.Entry{}, map[key]time.Time{}, map[string]time.Time{}, map[string]map[string]time.Time{}}
	now := time.UnixMicro(1e15).UTC()
	token := uint64(0)
	for step := range 600 {
		now = now.Add(time.Duration(rng.IntN(2000)-500) * time.Millisecond) // it goes back, too
		keys := slices.SortedFunc(maps.Keys(m.entries), func(a, b key) int {
			return cmp.Or(cmp.Compare(a.message, b.message), cmp.Compare(a.destination, b.destination))
		})
		switch n := rng.IntN(20); {
		case n < 6 || len(keys) == 0:
			parts := 1 + rng.IntN(3)
			if rng.IntN(50) == 0 {
				parts = 40
			}
			number := index.Number(uint64(step)+1, parts)
			for p := range parts {
				e := index.Entry{Message: number, Destination: fmt.Sprintf("d%d", (p+rng.IntN(3))%60), Tenant: fmt.Sprint(rng.IntN(3)),
					Priority: rng.IntN(3) - 1, AtOnce: rng.IntN(2) == 0, Since: index.Micros(now) + rng.Int64N(1e7) - rng.Int64N(2)*5e8,
					Home: uint16(rng.IntN(4)), Record: index.Place{Segment: uint16(rng.IntN(4)), Offset: uint32(step)}, Size: uint32(rng.IntN(1000))}
				k := key{number, e.Destination}
				if _, known := m.entries[k]; known {
					continue
				}
				m.entries[k] = e
				x.Set(&e)
			}
		case n < 12:
			b := index.Bounds{Max: 1 + rng.IntN(20), PerDestination: rng.IntN(4), PerTenant: rng.IntN(6)}
			if rng.IntN(3) == 0 {
				b.Destinations = []string{"d0", "d2"}
			}
			if rng.IntN(3) == 0 {
				b.Except = []string{"d1", "d2"}
			}
			b.Owner = fmt.Sprint(rng.IntN(3))
			m.unpark(now)
			want := m.due(now, b)
			until := now.Add(time.Duration(rng.IntN(5000)) * time.Millisecond)
			var got []key
			x.Claim(now, b, func(s index.Slot) {
				e := x.Get(s)
				got = append(got, key{e.Message, e.Destination})
				token++
				x.Lease(s, token, until, nil)
			})
			if !slices.Equal(got, want) {
				t.Fatalf("step %d: claimed %v, want %v", step, got, want)
			}
			for _, k := range got {
				m.leases[k] = until
			}
		default:
			k := keys[rng.IntN(len(keys))]
			s, found := x.Find(k.message, k.destination)
			if !found {
				t.Fatalf("step %d: %v is not found", step, k)
			}
			e := m.entries[k]
			switch rng.IntN(11) {
			case 8, 9:
				owner, until := fmt.Sprint(rng.IntN(3)), now.Add(time.Duration(rng.IntN(3000))*time.Millisecond)
				x.Park(owner, k.destination, until)
				m.park(owner, k.destination, until)
			case 10:
				owner := fmt.Sprint(rng.IntN(3))
				if rng.IntN(5) == 0 {
					for x.UnparkAll(owner, 2) {
					}
					delete(m.parked, owner)
				} else {
					x.Unpark(owner, k.destination)
					delete(m.parked[owner], k.destination)
				}
			case 0, 1, 2:
				x.Remove(s)
				delete(m.entries, k)
				delete(m.leases, k)
			case 3:
				e.Since += 1e6
				e.AtOnce = false
				e.Home, e.Record.Segment = e.Home^1, e.Record.Segment^1
				x.Set(&e)
				m.entries[k] = e
			case 4:
				x.Unlease(s)
				delete(m.leases, k)
			case 5:
				e.Flags ^= index.Held
				x.SetFlag(s, index.Held, e.Flags&index.Held != 0)
				m.entries[k] = e
			case 6:
				until := now.Add(time.Duration(rng.IntN(3)) * time.Second)
				if rng.IntN(2) == 0 {
					until = time.Time{}
				}
				x.Postpone(index.Postponement{Name: k.destination, Until: until})
				m.postponed[k.destination] = until
			case 7:
				flushed(t, x, m, index.Micros(now), rng, k)
			}
		}
		if step%50 == 0 {
			compare(t, x, m)
		}
	}
}

func flushed(t *testing.T, x *index.Index, m *model, since int64, rng *rand.Rand, k key) {
	message, destination := uint64(0), ""
	if rng.IntN(2) == 0 {
		message = k.message
	}
	if rng.IntN(2) == 0 {
		destination = k.destination
	}
	want := 0
	for o, e := range m.entries {
		_, leased := m.leases[o]
		if message != 0 && o.message != message || destination != "" && o.destination != destination ||
			leased || e.Flags&index.Held != 0 {
			continue
		}
		want++
		if !e.AtOnce && e.Since > since {
			e.AtOnce, e.Since = true, since
			m.entries[o] = e
		}
	}
	f := index.Flushing{Since: since, Message: message, Destination: destination}
	for !x.Flush(&f, 1+rng.IntN(3)) {
	}
	if got := f.Count; got != want {
		t.Fatalf("flushed %d, want %d", got, want)
	}
}

func compare(t *testing.T, x *index.Index, m *model) {
	t.Helper()
	if x.Len() != len(m.entries) {
		t.Fatalf("%d deliveries, want %d", x.Len(), len(m.entries))
	}
	messages := map[uint64]bool{}
	refs := map[uint16]index.Refs{}
	for k, e := range m.entries {
		messages[k.message] = true
		s, found := x.Find(k.message, k.destination)
		if !found || x.Get(s) != e {
			t.Fatalf("%v is %+v, want %+v", k, x.Get(s), e)
		}
		r := refs[e.Home]
		r.Homes++
		refs[e.Home] = r
		r = refs[e.Record.Segment]
		r.Records++
		refs[e.Record.Segment] = r
	}
	for segment, want := range refs {
		if got := x.Refs(segment); got.Homes != want.Homes || got.Records != want.Records {
			t.Fatalf("segment %d has %+v, want %+v", segment, got, want)
		}
	}
	want := slices.Sorted(maps.Keys(messages))
	if got := listed(x, 0, len(want)+1); !slices.Equal(got, want) || x.Messages() != len(want) {
		t.Fatalf("messages %v (%d), want %v", got, x.Messages(), want)
	}
	if len(want) > 3 {
		if got := listed(x, want[1], 2); !slices.Equal(got, want[2:4]) {
			t.Fatalf("a page is %v, want %v", got, want[2:4])
		}
	}
}

// TestSizeOfADelivery holds the index to the 40 bytes it promises.
func TestSizeOfADelivery(t *testing.T) {
	if index.ChunkBytes != 34 {
		t.Errorf("a delivery takes %d bytes in its chunk, want 34", index.ChunkBytes)
	}
	if s := unsafe.Sizeof(index.Slot(0)); s != 4 {
		t.Errorf("and %d in its lane, want 4", s)
	}
}

func listed(x *index.Index, after uint64, most int) []uint64 {
	list, _, _ := x.List(nil, after, most, "")
	return list
}
