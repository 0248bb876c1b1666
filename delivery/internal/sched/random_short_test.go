package sched

import "testing"

// TestRandomShort plays the first of the stories of TestRandom, which is soon done: what
// breaks much is found by it. TestRandom, which fails as well then, looks for the
// shortest story.
func TestRandomShort(t *testing.T) {
	for seed := range uint64(12) {
		set, steps := story(seed, storyLength+int(seed%2))
		if wrong := play(set, steps); wrong != "" {
			t.Fatalf("seed %d, %d steps: %s", seed, len(steps), wrong)
		}
	}
}
