package mtasts

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// Entry is a policy as it is stored.
type Entry struct {
	// Domain is whose policy it is, in canonical form.
	Domain string `json:"domain"`
	// ID is that of the TXT record when it was fetched; empty if there was none.
	ID string `json:"id"`
	// Policy is what was fetched.
	Policy Policy `json:"policy"`
	// Fetched is when, and Used when mail last went by it.
	Fetched time.Time `json:"fetched"`
	Used    time.Time `json:"used"`
}

// Expires is when the policy is no longer in force.
func (e *Entry) Expires() time.Time { return e.Fetched.Add(e.Policy.MaxAge) }

// valid reports whether the policy is in force.
func (e *Entry) valid(now time.Time) bool { return e.Domain != "" && now.Before(e.Expires()) }

// Store keeps policies, so that they survive a restart and are shared. It may be used by
// several Sources in several processes at the same time; the last to save wins.
//
//   - Load returns what was saved last for a domain, the zero Entry and no error if there
//     is nothing.
//   - Save replaces what there is for the domain of the entry. When it returns, Load has
//     the new entry, and so has a process that starts later.
//   - Delete removes what there is for a domain. It is no error if there is nothing.
//   - List returns at most limit entries of domains after the one given, sorted by
//     domain; fewer than that many mean that there are no more.
//   - An Entry and what it points to is not changed by either side afterwards.
//   - Every method is safe for concurrent use, and ends with ctx.
type Store interface {
	Load(ctx context.Context, domain string) (Entry, error)
	Save(ctx context.Context, e Entry) error
	Delete(ctx context.Context, domain string) error
	List(ctx context.Context, after string, limit int) ([]Entry, error)
}

// Memory is a Store for the life of the process. The zero value is ready for use; it must
// not be copied.
type Memory struct {
	// MaxEntries bounds the policies kept; 0 is 65,536. The one that was not used for the
	// longest time goes first.
	MaxEntries int

	mu      sync.Mutex
	entries map[string]Entry
}

const defaultEntries = 65536

// Load implements Store.
func (m *Memory) Load(_ context.Context, domain string) (Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.entries[domain], nil
}

// Save implements Store.
func (m *Memory) Save(_ context.Context, e Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil {
		m.entries = make(map[string]Entry)
	}
	m.entries[e.Domain] = e
	if most := cmp.Or(m.MaxEntries, defaultEntries); len(m.entries) > most {
		// A tenth goes at a time, so that this is rare.
		var all []Entry
		for _, e := range m.entries {
			all = append(all, e)
		}
		slices.SortFunc(all, func(a, b Entry) int { return a.Used.Compare(b.Used) })
		for _, old := range all[:len(all)-most+most/10] {
			if old.Domain != e.Domain {
				delete(m.entries, old.Domain)
			}
		}
	}
	return nil
}

// Delete implements Store.
func (m *Memory) Delete(_ context.Context, domain string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entries, domain)
	return nil
}

// List implements Store.
func (m *Memory) List(_ context.Context, after string, limit int) ([]Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Entry
	for _, e := range m.entries {
		if e.Domain > after {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(a.Domain, b.Domain) })
	return all[:min(len(all), limit)], nil
}
