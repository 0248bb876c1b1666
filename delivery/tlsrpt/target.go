package tlsrpt

import (
	"sync"
	"time"
)

// targets are what a Reporter remembers of where reports go.
type targets struct {
	most int

	mu    sync.Mutex
	today map[Day]map[string]int // reports of a day, by Target.Host
	held  map[string]time.Time   // hosts of URLs that do not answer, until then
}

// admit reports whether one more report of a day may go to a host, and counts it.
func (t *targets) admit(day Day, host string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.today == nil {
		t.today = make(map[Day]map[string]int)
	}
	if t.today[day] == nil {
		t.today[day] = make(map[string]int)
	}
	if t.today[day][host] >= t.most {
		return false
	}
	t.today[day][host]++
	return true
}

// hold leaves a host alone for a while: others have reports for it, too, and each would
// wait for it as long.
func (t *targets) hold(host string, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == nil {
		t.held = make(map[string]time.Time)
	}
	t.held[host] = until
}

// heldUntil is when a host is no longer left alone; the zero time if it is not.
func (t *targets) heldUntil(host string, now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	until := t.held[host]
	if !now.Before(until) {
		delete(t.held, host)
		return time.Time{}
	}
	return until
}

// forget forgets days before one.
func (t *targets) forget(before Day) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for day := range t.today {
		if day < before {
			delete(t.today, day)
		}
	}
}
