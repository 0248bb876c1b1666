package lease

import (
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func TestLeases(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	lease := func(message string, token uint64, in time.Duration) *queue.Lease {
		return &queue.Lease{Message: message, Destination: "d", Token: token, Until: now.Add(in)}
	}
	claimed := func(list ...*queue.Lease) (l *Table, held []*Held) {
		l = &Table{}
		for _, one := range list {
			held = append(held, &Held{Lease: *one})
			l.Add(held[len(held)-1])
		}
		return l, held
	}
	check := func(t *testing.T, l *Table, held []*Held, want ...bool) {
		t.Helper()
		for i, h := range held {
			if got := l.Lost(h); got != want[i] {
				t.Errorf("%s with the token %d is lost: %t, want %t", h.Message, h.Token, got, want[i])
			}
		}
	}
	t.Run("one is lost that has been claimed anew, or that the queue says is lost", func(t *testing.T) {
		l, held := claimed(lease("a", 1, time.Minute), lease("b", 1, time.Minute), lease("b", 2, time.Minute), lease("c", 1, time.Minute))
		check(t, l, held, false, true, false, false)
		l.Remove(lease("b", 1, 0)) // somebody else's
		l.Remove(lease("c", 1, 0))
		l.Remove(lease("x", 1, 0))
		check(t, l, held, false, true, false, true)
	})
	t.Run("one that is settled is held no longer, but a later claim's is", func(t *testing.T) {
		l, held := claimed(lease("a", 1, time.Minute), lease("b", 1, time.Minute), lease("b", 2, time.Minute))
		l.Release(held[0])
		l.Release(held[1])
		check(t, l, held, true, true, false)
		if list := l.Ending(now.Add(time.Hour)); len(list) != 1 || list[0].Token != 2 {
			t.Errorf("held are %v, want that of the later claim", list)
		}
	})
	t.Run("QUE-9 one is valid that lasts for longer than a final dot may take to get there", func(t *testing.T) {
		l, held := claimed(lease("a", 1, time.Minute), lease("b", 1, time.Minute), lease("b", 2, time.Minute))
		for at, want := range map[time.Duration]bool{0: true, time.Minute - margin - 1: true, time.Minute - margin: false, time.Minute: false} {
			if got := l.Valid(held[0], now.Add(at)); got != want {
				t.Errorf("after %v: %t, want %t", at, got, want)
			}
		}
		if l.Valid(held[1], now) {
			t.Error("one is valid that is not held")
		}
		l.Extended(lease("a", 1, time.Hour))
		if !l.Valid(held[0], now.Add(time.Minute)) {
			t.Error("one that was extended is not valid for as long")
		}
	})
	t.Run("those that end soon are extended", func(t *testing.T) {
		l, _ := claimed(lease("a", 1, time.Second), lease("b", 1, time.Minute), lease("c", 1, time.Hour))
		ending := func(in time.Duration) (list []string) {
			for _, one := range l.Ending(now.Add(in)) {
				list = append(list, one.Message)
			}
			slices.Sort(list)
			return list
		}
		for in, want := range map[time.Duration][]string{time.Second: nil, time.Minute: {"a"}, time.Hour: {"a", "b"}} {
			if got := ending(in); !slices.Equal(got, want) {
				t.Errorf("they end in %v: %q, want %q", in, got, want)
			}
		}
		l.Extended(lease("a", 1, 2*time.Hour))
		l.Extended(lease("b", 2, 2*time.Hour)) // somebody else's
		l.Extended(lease("x", 1, 2*time.Hour))
		if got, want := ending(90*time.Minute), []string{"b", "c"}; !slices.Equal(got, want) {
			t.Errorf("they end when a was extended: %q, want %q", got, want)
		}
	})
}
