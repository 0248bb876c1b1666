package delivery

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/mx"
)

// maxSites is how many sites without mail are remembered for what they did.
const maxSites = 20_000

// site is the site of a key, a new one where it is not known. The caller holds
// r.mu.
func (r *run) site(key string) *site {
	s := r.sites[key]
	if s == nil {
		if len(r.sites) >= maxSites {
			r.forgetSites()
		}
		s = &site{
			key: key, byMessage: make(map[string]*shipment), window: newWindow(r.limits().PerSite),
			finished: time.Now(),
		}
		r.sites[key] = s
	}
	return s
}

// forgetSites makes room: of sites without mail, any ones. Each costs one more
// attempt to be known again.
func (r *run) forgetSites() {
	for key, s := range r.sites {
		if len(r.sites) <= maxSites*3/4 {
			return
		}
		if s.claimed == 0 && s.workers == 0 && !s.eligible {
			s.silence()
			delete(r.sites, key)
		}
	}
}

// tidy forgets a site that has no mail and is like any other. The caller holds
// r.mu.
func (r *run) tidy(s *site) {
	if !s.worthKeeping(time.Now()) && r.sites[s.key] == s {
		s.silence()
		delete(r.sites, s.key)
	}
}

func (s *site) silence() {
	if s.alarm != nil {
		s.alarm.Stop()
	}
}

func (r *run) limits() *Limits { return &r.agent.current().Limits }

// connectionLimits are those of the limits that connections are counted against.
func (r *run) connectionLimits() session.Limits {
	l := r.limits()
	return session.Limits{
		Connections: l.Connections, PerSite: l.PerSite, PerHost: l.PerHost, PerAddress: l.PerAddress,
		Messages: l.Messages, ConnectionLife: l.ConnectionLife,
	}
}

// dispatch begins attempts at a site: as many as its mail, its limits and those
// of the agent allow. The caller holds r.mu.
func (r *run) dispatch(s *site) {
	for {
		sh := r.turn(s)
		if sh == nil {
			return
		}
		s.workers++
		r.busy++
		r.workers.Go(func() { r.attend(s, sh) })
	}
}

// turn is the site's next shipment, if one may begin now beside those that are
// under way. The caller holds r.mu.
func (r *run) turn(s *site) *shipment {
	limits := r.limits()
	now := time.Now()
	switch {
	case s.waiting.len() == 0 || r.draining || s.closed(now):
		return nil
	case s.workers >= min(s.limit(), limits.PerSite):
		return nil
	case now.Before(s.pacing):
		r.callAt(s, s.pacing)
		return nil
	case r.busy >= limits.Connections, !r.agent.events.room():
		r.queueUp(s)
		return nil
	}
	if limits.Rate > 0 || s.pace > 0 {
		wait := s.pace
		if limits.Rate > 0 {
			wait = max(wait, time.Duration(float64(time.Second)/limits.Rate))
		}
		s.pacing = now.Add(wait)
	}
	return s.pop()
}

// callAt dispatches the site at a later time. The caller holds r.mu.
func (r *run) callAt(s *site, at time.Time) {
	wait := time.Until(at)
	if s.alarm != nil {
		s.alarm.Reset(wait)
		return
	}
	s.alarm = time.AfterFunc(wait, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.dispatch(s)
		r.tidy(s)
	})
}

// queueUp makes a site wait for its turn, behind those that wait already. The
// caller holds r.mu.
func (r *run) queueUp(s *site) {
	if !s.eligible {
		s.eligible = true
		r.eligible = append(r.eligible, s)
	}
}

// feed gives the sites that wait their turn, each one after the other. The
// caller holds r.mu.
func (r *run) feed() {
	for n := len(r.eligible); n > 0 && len(r.eligible) > 0; n-- {
		if r.busy >= r.limits().Connections || !r.agent.events.room() {
			return
		}
		s := r.eligible[0]
		r.eligible[0] = nil
		r.eligible = r.eligible[1:]
		s.eligible = false
		r.dispatch(s)
	}
}

// Turns of a worker before it makes way for a site that waits for one.
const maxTurns = 16

// attend makes attempts at a site as long as there are any to make.
func (r *run) attend(s *site, sh *shipment) {
	for turns := 1; sh != nil; turns++ {
		r.ship(s, sh)
		r.mu.Lock()
		s.workers--
		r.busy--
		sh = nil
		if len(r.eligible) == 0 || turns < maxTurns {
			if sh = r.turn(s); sh != nil {
				s.workers++
				r.busy++
			}
		}
		if sh == nil {
			r.feed()
		}
		r.dispatch(s) // the window may have grown
		r.tidy(s)
		r.mu.Unlock()
	}
}

// siteKey names the site that a route leads to: its hosts in order of
// preference with their ports, TLS and logins. Routes with the same hosts have
// the same key, in whatever order equals were drawn and whatever numbers the
// preferences are. The caller holds r.mu.
func (r *run) siteKey(route *mx.Route) string {
	if len(route.Hosts) == 1 {
		return r.hostKey(&route.Hosts[0])
	}
	keys := make([]string, len(route.Hosts))
	for i := range route.Hosts {
		keys[i] = r.hostKey(&route.Hosts[i])
	}
	for from := 0; from < len(keys); {
		to := from + 1
		for to < len(keys) && route.Hosts[to].Preference == route.Hosts[from].Preference {
			to++
		}
		slices.Sort(keys[from:to])
		keys[to-1] += ";"
		from = to
	}
	return strings.Join(keys, ",")
}

func (r *run) hostKey(h *mx.Host) string {
	if h.Port == 0 && h.TLS == mx.TLSDefault && !h.ImplicitTLS && h.Login == nil && len(h.Identities) == 0 {
		return h.Name
	}
	b := make([]byte, 0, len(h.Name)+16)
	b = append(b, h.Name...)
	b = append(b, ':')
	b = strconv.AppendUint(b, uint64(h.Port), 10)
	b = append(b, '/')
	b = strconv.AppendUint(b, uint64(h.TLS), 10)
	if h.ImplicitTLS {
		b = append(b, 'i')
	}
	for _, name := range h.Identities {
		b = append(append(b, '='), name...)
	}
	if h.Login != nil {
		b = append(b, '@')
		b = strconv.AppendInt(b, int64(r.login(h.Login)), 10)
	}
	return string(b)
}

// maxLogins is how many logins are told apart before the numbers begin anew.
const maxLogins = 10_000

// login numbers logins, so that a key holds nothing secret.
func (r *run) login(l mx.Login) int {
	n, known := r.logins[l]
	if !known {
		if len(r.logins) >= maxLogins {
			clear(r.logins)
		}
		r.lastLogin++
		n = r.lastLogin
		r.logins[l] = n
	}
	return n
}

// noRouteKey names what stands for a destination as long as nobody can say
// where its mail goes. No host is called so.
func noRouteKey(destination string) string { return "? " + destination }
