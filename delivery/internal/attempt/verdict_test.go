package attempt

import (
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
)

// TestDecide goes through every sequence of up to five verdicts and holds the
// outcome against the rule in words: what is there at all decides.
func TestDecide(t *testing.T) {
	all := []Verdict{
		NotNow, HostRefuses, Refused, MaybeTaken, Taken,
	}
	t.Run("FAULTS 1: delivered > unknown > refused > temporary > host refuses", func(t *testing.T) {
		sequences := 0
		var extend func(prefix []Verdict)
		extend = func(prefix []Verdict) {
			sequences++
			if got, want := Decide(prefix...), ranked(prefix); got != want {
				t.Errorf("Decide(%v) = %v, want %v", prefix, got, want)
			}
			if len(prefix) == 5 {
				return
			}
			for _, v := range all {
				extend(append(prefix[:len(prefix):len(prefix)], v))
			}
		}
		extend(nil)
		if want := 1 + 5 + 25 + 125 + 625 + 3125; sequences != want {
			t.Fatalf("went through %d sequences, want %d", sequences, want)
		}
	})
}

// ranked is the rule said another way.
func ranked(vs []Verdict) queue.Outcome {
	has := func(w Verdict) bool {
		for _, v := range vs {
			if v == w {
				return true
			}
		}
		return false
	}
	switch {
	case has(Taken):
		return queue.Delivered
	case has(MaybeTaken):
		return queue.Unknown
	case has(Refused):
		return queue.Failed
	case has(NotNow), len(vs) == 0:
		return queue.Deferred
	default:
		return queue.Failed
	}
}
