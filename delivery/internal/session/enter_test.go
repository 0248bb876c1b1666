package session

import (
	"fmt"
	"net/netip"
	"testing"
)

// place is the right to a connection to the host of a number.
func place(g *Gate, host int) *pass {
	name := fmt.Sprintf("mx%d.test", host)
	return &pass{gate: g, site: name, host: name, addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(host)})}
}

// taken takes places that are free.
func taken(t *testing.T, g *Gate, hosts ...int) (list []*pass) {
	t.Helper()
	for _, host := range hosts {
		p := place(g, host)
		if g.join(p, key{}) != nil {
			t.Fatalf("no place for host %d", host)
		}
		list = append(list, p)
	}
	return list
}

// waiting waits for places that are not free.
func waiting(t *testing.T, g *Gate, hosts ...int) (list []*waiter) {
	t.Helper()
	for _, host := range hosts {
		w := g.join(place(g, host), key{host: fmt.Sprint(host)})
		if w == nil {
			t.Fatalf("a place for host %d beyond the limits", host)
		}
		list = append(list, w)
	}
	return list
}

func admitted(w *waiter) bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// asked reports whether a waiter is to look for a session to end.
func asked(w *waiter) bool {
	select {
	case <-w.signal:
		return true
	default:
		return false
	}
}

func TestGateOrder(t *testing.T) {
	gate := func(total int) *Gate {
		return NewGate(func() Limits { return Limits{Connections: total, PerSite: 1, PerHost: 1, PerAddress: 1} })
	}
	t.Run("who waited first has the next place", func(t *testing.T) {
		g := gate(2)
		held := taken(t, g, 1, 2)
		w := waiting(t, g, 3, 4)
		held[0].leave()
		if !admitted(w[0]) || admitted(w[1]) {
			t.Error("the place went to the second")
		}
		held[1].leave()
		if !admitted(w[1]) || g.Size() != 2 {
			t.Errorf("the second has no place, %d connections", g.Size())
		}
	})
	t.Run("who waits for a host holds up nobody who wants another", func(t *testing.T) {
		g := gate(2)
		held := taken(t, g, 1)
		w := waiting(t, g, 1)
		taken(t, g, 2)
		w = append(w, waiting(t, g, 3)...)
		if held[0].leave(); !admitted(w[0]) || admitted(w[1]) {
			t.Error("the place went to the second")
		}
	})
	t.Run("who gives up gives back what came meanwhile", func(t *testing.T) {
		g := gate(1)
		held := taken(t, g, 1)
		w := waiting(t, g, 2, 3)
		if new(Pool).dismiss(w[0]); g.Size() != 1 || len(g.waiting) != 1 || admitted(w[0]) {
			t.Fatalf("%d connections and %d who wait, want one of each", g.Size(), len(g.waiting))
		}
		if held[0].leave(); !admitted(w[1]) {
			t.Fatal("the place went to one that waits no longer")
		}
		w = append(w, waiting(t, g, 4)...)
		if new(Pool).dismiss(w[1]); !admitted(w[2]) || g.Size() != 1 {
			t.Errorf("the place is lost, %d connections", g.Size())
		}
	})
	t.Run("a session that has been used goes to who waits for one like it", func(t *testing.T) {
		g := gate(1)
		held := taken(t, g, 1)
		w := waiting(t, g, 2, 1)
		w[1].pass.site = "another.test"
		s := &Session{pass: held[0], key: key{host: "1"}}
		if !g.hand(s) || w[1].sess != s || !admitted(w[1]) || admitted(w[0]) || g.Size() != 1 || len(g.waiting) != 1 {
			t.Error("it did not")
		}
		if g.SizeOf("another.test") != 1 || g.SizeOf("mx1.test") != 0 {
			t.Error("it does not count for the site that has it now")
		}
	})
	t.Run("for one place one session is ended", func(t *testing.T) {
		g := gate(2)
		held := taken(t, g, 1, 2)
		w := waiting(t, g, 3, 4)
		held[0].rest()
		if !asked(w[0]) || asked(w[1]) {
			t.Fatal("not the first alone is to end it")
		}
		g.ends(w[0], inTotal)
		held[1].rest()
		if asked(w[0]) || !asked(w[1]) {
			t.Fatal("not the second alone is to end the other")
		}
	})
	t.Run("a session that is none of the hindrance is not ended", func(t *testing.T) {
		g := gate(3)
		held := taken(t, g, 1, 2)
		w := waiting(t, g, 1)
		if held[1].rest(); asked(w[0]) {
			t.Error("it is")
		}
		if held[0].rest(); !asked(w[0]) || g.lacks(w[0]) != perAddress {
			t.Error("the one that is in the way is not")
		}
	})
	t.Run("who loses a place to one before it has another session ended", func(t *testing.T) {
		g := gate(1)
		held := taken(t, g, 1)
		w := waiting(t, g, 2, 3)
		g.ends(w[1], inTotal)
		if held[0].leave(); !admitted(w[0]) || !asked(w[1]) || g.lacks(w[1]) != inTotal {
			t.Error("it has not")
		}
	})
	t.Run("who loses one place has one other session ended", func(t *testing.T) {
		g := gate(1)
		held := taken(t, g, 1)
		w := waiting(t, g, 2, 3, 4)
		g.ends(w[1], inTotal)
		g.ends(w[2], inTotal)
		if held[0].leave(); !admitted(w[0]) || !asked(w[1]) || asked(w[2]) || g.lacks(w[2]) != noLimit {
			t.Error("not the next alone looks again")
		}
	})
	t.Run("who has the place that was made for it leaves the others to theirs", func(t *testing.T) {
		g := gate(1)
		held := taken(t, g, 1)
		w := waiting(t, g, 2, 3, 4)
		g.ends(w[0], inTotal)
		g.ends(w[1], inTotal)
		if held[0].leave(); !admitted(w[0]) || asked(w[1]) || asked(w[2]) || g.lacks(w[1]) != noLimit {
			t.Error("another session is to be ended")
		}
	})
	t.Run("who finds another limit in the way looks for a session again", func(t *testing.T) {
		g := gate(2)
		held := taken(t, g, 1, 2)
		w := waiting(t, g, 1)
		g.ends(w[0], inTotal)
		if held[1].leave(); admitted(w[0]) || !asked(w[0]) || g.lacks(w[0]) != perAddress {
			t.Error("it does not")
		}
	})
	t.Run("limits that are raised admit those who wait", func(t *testing.T) {
		total := 1
		g := NewGate(func() Limits { return Limits{Connections: total, PerSite: 1, PerHost: 1, PerAddress: 1} })
		taken(t, g, 1)
		w := waiting(t, g, 2, 3)
		total = 2
		if g.Wake(); !admitted(w[0]) || admitted(w[1]) || !asked(w[1]) {
			t.Error("not the first alone has a place")
		}
	})
}
