package mtasts

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Entry is a stored policy.
type Entry struct {
	// Domain is the policy's domain in canonical form.
	Domain string `json:"domain"`
	// ID is the id in the TXT record when the policy was fetched, or "" if there was
	// none.
	ID string `json:"id"`
	// Policy is the policy itself.
	Policy Policy `json:"policy"`
	// Fetched is the time of the fetch, and Used the time when mail last used the
	// policy.
	Fetched time.Time `json:"fetched"`
	Used    time.Time `json:"used"`
}

// Expires returns the time until which the policy is in force.
func (e *Entry) Expires() time.Time { return e.Fetched.Add(e.Policy.MaxAge) }

// valid reports whether the policy is in force.
func (e *Entry) valid(now time.Time) bool { return e.Domain != "" && now.Before(e.Expires()) }

// ahead reports whether the entry was stored while the clock was ahead.
func (e *Entry) ahead(now time.Time) bool { return e.Fetched.Sub(now) > aheadFor }

// Store keeps policies, so that they survive a restart and can be shared. Several
// Sources in several processes may use it at the same time; the last one to save wins.
//
//   - Load returns the entry last saved for a domain. If there is none, it returns the
//     zero Entry and no error. If it cannot tell, it returns an error, and mail to the
//     domain waits unless the policy can be fetched. The error is an ErrDamaged if there
//     is an entry that cannot be read.
//   - Save replaces the entry for its domain. When it returns, Load returns the new
//     entry, even in a process that starts later.
//   - Delete removes the entry for a domain. It is not an error if there is none.
//   - List returns at most limit entries of domains after the given one, sorted by
//     domain. If it returns fewer, there are no more. If some cannot be read, it returns
//     the others and an error.
//   - Neither side changes an Entry, or what it points to, after the call.
//   - Every method is safe for concurrent use, and returns when ctx ends.
type Store interface {
	Load(ctx context.Context, domain string) (Entry, error)
	Save(ctx context.Context, e Entry) error
	Delete(ctx context.Context, domain string) error
	List(ctx context.Context, after string, limit int) ([]Entry, error)
}

// ErrDamaged is the error of a Store, usually wrapped, if an entry is stored that cannot
// be read. The domain may have a policy in force.
var ErrDamaged = errors.New("the stored MTA-STS policy cannot be read")

// Memory is a Store that is lost with the process. The zero value is ready for use; it
// must not be copied.
type Memory struct {
	// MaxEntries limits the number of policies. Default: 65,536. The one unused for the
	// longest time is removed first.
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
