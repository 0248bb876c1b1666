package tlsrpt

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Store keeps the counts and the progress of reports. Both survive a restart, and can
// be shared: of all Reporters that share a Store, in one process or several, one sends
// the report of a day and a domain, and the report has the counts of all of them.
//
//   - Save keeps the tallies of one Counts for a day, and replaces those that it saved
//     before for that day. counter is the name of that Counts, in lower-case letters
//     and digits.
//   - Load returns the tallies of all Counts for a day, one after the other, so a
//     domain and a policy may occur several times. It returns everything that was saved
//     before Load was called.
//   - Update changes a Delivery. It stores d if d.Revision is one more than the
//     revision stored for its day and domain, which is 0 if there is none. stored says
//     whether it did, and now is the Delivery stored afterwards. If several callers try
//     the same revision, one succeeds.
//     A Reporter also counts the reports of a day to one target by the revisions of a
//     Delivery, whose Domain is "to " and the target.
//   - Forget removes all data of the days before the given one.
//   - Neither side changes arguments or results after the call.
//   - Every method is safe for concurrent use, and returns when ctx ends.
type Store interface {
	Save(ctx context.Context, day Day, counter string, tallies []Tally) error
	Load(ctx context.Context, day Day) ([]Tally, error)
	Update(ctx context.Context, d Delivery) (now Delivery, stored bool, err error)
	Forget(ctx context.Context, before Day) error
}

// Delivery is the progress of the report of a day and a domain.
type Delivery struct {
	// Day and Domain are the subject of the report.
	Day    Day    `json:"day"`
	Domain string `json:"domain"`

	// Revision is 1 when the Delivery is first stored, and grows by one each time.
	Revision int `json:"revision"`

	// Until is the time of the next attempt; no Reporter begins one before. A Reporter
	// that works on the report sets Until to the time at which others may assume that
	// it has died.
	Until time.Time `json:"until"`

	// First is the time of the first attempt, and Attempts the number of attempts.
	First    time.Time `json:"first"`
	Attempts int       `json:"attempts"`

	// Taken are the targets that accepted the report, and Refused those that refused it
	// permanently, by their URIs.
	Taken   []string `json:"taken,omitempty"`
	Refused []string `json:"refused,omitempty"`

	// Counted are the targets, by their hosts or domains, at which the report counts
	// towards Reporter.MaxPerTarget.
	Counted []string `json:"counted,omitempty"`

	// Done is true if no more attempts are needed: enough targets have accepted the
	// report, or the time is up.
	Done bool `json:"done"`

	// Problems describes for people what went wrong at the last attempt.
	Problems []string `json:"problems,omitempty"`
}

// clone returns a copy that shares no memory.
func (d Delivery) clone() Delivery {
	d.Taken, d.Refused = slices.Clone(d.Taken), slices.Clone(d.Refused)
	d.Counted, d.Problems = slices.Clone(d.Counted), slices.Clone(d.Problems)
	return d
}

// Memory is a Store that is lost with the process. The zero value is ready for use; it
// must not be copied.
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
