package sched

import "testing"

// TestRandomShort plays the first of the stories of TestRandom, which is soon done: what
// breaks much is found by it. TestRandom, which fails as well then, looks for the
// shortest story.
func TestRandomShort(t *testing.T) {
	for seed := range uint64(12) {
		s := newStory(seed)
		if wrong := s.play(); wrong != "" {
			t.Fatalf("seed %d: %s", seed, wrong)
		}
	}
}
