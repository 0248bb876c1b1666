package index

import (
	"slices"
	"testing"
)

// TestRowsInPieces takes a checkpoint in pieces, of chunks one of which is gone.
func TestRowsInPieces(t *testing.T) {
	x := New()
	if rows, next := x.Rows(nil, 0, 10); rows != nil || next != 0 {
		t.Errorf("of an empty index %d rows, and more from %d on", len(rows), next)
	}
	for n := range 3*chunkLen + 5 {
		x.set(n+1, "a", "", start)
	}
	for n := range Slot(chunkLen) {
		x.Remove(chunkLen + n)
	}
	for n := range Slot(chunkLen) {
		x.Remove(2*chunkLen + n)
	}
	if !slices.Equal(x.gaps, []int{2}) {
		t.Fatalf("chunks %v are gone: this shows nothing", x.gaps)
	}
	for _, c := range []struct{ from, most, rows, next int }{
		{0, 100, 100, 100}, {4000, 100, 96, chunkLen}, {4000, 96, 96, chunkLen}, {4000, 95, 95, chunkLen - 1}, {0, 1 << 20, chunkLen, chunkLen},
		{chunkLen, 100, 0, chunkLen + 100}, {2 * chunkLen, 100, 0, 2*chunkLen + 100}, {2 * chunkLen, 1 << 20, 0, 3 * chunkLen},
		{3 * chunkLen, 3, 3, 3*chunkLen + 3}, {3 * chunkLen, 1 << 20, 5, 0}, {4*chunkLen - 1, 1, 0, 0}, {4*chunkLen - 2, 1, 0, 4*chunkLen - 1},
		{4 * chunkLen, 1, 0, 0}, {9 * chunkLen, 1, 0, 0},
	} {
		if rows, next := x.Rows(nil, c.from, c.most); len(rows) != c.rows || next != c.next {
			t.Errorf("%d from %d on: %d rows, and more from %d on; want %d and %d", c.most, c.from, len(rows), next, c.rows, c.next)
		}
	}
	v := &Survey{Max: 10}
	x.Count(v, 10)
	v.SeekOldest()
	for x.Oldest(v, 1000) {
	}
	if v.List[0].Oldest != Number(1, 1) {
		t.Errorf("the oldest is %d", v.List[0].Oldest)
	}
	x.set(1e6, "b", "", start)
	if home := x.AtHome(0, 1); len(home) != x.Len() {
		t.Errorf("%d have their home in a segment, want %d", len(home), x.Len())
	}
	if home := x.AtHome(1, 2); home != nil {
		t.Errorf("%d have their home in segments without any", len(home))
	}
}

// TestTenantsOfACheckpoint lists the tenants that are there.
func TestTenantsOfACheckpoint(t *testing.T) {
	names := func(x *Index) (list []string) {
		tenants, _ := x.Tenants(nil, 0, 100)
		for _, n := range tenants {
			list = append(list, n.Name)
			if x.tenants[n.Name] != n.Number {
				t.Errorf("tenant %q has number %d, want %d", n.Name, n.Number, x.tenants[n.Name])
			}
		}
		return list
	}
	x := New()
	a, b := x.set(1, "a", "a", start), x.set(2, "a", "b", start)
	x.set(3, "a", "c", start)
	if got := names(x); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("tenants are %q", got)
	}
	x.Remove(a)
	if got := names(x); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("the first has gone: tenants are %q", got)
	}
	x.set(4, "a", "", start)
	x.Remove(b)
	if got := names(x); !slices.Equal(got, []string{"", "c"}) {
		t.Errorf("one is the tenant without a name, and one has gone: tenants are %q", got)
	}
	for _, c := range []struct{ from, most, n, next int }{{0, 1, 1, 1}, {0, 2, 1, 2}, {1, 1, 0, 2}, {1, 2, 1, 0}, {0, 3, 2, 0}} {
		if list, next := x.Tenants(nil, c.from, c.most); len(list) != c.n || next != c.next {
			t.Errorf("%d from %d on: %d tenants, and more from %d on; want %d and %d", c.most, c.from, len(list), next, c.n, c.next)
		}
	}
}
