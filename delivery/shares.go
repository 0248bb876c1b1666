package delivery

import (
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/goroutine"
	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/queue"
)

// shares are an agent's shares of limits.
type shares struct {
	mu      sync.Mutex
	all     map[sched.Shared]*share
	pending []queue.LimitRequest // to go with the next claim
	needed  goroutine.Signal     // of a limit that may need one
	less    bool                 // there is less of some limit than there was
}

// share is the share of one limit.
type share struct {
	name        string
	connections int  // in common; zero is no limit
	limited     bool // in connections
	paced       bool // and in rate

	most  int
	rate  float64
	until time.Time // nothing begins from then on
	asked time.Time
}

func newShares() *shares { return &shares{all: make(map[sched.Shared]*share)} }

// unlimited is more attempts than are ever in flight.
const unlimited = 1 << 30

// of is what may be used of a limit.
func (s *shares) of(now time.Time, limit sched.Shared) (most int, rate float64) {
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

// request takes what is to be asked for with a claim.
func (s *shares) request() (list []queue.LimitRequest) {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list, s.pending = s.pending, nil
	return list
}

// need says that a limit may need another share.
func (s *shares) need(rules *ruleSet) {
	if s != nil && rules.shared() {
		s.needed.Set()
	}
}

// take takes the answers to requests, and reports whether there are any.
func (s *shares) take(list []queue.LimitRequest, got []queue.LimitShare, now, asked time.Time) bool {
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

// lessened reports whether there is less of some limit than when it was asked last.
func (s *shares) lessened() (less bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	less, s.less = s.less, false
	return less
}

// shareName is the name that all agents know a limit by.
func shareName(limit sched.Shared) string {
	if limit.Group {
		return "group " + limit.Name
	}
	return "site " + limit.Name
}

// shared reports whether any limits are shared.
func (s *ruleSet) shared() bool { return s != nil && s.anyShared }

// sharedRules are rules with the shares in place of what agents have in common.
type sharedRules struct {
	*ruleSet
	shares *shares
}

// Host returns the limits of a site's connections to a host.
func (s sharedRules) Host(site, host string) session.HostLimits {
	l := s.ruleSet.Host(site, host)
	now := time.Now()
	if l.Shared {
		most, _ := s.shares.of(now, sched.Shared{Name: site})
		l.PerSite = min(l.PerSite, most)
	}
	for i := range l.Groups {
		if !l.Groups[i].Shared {
			continue
		}
		most, rate := s.shares.of(now, sched.Shared{Name: l.Groups[i].Name, Group: true})
		if most == 0 {
			l.PerSite = 0
			continue
		}
		l.Groups = slices.Clone(l.Groups)
		l.Groups[i].Rate = rate
		if l.Groups[i].Connections > 0 {
			l.Groups[i].Connections = most
		}
	}
	return l
}
