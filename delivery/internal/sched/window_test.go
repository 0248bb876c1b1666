package sched

import (
	"fmt"
	"testing"
	"time"
)

// watchWindow has a window see what happens, one letter each at the time given: "+" is a
// success, "-" one too many, "m" a deferral at MAIL, "r" one at RCPT.
func watchWindow(w *window, now time.Time, most int, what string) {
	for _, c := range what {
		switch c {
		case '+':
			w.grow(now, most)
		case '-':
			w.shrink(now, now)
		case 'm':
			w.deferred(slowPace)
		case 'r':
			w.deferred(rcptPace)
		}
	}
}

func TestWindow(t *testing.T) {
	sizes := func(t *testing.T, w *window, what string, want ...float64) {
		t.Helper()
		now := origin
		for i, c := range what {
			watchWindow(w, now, 8, string(c))
			if w.size != want[i] {
				t.Fatalf("size after %q: %v, want %v", what[:i+1], w.size, want[i])
			}
		}
	}
	t.Run("L2 begins at 2, or at what the settings allow", func(t *testing.T) {
		for most, want := range map[int]float64{1: 1, 2: 2, 3: 2, 100: 2} {
			if w := newWindow(most); w.size != want || w.threshold != float64(most) {
				t.Errorf("size with %d at most: %v, want %v", most, w.size, want)
			}
		}
	})
	t.Run("L2 grows by one with each success, up to what the settings allow", func(t *testing.T) {
		w := newWindow(8)
		sizes(t, &w, "++++++++", 3, 4, 5, 6, 7, 8, 8, 8)
	})
	t.Run("L2 halves when it was too much, and is not less than one", func(t *testing.T) {
		w := newWindow(8)
		sizes(t, &w, "++++++", 3, 4, 5, 6, 7, 8)
		watchWindow(&w, origin.Add(1), 8, "-")
		if w.size != 4 {
			t.Errorf("size: %v, want 4", w.size)
		}
		w = newWindow(1)
		watchWindow(&w, origin.Add(1), 8, "-")
		if w.size != 1 {
			t.Errorf("size: %v, want 1", w.size)
		}
	})
	t.Run("L2 those in flight together shrink it once", func(t *testing.T) {
		w := newWindow(8)
		watchWindow(&w, origin, 8, "++++++")
		now := origin.Add(time.Second)
		w.shrink(origin, now)
		w.shrink(origin, now.Add(1))
		if w.size != 4 {
			t.Errorf("size after two that began before it shrank: %v, want 4", w.size)
		}
		w.shrink(now, now.Add(2))
		if w.size == 4 {
			t.Error("one that began when it shrank does not shrink it")
		}
	})
	t.Run("L2 grows back at once to one less than was too much, and by one after a second", func(t *testing.T) {
		w := newWindow(8)
		watchWindow(&w, origin, 8, "++++++-")
		for i, want := range []float64{5, 6, 7, 7, 7} {
			if watchWindow(&w, origin, 8, "+"); w.size != want {
				t.Fatalf("size after %d successes: %v, want %v", i+1, w.size, want)
			}
		}
		if watchWindow(&w, origin.Add(firstHold-1), 8, "+"); w.size != 7 {
			t.Errorf("size before the second is over: %v, want 7", w.size)
		}
		if watchWindow(&w, origin.Add(firstHold), 8, "+"); w.size != 8 {
			t.Errorf("size after it: %v, want 8", w.size)
		}
	})
	t.Run("L2 grows to no more than was taken, whatever it was halved to", func(t *testing.T) {
		w := newWindow(8)
		watchWindow(&w, origin, 8, "+++++-") // 7 were too many: 6
		sizes(t, &w, "+++", 4.5, 5.5, 6)
	})
	t.Run("L2 halves again where what was taken is too much by now", func(t *testing.T) {
		w := newWindow(8)
		watchWindow(&w, origin, 8, "++++++-++++") // 8 were too many: 7
		if watchWindow(&w, origin.Add(1), 8, "-"); w.size != 3.5 || w.ceiling != 6 {
			t.Errorf("size: %v, of %v at most, want 3.5 of 6", w.size, w.ceiling)
		}
	})
	t.Run("L2 what was one too many again is tried after twice as long, up to a minute", func(t *testing.T) {
		w := newWindow(8)
		watchWindow(&w, origin, 8, "++++++-+++")
		now, hold := origin.Add(firstHold), firstHold
		for range 9 {
			if watchWindow(&w, now, 8, "+"); w.size != 8 {
				t.Fatalf("size after %v: %v, want 8", hold, w.size)
			}
			if watchWindow(&w, now.Add(1), 8, "-"); w.size != 7 {
				t.Fatalf("size when that was too much: %v, want 7", w.size)
			}
			now, hold = now.Add(1), min(2*hold, lastHold)
			if watchWindow(&w, now.Add(hold-1), 8, "+"); w.size != 7 {
				t.Fatalf("size before %v are over: %v, want 7", hold, w.size)
			}
			now = now.Add(hold)
		}
		if hold != lastHold {
			t.Errorf("the longest wait: %v, want %v", hold, lastHold)
		}
	})
	t.Run("L2 what is taken for long is no longer too much", func(t *testing.T) {
		w := newWindow(20)
		watchWindow(&w, origin, 20, "++++-") // 6 were too many: 5
		now := origin
		for want := 6.0; want <= 12; want++ {
			watchWindow(&w, now, 20, "++++++++")
			if now = now.Add(w.hold); w.size != want-1 {
				t.Fatalf("size: %v, want %v", w.size, want-1)
			}
			watchWindow(&w, now, 20, "+")
			if w.size != want {
				t.Fatalf("size when more is tried: %v, want %v", w.size, want)
			}
		}
		if w.hold != firstHold {
			t.Errorf("the wait before the next: %v, want %v", w.hold, firstHold)
		}
	})
	t.Run("L2 grows slowly beyond what a site was down at", func(t *testing.T) {
		w := newWindow(8)
		w.size, w.threshold = 1, 3
		sizes(t, &w, "++++", 2, 3, 3+1./3, 3+1./3+1/(3+1./3))
	})
	t.Run("L2 is no more than the settings allow even where more was too much", func(t *testing.T) {
		w := newWindow(8)
		watchWindow(&w, origin, 8, "++++++-")
		for range 20 {
			watchWindow(&w, origin.Add(time.Hour), 3, "+")
		}
		if w.size != 3 {
			t.Errorf("size: %v, want 3", w.size)
		}
	})
}

