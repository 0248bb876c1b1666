package tlsstore

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestRecent: what was seen is known for ten seconds, and no longer after a change by this
// process, nor if it was asked for before that.
func TestRecent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recent[string, int]
		want := func(when string, want int, known bool) (changes int) {
			t.Helper()
			got, ok, changes := r.recall("a")
			if ok != known || ok && got != want {
				t.Errorf("%s: %d, %t", when, got, ok)
			}
			return changes
		}
		changes := want("at first", 0, false)
		r.remember(changes, map[string]int{"a": 1})
		want("remembered", 1, true)
		time.Sleep(10*time.Second - 1)
		want("until ten seconds have passed", 1, true)
		time.Sleep(time.Nanosecond)
		changes = want("then", 0, false)
		r.forget("b")
		r.remember(changes, map[string]int{"a": 2})
		changes = want("asked before a change", 0, false)
		r.remember(changes, map[string]int{"a": 3})
		r.forget("a")
		changes = want("changed", 0, false)
		r.remember(changes, map[string]int{"a": 4})
		r.forgetAll()
		changes = want("all changed", 0, false)
		r.remember(changes, map[string]int{"a": 5})
		want("asked afterwards", 5, true)
	})
}
