package index

import (
	"fmt"
	"slices"
	"testing"
)

// TestNumbers is what the numbers of messages say.
func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		ordinal    uint64
		deliveries int
		spread     uint32
		wide       bool
	}{
		{1, 0, 1, false}, {1, 1, 1, false}, {1, 7, 1, false}, {1, 8, 2, false}, {7, 15, 2, false}, {7, 16, 4, false}, {1, 255, 32, false},
		{1, 256, 64, true}, {1 << 40, 511, 64, true}, {3, 512, 128, true}, {3, 1 << 17, 1 << 15, true}, {3, 1 << 30, 1 << 15, true},
	} {
		n := Number(c.ordinal, c.deliveries)
		if Ordinal(n) != c.ordinal || spread(n) != c.spread || isWide(n) != c.wide {
			t.Errorf("%d deliveries of %d: the ordinal is %d, they are spread over %d, wide is %t; want %d and %t",
				c.deliveries, c.ordinal, Ordinal(n), spread(n), isWide(n), c.spread, c.wide)
		}
	}
	if Number(1, 1<<20) >= Number(2, 1) {
		t.Error("a later message has a lower number")
	}
}

// TestTableGrowsAndShrinks adds deliveries and removes them, over the ends of pages of
// buckets: each is found all the time.
func TestTableGrowsAndShrinks(t *testing.T) {
	const most = (2*tablePage + 10) * tableLoad
	x := New()
	var slots []Slot
	check := func() {
		t.Helper()
		if v := (&verifier{x: x, there: map[Slot]bool{}}); true {
			v.store()
			if v.table(); v.problem != nil {
				t.Fatalf("with %d: %v", len(slots), v.problem)
			}
		}
	}
	at := []int{1, 2, 3, 5, 64, 2*tablePage - 1, 2 * tablePage, 2*tablePage + 1, 2*tablePage + 3, 4*tablePage - 1, 4 * tablePage, 4*tablePage + 2, most}
	for n := range most {
		slots = append(slots, x.set(n+1, "a", "", start))
		if slices.Contains(at, n) {
			check()
		}
	}
	check()
	if pages := len(x.table.pages); pages != 3 {
		t.Errorf("%d pages of buckets for %d deliveries, want 3", pages, most)
	}
	for n := most - 1; n > 0; n-- {
		x.Remove(slots[n])
		slots = slots[:n]
		if slices.Contains(at, n) || n%(most/20) == 0 {
			check()
		}
		if want := uint32(max(tablePage, 2*n+1)); n < tablePage && x.table.n != want {
			t.Fatalf("%d buckets for %d, want %d", x.table.n, n, want)
		}
	}
	if pages := x.table.pages[:2]; pages[1] != nil {
		t.Error("a page of buckets is kept that nobody needs")
	}
	if s, ok := x.Find(Number(1, 1), "a"); !ok || s != slots[0] || len(x.table.pages) != 1 {
		t.Errorf("the last is found: %t, among %d pages of buckets", ok, len(x.table.pages))
	}
	x.Remove(slots[0])
	if x.table.n != 0 || x.chunks != nil || x.rooms != nil || x.roomy != nil || x.gaps != nil {
		t.Errorf("an empty index keeps %d buckets and %d chunks", x.table.n, len(x.chunks))
	}
	if x.set(1, "a", "", start); x.verify() != nil {
		t.Error(x.verify())
	}
}

// TestChainsAreShort looks for every one of very many deliveries: on average there are
// few others in its bucket.
func TestChainsAreShort(t *testing.T) {
	const many = 10_000
	for name, c := range map[string]struct {
		entry func(n int) Entry
		most  float64 // steps each, on average
	}{
		"messages with one delivery":        {func(n int) Entry { return Entry{Message: Number(uint64(n+1), 1), Destination: "a"} }, 2.5},
		"every third message":               {func(n int) Entry { return Entry{Message: Number(uint64(3*n+1), 1), Destination: "a"} }, 2.5},
		"numbers far apart":                 {func(n int) Entry { return Entry{Message: Number(uint64(n+1)<<12, 1), Destination: "a"} }, 2.5},
		"numbers as far apart as can be":    {func(n int) Entry { return Entry{Message: Number(uint64(n+1)<<30, 1), Destination: "a"} }, 2.5},
		"messages with ten deliveries":      {func(n int) Entry { return Entry{Message: Number(uint64(n/10+1), 10), Destination: fmt.Sprint(n)} }, 5},
		"one message with very many":        {func(n int) Entry { return Entry{Message: Number(1, many), Destination: fmt.Sprint(n)} }, 5},
		"some messages with a few hundreds": {func(n int) Entry { return Entry{Message: Number(uint64(n%50+1), 200), Destination: fmt.Sprint(n)} }, 6},
	} {
		x := New()
		for n := range many {
			e := c.entry(n)
			x.add(&e, false)
		}
		longest, steps := 0, 0
		for b := range x.table.n {
			n := 0
			for s := *x.table.head(b); s != none; n++ {
				c, i := x.at(Slot(s))
				s = c.next[i]
			}
			longest, steps = max(longest, n), steps+n*(n+1)/2
		}
		if each := float64(steps) / many; each > c.most || longest > 60 {
			t.Errorf("%s: %.1f steps each, at most %d", name, each, longest)
		} else {
			t.Logf("%s: %.1f steps each, at most %d", name, each, longest)
		}
	}
}