func TestPace(t *testing.T) {
	for _, c := range []struct {
		what string
		want time.Duration
	}{
		{"mmmmmmmmm", 0}, {"mmmmmmmmmm", firstPace}, {"mmmmmmmmmmm", 2 * firstPace}, {"mmmmmmmmmmmmm", 8 * firstPace},
		{"mmmmmmmmmmmmmmmmmmm", slowPace}, {"mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm", slowPace},
		{"rrrrrrrrr", 0}, {"rrrrrrrrrr", firstPace}, {"rrrrrrrrrrr", rcptPace}, {"rrrrrrrrrrrrrrr", rcptPace},
		{"mmmmmmmmmmmm+", 0}, {"mmmmmmmmmmmm+m", 0}, {"mmmmm+mmmmm", 0}, {"mmmmmmmmmmmmr", rcptPace},
	} {
		t.Run(fmt.Sprintf("L3 after %q", c.what), func(t *testing.T) {
			w := newWindow(8)
			watchWindow(&w, origin, 8, c.what)
			if w.pace != c.want {
				t.Errorf("pace: %v, want %v", w.pace, c.want)
			}
		})
	}
}

func TestHeap(t *testing.T) {
	type element struct{ key, at int }
	var all []*element
	h := heap[*element]{less: func(a, b *element) bool { return a.key < b.key }, at: func(e *element) *int { return &e.at }}
	check := func(what string) {
		t.Helper()
		least := -1
		for _, e := range all {
			if e.at == absent {
				continue
			}
			if h.list[e.at] != e {
				t.Fatalf("%s: an element does not know its place", what)
			}
			if least < 0 || e.key < least {
				least = e.key
			}
		}
		if e, ok := h.first(); ok != (least >= 0) || ok && e.key != least {
			t.Fatalf("%s: first is %v, %t, want %d", what, e, ok, least)
		}
	}
	check("empty")
	n := uint32(1)
	for range 20_000 {
		n = n*1664525 + 1013904223
		pick := int(n >> 16)
		switch {
		case pick%4 < 2 && len(all) < 60:
			e := &element{key: pick % 1000, at: absent}
			all = append(all, e)
			h.add(e)
			check("add")
		case len(all) > 0 && pick%4 == 2:
			e := all[pick/4%len(all)]
			e.key = pick / 7 % 1000
			if e.at != absent {
				h.fix(e)
			}
			check("fix")
		case len(all) > 0:
			i := pick / 4 % len(all)
			if e := all[i]; e.at != absent {
				h.remove(e)
				if e.at != absent {
					t.Fatal("it is still in its place")
				}
			}
			all = append(all[:i], all[i+1:]...)
			check("remove")
		}
	}
}
