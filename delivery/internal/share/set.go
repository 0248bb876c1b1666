package share

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Limit names a limit: of a site or of a group of sites.
type Limit struct {
	Name  string
	Group bool
}

// String returns the name that all agents know the limit by.
func (l Limit) String() string {
	if l.Group {
		return "group " + l.Name
	}
	return "site " + l.Name
}

// Need is what an agent could do with a limit, and what it does.
type Need struct {
	// Limit is the limit, and Connections and Rate are what all agents may use of it
	// together. Zero means no limit.
	Limit       Limit
	Connections int
	Rate        float64

	// Want is how many connections the agent could use now, and Open how many it has.
	Want, Open int
}

// Set has an agent's shares. All methods are safe for concurrent use. A nil Set has none,
// and neither requests nor answers.
type Set struct {
	owner string

	mu      sync.Mutex
	all     map[Limit]*share
	pending []queue.LimitRequest // that nobody has sent yet
	less    bool                 // a share is less than it was
}

// share is the share of one limit.
type share struct {
	name        string
	connections int  // in common; zero is no limit
	limited     bool // in connections
	paced       bool // and in rate

	most  int
	rate  float64
	until time.Time // it has ended from then on
	asked time.Time
}

// New returns the shares of an agent, which has none yet. The queue knows it by the name of
// owner.
func New(owner string) *Set { return &Set{owner: owner, all: make(map[Limit]*share)} }

// unlimited is more connections than are ever open.
const unlimited = 1 << 30

// Of returns how many connections the agent may have, and the rate. Both are zero if it has
// no share.
func (s *Set) Of(now time.Time, limit Limit) (most int, rate float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.all[limit]
	switch {
	case h == nil || !now.Before(h.until) || h.paced && h.rate == 0:
		return 0, 0
	case !h.limited:
		return unlimited, h.rate
	default:
		return h.most, h.rate
	}
}

// Held returns the limits that the agent has asked for, as needs of nothing.
func (s *Set) Held() (list []Need) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for limit, h := range s.all {
		list = append(list, Need{Limit: limit, Connections: h.connections})
	}
	return list
}

// Times between two requests for a share.
const (
	renewal = 5 * time.Second // if it is what is needed
	again   = time.Second     // if it is not
)

// Plan goes by what is needed now, with an entry for each limit that is held, and returns
// the requests that are due, sorted by limit. more is false if nothing is needed or held.
func (s *Set) Plan(now time.Time, needs map[Limit]*Need) (list []queue.LimitRequest, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for limit, n := range needs {
		h := s.all[limit]
		if h == nil {
			h = &share{name: limit.String()}
			s.all[limit] = h
		}
		valid := now.Before(h.until)
		if n.Want == 0 && n.Open == 0 && !valid {
			delete(s.all, limit)
			continue
		}
		more = true
		h.connections, h.limited, h.paced = n.Connections, n.Connections > 0, n.Rate > 0
		if !valid {
			s.less = s.less || h.most > 0
			h.most, h.rate = 0, 0
		}
		before := h.most
		h.most = min(h.most, max(n.Want, n.Open))
		if n.Want == 0 {
			h.rate = 0
		}
		wait := again
		if valid && h.most == before && h.suits(n) {
			wait = renewal
		}
		if now.Sub(h.asked) < wait {
			continue
		}
		h.asked = now
		list = append(list, queue.LimitRequest{
			Limit: h.name, Claimer: s.owner, Connections: n.Connections, Rate: n.Rate, Want: n.Want,
			Have: max(h.most, n.Open), HaveRate: h.rate,
		})
	}
	slices.SortFunc(list, func(a, b queue.LimitRequest) int { return cmp.Compare(a.Limit, b.Limit) })
	return list, more
}

// suits reports whether a share is what is needed.
func (h *share) suits(n *Need) bool {
	switch {
	case n.Want == 0 && n.Open == 0:
		return false
	case n.Open > h.most, h.limited && n.Want > h.most:
		return false
	default:
		return !h.paced || h.rate > 0
	}
}

// Offer keeps requests for the one who sends them.
func (s *Set) Offer(list []queue.LimitRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = list
}

// Requests returns the requests that were offered and that nobody has sent yet. The caller
// sends them.
func (s *Set) Requests() (list []queue.LimitRequest) {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list, s.pending = s.pending, nil
	return list
}

// Take takes the queue's answers to requests that were sent at the time asked, which the
// queue was told as now. It reports whether there are any.
func (s *Set) Take(list []queue.LimitRequest, got []queue.LimitShare, now, asked time.Time) bool {
	if len(got) != len(list) || len(list) == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	byName := make(map[string]*share, len(s.all))
	for _, h := range s.all {
		byName[h.name] = h
	}
	for i := range got {
		h := byName[list[i].Limit]
		if h == nil || got[i].Until.IsZero() {
			continue
		}
		s.less = s.less || got[i].Connections < h.most
		h.most, h.rate, h.until = got[i].Connections, got[i].Rate, asked.Add(got[i].Until.Sub(now))
	}
	return true
}

// Lessened reports whether a share is less than when Lessened was called last.
func (s *Set) Lessened() (less bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	less, s.less = s.less, false
	return less
}

// Return returns the requests by which the agent gives all of its shares back.
func (s *Set) Return() (list []queue.LimitRequest) {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.all {
		list = append(list, queue.LimitRequest{Limit: h.name, Claimer: s.owner, Connections: h.connections})
	}
	return list
}
