package waiting

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Suspensions is what an agent knows about suspensions: the table of the queue, and the
// destinations whose mail was found to go to a suspended site, which the table alone does
// not tell. The zero value knows none. All methods are safe for concurrent use.
type Suspensions struct {
	table atomic.Pointer[Table] // replaced under the lock

	mu    sync.Mutex
	sited map[string]Sited // by destination
}

// Sited says that the mail for a destination goes to a suspended site.
type Sited struct {
	By    queue.Suspension
	Site  string
	Until time.Time // then the route must be looked up again
}

// maxSited is the number of destinations of suspended sites that are known. More are not
// left out of claims: their mail is claimed, and returned with a time of its own.
const maxSited = 10_000

// Table returns the current table.
func (s *Suspensions) Table() *Table { return s.table.Load() }

// Replace replaces the table, and forgets the destinations of sites that are no longer
// suspended. It returns false if the tables say the same.
func (s *Suspensions) Replace(now time.Time, t *Table) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.Equal(s.table.Load()) {
		return false
	}
	s.table.Store(t)
	maps.DeleteFunc(s.sited, func(_ string, one Sited) bool { return !t.Has(now, one.By.Subject) })
	return true
}

// Add adds a destination of a suspended site. It returns false if there are too many.
func (s *Suspensions) Add(destination string, one Sited) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.sited[destination]; !known && len(s.sited) >= maxSited {
		return false
	}
	if s.sited == nil {
		s.sited = make(map[string]Sited)
	}
	s.sited[destination] = one
	return true
}

// Sited returns the known destinations of suspended sites.
func (s *Suspensions) Sited() map[string]Sited {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.sited)
}

// Expire forgets the destinations whose time or suspension is over, and reports whether
// there were any.
func (s *Suspensions) Expire(now time.Time) (some bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.sited)
	maps.DeleteFunc(s.sited, func(_ string, one Sited) bool { return one.over(now) })
	return len(s.sited) < before
}

// over reports whether the mail must be looked at again.
func (s *Sited) over(now time.Time) bool { return !s.Until.After(now) || s.By.Over(now) }

// Mail returns the suspension that applies to mail of a tenant for a destination, or nil
// if there is none. If it is the suspension of a site, that is the site of the mail.
func (s *Suspensions) Mail(now time.Time, destination, tenant string) (by *queue.Suspension, site string) {
	if by = s.Table().Mail(now, destination, tenant); by != nil {
		return by, ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if one, known := s.sited[destination]; known && !one.By.Over(now) {
		return &one.By, one.Site
	}
	return nil, ""
}

// LeaveOut adds suspended mail to the exceptions of a claim.
func (s *Suspensions) LeaveOut(now time.Time, o *queue.ClaimOptions) {
	destinations, tenants := s.Table().Names(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, one := range s.sited {
		if !one.over(now) {
			destinations = append(destinations, name)
		}
	}
	o.Except = append(slices.Clip(o.Except), destinations...)
	o.ExceptTenants = append(slices.Clip(o.ExceptTenants), tenants...)
}
