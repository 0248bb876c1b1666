package tlsrpt

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Store keeps what was counted, and how far reports have come, so that both survive a
// restart and are shared: of all Reporters that share a Store, in one process or several,
// one sends the report of a day and a domain, and it has what all of them have counted.
//
//   - Save keeps the tallies of a day by one Counts, in place of those that it saved
//     before for that day. counter is the name of that Counts, of lower-case letters and
//     digits.
//   - Load returns the tallies of a day by all Counts, one after the other: a domain and a
//     policy may be there several times. What was saved before Load was called is there.
//   - Update changes a Delivery. It stores d if d.Revision is one more than that of what
//     is stored for its day and domain, where nothing counts as revision 0. stored is
//     whether it has; now is what is stored afterwards. Of several who try the same
//     revision, one succeeds.
//   - Forget removes all there is of days before one.
//   - What is passed in is not changed by either side afterwards, nor what is returned.
//   - Every method is safe for concurrent use, and ends with ctx.
type Store interface {
	Save(ctx context.Context, day Day, counter string, tallies []Tally) error
	Load(ctx context.Context, day Day) ([]Tally, error)
	Update(ctx context.Context, d Delivery) (now Delivery, stored bool, err error)
	Forget(ctx context.Context, before Day) error
}

// Delivery is how far the report of a day and a domain has come.
type Delivery struct {
	// Day and Domain are what the report is about.
	Day    Day    `json:"day"`
	Domain string `json:"domain"`

	// Revision is 1 when it is stored first, and one more each time.
	Revision int `json:"revision"`

	// Until is when it is next to be looked at: nobody does before. Whoever is at work
	// on a report has it set to when that would have taken too long.
	Until time.Time `json:"until"`

	// First is when it was sent first, and Attempts how often that was tried.
	First    time.Time `json:"first"`
	Attempts int       `json:"attempts"`

	// Taken are the targets that have the report, and Refused those that will not get
	// it, by their URIs.
	Taken   []string `json:"taken,omitempty"`
	Refused []string `json:"refused,omitempty"`

	// Done is whether nothing more is to be done: enough targets have it, or the time
	// is up.
	Done bool `json:"done"`

	// Problems are what went wrong the last time, for people.
	Problems []string `json:"problems,omitempty"`
}

// clone is a copy that shares nothing.
func (d Delivery) clone() Delivery {
	d.Taken, d.Refused, d.Problems = slices.Clone(d.Taken), slices.Clone(d.Refused), slices.Clone(d.Problems)
	return d
}

// Memory is a Store for the life of the process. The zero value is ready for use; it must
// not be copied.
type Memory struct {
	mu         sync.Mutex
	tallies    map[Day]map[string][]Tally // by the name of the Counts
	deliveries map[Day]map[string]Delivery
}

// Save implements Store.
func (m *Memory) Save(_ context.Context, day Day, counter string, tallies []Tally) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tallies == nil {
		m.tallies = make(map[Day]map[string][]Tally)
	}
	if m.tallies[day] == nil {
		m.tallies[day] = make(map[string][]Tally)
	}
	m.tallies[day][counter] = tallies
	return nil
}

// Load implements Store.
func (m *Memory) Load(_ context.Context, day Day) ([]Tally, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Tally
	for _, tallies := range m.tallies[day] {
		all = append(all, tallies...)
	}
	return all, nil
}

// Update implements Store.
func (m *Memory) Update(_ context.Context, d Delivery) (Delivery, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, ok := m.deliveries[d.Day][d.Domain]
	if !ok {
		now = Delivery{Day: d.Day, Domain: d.Domain}
	}
	if d.Revision != now.Revision+1 {
		return now.clone(), false, nil
	}
	if m.deliveries == nil {
		m.deliveries = make(map[Day]map[string]Delivery)
	}
	if m.deliveries[d.Day] == nil {
		m.deliveries[d.Day] = make(map[string]Delivery)
	}
	m.deliveries[d.Day][d.Domain] = d.clone()
	return d, true, nil
}

// Forget implements Store.
func (m *Memory) Forget(_ context.Context, before Day) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for day := range m.tallies {
		if day < before {
			delete(m.tallies, day)
		}
	}
	for day := range m.deliveries {
		if day < before {
			delete(m.deliveries, day)
		}
	}
	return nil
}
