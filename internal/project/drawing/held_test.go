package main

import "testing"

// TestStoreys: the files of delivery and of what is inside it stand on no more storeys
// than here, and no more of their uses run back up, so that each package can be read
// from the bottom to the top. If a change makes fewer of either, the table follows.
func TestStoreys(t *testing.T) {
	uses, err := load("../../..", []string{"./delivery", "./delivery/internal/..."})
	if err != nil {
		t.Fatal(err)
	}
	most := map[string]struct{ storeys, back int }{
		"delivery":                  {7, 3},
		"delivery/internal/attempt": {8, 0},
		"delivery/internal/clock":   {1, 0},
		"delivery/internal/reports": {2, 0},
		"delivery/internal/sched":   {8, 0},
		"delivery/internal/session": {7, 0},
		"delivery/internal/waiting": {1, 0},
	}
	for _, h := range draw(uses).packages {
		m, ok := most[h.name]
		if !ok {
			t.Errorf("%s is not in the table", h.name)
		}
		if h.storeys > m.storeys || h.backUp() > m.back {
			t.Errorf("%s has %d storeys, and %d uses run back up; at most %d and %d are allowed (make drawing shows them)",
				h.name, h.storeys, h.backUp(), m.storeys, m.back)
		}
	}
}
