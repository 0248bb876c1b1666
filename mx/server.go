package mx

import (
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/internal/age"
)

// mostServersKnown bounds what a Client remembers of servers, those it no longer
// asks among them.
const mostServersKnown = 64

// deadFor is how long a server that did not answer is asked after all others.
const deadFor = 30 * time.Second

// habits is what a Client has learnt about its servers: which do not answer, and what
// each does not support.
type habits struct {
	mu    sync.Mutex
	known map[string]*habit
	turn  int // of Rotate
}

// habit is what is known about one server.
type habit struct {
	dead    time.Time          // it comes last until then
	without [TCP + 1]time.Time // each means is left out until then
	doubted bool               // a query with EDNS got no response, and no later one got an answer
}

// of returns what is known about a server; the caller holds the lock.
func (h *habits) of(addr string) *habit {
	if h.known == nil {
		h.known = make(map[string]*habit)
	}
	s := h.known[addr]
	if s == nil {
		if len(h.known) >= mostServersKnown {
			clear(h.known) // it will be found out again
		}
		s = &habit{}
		h.known[addr] = s
	}
	return s
}

// leftOut is the means a server is asked without for now, and whether it is not
// sure that it needs EDNS left out.
func (h *habits) leftOut(addr string, now time.Time) (out [TCP + 1]bool, doubted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.known[addr]
	if s == nil {
		return out, false
	}
	for m, until := range s.without {
		out[m] = !age.Past(until, now)
	}
	return out, s.doubted
}

// leaveOut remembers that a server answers without m, for a time.
func (h *habits) leaveOut(addr string, m Means, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.of(addr)
	s.without[m] = until
	if m == EDNS {
		s.doubted = false // no more
	}
}

// note remembers whether a server answers.
func (h *habits) note(addr string, answers bool, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.known[addr]; s != nil && answers {
		s.dead = time.Time{}
	} else if !answers {
		h.of(addr).dead = now.Add(deadFor)
	}
}

// doubt remembers whether the last query with EDNS met silence.
func (h *habits) doubt(addr string, is bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.known[addr]; s != nil || is {
		h.of(addr).doubted = is
	}
}

// hasEDNS remembers that a server answered a query with EDNS.
func (h *habits) hasEDNS(addr string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.known[addr]; s != nil {
		s.doubted, s.without[EDNS] = false, time.Time{}
	}
}

// inOrder is the servers in the order to ask them: theirs, or with rotate from
// another one each time, and those that lately did not answer last.
func (h *habits) inOrder(all []Server, rotate bool, now time.Time) []Server {
	h.mu.Lock()
	defer h.mu.Unlock()
	servers := make([]Server, 0, len(all))
	var last []Server
	from := 0
	if rotate && len(all) > 0 {
		from = h.turn % len(all)
		h.turn++
	}
	for _, s := range slices.Concat(all[from:], all[:from]) {
		if known := h.known[s.Addr]; known != nil && !age.Past(known.dead, now) {
			last = append(last, s)
		} else {
			servers = append(servers, s)
		}
	}
	return append(servers, last...)
}