// TestSome finds a delivery of a message, and one that is leased if there is one among
// the first.
func TestSome(t *testing.T) {
	x := New()
	if _, ok := x.Some(Number(1, 1)); ok {
		t.Error("a delivery of a message that is not there is found")
	}
	number := Number(1, 7)
	var slots []Slot
	for n := range 20 {
		slots = append(slots, x.Set(&Entry{Message: number, Destination: fmt.Sprint(n), AtOnce: true}))
	}
	if s, ok := x.Some(number); !ok || s != slots[19] {
		t.Errorf("found %d, %t, want the first that is looked at, %d", s, ok, slots[19])
	}
	for n, want := range map[int]int{11: 19, 12: 12, 15: 15, 19: 19} { // the last comes first
		x.Lease(slots[n], 1, start, nil)
		if s, ok := x.Some(number); !ok || s != slots[want] {
			t.Errorf("the %d. is leased: found %d, %t, want %d", n, s, ok, slots[want])
		}
		x.Unlease(slots[n])
	}
	x.Lease(slots[14], 1, start, nil)
	x.Lease(slots[17], 1, start, nil)
	if s, _ := x.Some(number); s != slots[17] {
		t.Errorf("two are leased: found %d, want the first, %d", s, slots[17])
	}
	if _, ok := x.Some(Number(2, 1)); ok {
		t.Error("a delivery of another message is found")
	}
}

// TestSlotsOf asks for the deliveries of messages, some at a time.
func TestSlotsOf(t *testing.T) {
	x := New()
	if list, next := x.Slots(nil, Number(1, 100), 0, 10); list != nil || next != 0 {
		t.Errorf("an empty index has %v, and more from %d on", list, next)
	}
	x.set(3, "a", "", start)
	for _, most := range []int{1, 3} { // parts that are empty count, too
		if list, next := x.Slots(nil, Number(2, 100), 0, most); list != nil || next != uint32(most) {
			t.Errorf("of a message that is not there are %v, and more from %d on, want %d", list, next, most)
		}
	}
	for _, deliveries := range []int{1, 7, 40, 300, 2000} {
		number := Number(uint64(deliveries), deliveries)
		want := map[Slot]bool{}
		for n := range min(deliveries, 300) {
			want[x.Set(&Entry{Message: number, Destination: fmt.Sprint(n)})] = true
		}
		for _, most := range []int{1, 10, 1000} {
			seen := map[Slot]int{}
			pieces := 0
			for from, more := uint32(0), true; more; pieces++ {
				var list []Slot
				before := x.work
				list, from = x.Slots(nil, number, from, most)
				if more = from > 0; more && (len(list) == 0 || x.work-before < most) {
					t.Fatalf("%d deliveries, %d at a time: a piece of %d, for %d looked at", deliveries, most, len(list), x.work-before)
				}
				if len(list) > most+40 || x.work-before > 4*(most+40) {
					t.Fatalf("%d deliveries, %d at a time: a piece of %d, for %d looked at", deliveries, most, len(list), x.work-before)
				}
				for _, s := range list {
					seen[s]++
				}
			}
			for s := range want {
				if seen[s] != 1 {
					t.Fatalf("%d deliveries, %d at a time: one is found %d times", deliveries, most, seen[s])
				}
			}
			if len(seen) != len(want) || pieces > 2*spreadOf(deliveries)+2 {
				t.Errorf("%d deliveries, %d at a time: %d are found in %d pieces, want %d", deliveries, most, len(seen), pieces, len(want))
			}
		}
	}
}

func spreadOf(deliveries int) int { return int(spread(Number(1, deliveries))) }

// TestWideMessageComesAndGoes adds the deliveries of a message that is spread over more
// parts than it has deliveries left, and removes them in another order.
func TestWideMessageComesAndGoes(t *testing.T) {
	x := New()
	number := Number(1, 100_000)
	other := x.set(2, "a", "", start)
	var slots []Slot
	for n := range 200 {
		slots = append(slots, x.Set(&Entry{Message: number, Destination: fmt.Sprint(n), Home: uint16(n % 3), Size: 10}))
		if n%40 == 0 && x.verify() != nil {
			t.Fatal(x.verify())
		}
	}
	if !x.Has(number) || x.Messages() != 2 || x.Bytes() != 10 {
		t.Errorf("%d messages of %d bytes", x.Messages(), x.Bytes())
	}
	for n := range slots {
		i := n * 7 % len(slots)
		last := x.Remove(slots[i])
		if last != (n == len(slots)-1) || x.Has(number) == last {
			t.Fatalf("the %d. has gone: it was the last %t", n, last)
		}
		if n%40 == 0 && x.verify() != nil {
			t.Fatal(x.verify())
		}
		list, from := x.Slots(nil, number, 0, 1000)
		if len(list) != len(slots)-1-n || from != 0 {
			t.Fatalf("%d are found, want %d", len(list), len(slots)-1-n)
		}
	}
	if x.Remove(other); x.verify() != nil || x.Refs(0).Homes+x.Refs(1).Homes+x.Refs(2).Homes != 0 {
		t.Error(x.verify())
	}
}
