package tlsrpt

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"
)

// targets are what a Reporter remembers of where reports go.
type targets struct {
	mu    sync.Mutex
	today map[Day]map[string]int // reports of a day that are known to be counted, by Target.Host
	held  map[string]time.Time   // hosts of URLs that do not answer, until then
}

// counted is how many reports of a day to a host are known to be counted.
func (t *targets) counted(day Day, host string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.today[day][host]
}

// learn notes that there are so many.
func (t *targets) learn(day Day, host string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.today == nil {
		t.today = make(map[Day]map[string]int)
	}
	if t.today[day] == nil {
		t.today[day] = make(map[string]int)
	}
	t.today[day][host] = max(t.today[day][host], n)
}

// countPrefix begins the Domain of what counts the reports to a target. No domain has a
// blank.
const countPrefix = "to "

// admit reports whether one more report of a day may go to a host, and counts it in the
// Store: the count is the revision of a Delivery, which of several Reporters one can make.
func (r *Reporter) admit(ctx context.Context, day Day, host string) (bool, error) {
	most := cmp.Or(r.MaxPerTarget, defaultPerTarget)
	for {
		n := r.targets.counted(day, host)
		if n >= most {
			return false, nil
		}
		now, stored, err := r.store().Update(ctx, Delivery{Day: day, Domain: countPrefix + host, Revision: n + 1})
		if err != nil {
			return false, err
		}
		r.targets.learn(day, host, now.Revision)
		if stored {
			return true, nil
		}
		if now.Revision <= n {
			return false, errBackwards
		}
	}
}

var errBackwards = errors.New("the store of TLS reports has forgotten how many there were")

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
