package reports

import "sync"

// Told has the ids of messages whose senders were told about a delay. The zero value is
// ready to use, and it is safe for concurrent use.
type Told struct {
	mu  sync.Mutex
	ids map[string]bool
}

// maxTold is how many are remembered. Those that are forgotten cost another look.
const maxTold = 1024

// Has reports whether the sender of a message was told.
func (t *Told) Has(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ids[id]
}

// Add records that the sender of a message was told.
func (t *Told) Add(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ids == nil || len(t.ids) >= maxTold {
		t.ids = make(map[string]bool)
	}
	t.ids[id] = true
}
