package delivery

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/goroutine"
	"github.com/nexthop-mail/nexthop/delivery/internal/waiting"
	"github.com/nexthop-mail/nexthop/queue"
)

// suspended is what a run knows about suspensions. The zero value is ready to use.
type suspended struct {
	table atomic.Pointer[waiting.Table]
	stale goroutine.Signal // the queue may say otherwise by now

	learning sync.Mutex // of who asks the queue

	mu    sync.Mutex
	sited map[string]sited // destinations whose mail goes to a site that is suspended
}

// sited is a destination whose mail goes to a site that is suspended.
type sited struct {
	by    queue.Suspension
	site  string
	until time.Time // its route is looked at again
}

// maxSited is how many destinations of suspended sites are left out of claims.
// The mail of more waits by itself.
const maxSited = 10_000

// forget leaves destinations of sites out of those that are suspended.
func (s *suspended) forget(which func(*sited) bool) (some bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, one := range s.sited {
		if which(&one) {
			delete(s.sited, name)
			some = true
		}
	}
	return some
}

// note notes that a destination's mail goes to a suspended site, unless there are too
// many.
func (s *suspended) note(destination string, one sited) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.sited[destination]; !known && len(s.sited) >= maxSited {
		return false
	}
	if s.sited == nil {
		s.sited = make(map[string]sited)
	}
	s.sited[destination] = one
	return true
}

// of returns the suspension that applies to mail for a destination and of a tenant, and
// the site if it is one of a site.
func (s *suspended) of(now time.Time, destination, tenant string) (by *queue.Suspension, site string) {
	if by = s.table.Load().Mail(now, destination, tenant); by != nil {
		return by, ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if one, known := s.sited[destination]; known && !one.by.Over(now) {
		return &one.by, one.site
	}
	return nil, ""
}

// leaveOut adds suspended mail to the exceptions of a claim.
func (s *suspended) leaveOut(now time.Time, o *queue.ClaimOptions) {
	table := s.table.Load()
	if table == nil {
		return
	}
	destinations, tenants := table.Names(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, one := range s.sited {
		if one.until.After(now) && !one.by.Over(now) {
			destinations = append(destinations, name)
		}
	}
	o.Except = slices.Concat(o.Except, destinations)
	o.ExceptTenants = slices.Concat(o.ExceptTenants, tenants)
}
