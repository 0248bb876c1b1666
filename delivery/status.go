package delivery

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/waiting"
	"github.com/nexthop-mail/nexthop/queue"
)

// Stats has numbers about the current work of an agent, and its counters.
type Stats struct {
	// Deliveries is the number of attempts in flight.
	Deliveries int

	// Claimed is the number of deliveries that were claimed from the queue and are not
	// settled.
	Claimed int

	// Sites is the number of known sites. BackedOff is the number of those whose hosts
	// are down, and LoginRefused of those that refuse our login.
	Sites, BackedOff, LoginRefused int

	// Sessions is the number of open sessions, in use or kept for the next message.
	Sessions int

	// Events is the number of events that wait for the Events hook.
	Events int

	// Counts has the events since the Agent was created, whether or not there is an
	// Events hook. Counts.Since gives the events between two calls.
	Counts Counts

	// Trouble is the last error of the queue, or nil if it works.
	Trouble error
}

// Stats returns the current numbers. While the agent is not running, it does no work.
func (a *Agent) Stats() Stats {
	r := a.running()
	s := Stats{Events: a.events.Waiting(), Counts: a.counts.read()}
	if r == nil {
		return s
	}
	r.mu.Lock()
	at := r.sched.Stats(time.Now())
	r.mu.Unlock()
	s.Deliveries, s.Claimed = at.InFlight, at.Held
	s.Sites, s.BackedOff, s.LoginRefused = at.Sites, at.Down, at.Refused
	s.Sessions = r.gate.Size()
	s.Trouble = r.trouble.Err()
	return s
}

// SiteStatus is the state of one site, or of a destination whose site is not known.
type SiteStatus struct {
	// Site is the name of the site. It is empty if it is not known, because no running
	// agent has tried it or there is no route.
	Site string

	// Destinations are those with mail in the queue, sorted. Waiting is the number of
	// their deliveries there.
	Destinations []string
	Waiting      int

	// Connections is the number of open connections to the site, including unused ones.
	// Window is the number of attempts that may be in flight. Both are zero while the
	// agent is not running.
	Connections, Window int

	// State is WaitNew if nothing holds the site's mail back. Otherwise it is
	// WaitSiteDown, WaitSiteFull, WaitRate, WaitLoginRefused, WaitDNS or WaitSuspended,
	// until Until if that is known.
	State WaitReason
	Until time.Time

	// Host is the host that was asked last, and Last its reply. Note is the reason of a
	// suspension.
	Host, Last, Note string
}

// Sites returns the state of every site that has mail in the queue, sorted by name.
// While the agent is not running, it uses what the queue has stored. The error is that
// of queue.Survey.
func (a *Agent) Sites(ctx context.Context) ([]SiteStatus, error) {
	y := why{run: a.running(), at: a.time(), keeps: make(map[string]sched.Standing)}
	suspended, err := queue.Suspensions(ctx, a.Queue, y.at.Now)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	y.table = waiting.NewTable(suspended)
	sites := y.sites()
	byName := make(map[string]*SiteStatus) // of destinations
	for _, s := range sites {
		for _, name := range s.Destinations {
			byName[name] = s
		}
		s.Destinations = nil
	}
	for after := ""; ; {
		page, err := queue.Survey(ctx, a.Queue, after, surveyPage)
		if err != nil {
			return nil, err
		}
		for i := range page {
			d := &page[i]
			s := byName[d.Name]
			if other := y.siteOf(d); s == nil || other.State == WaitSuspended {
				if s != nil {
					other.Site = s.Site // whose other mail is not suspended
				}
				s, sites = other, append(sites, other)
			}
			s.Destinations = append(s.Destinations, d.Name)
			s.Waiting += d.Deliveries
			after = d.Name
		}
		if len(page) < surveyPage {
			break
		}
	}
	list := make([]SiteStatus, 0, len(sites))
	for _, s := range sites {
		if s.Waiting > 0 || s.State != WaitNew {
			list = append(list, *s)
		}
	}
	slices.SortStableFunc(list, func(a, b SiteStatus) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), slices.Compare(a.Destinations, b.Destinations))
	})
	return list, nil
}

// surveyPage is how many destinations are counted at a time.
const surveyPage = 1000

// sites are those that the run knows.
func (y *why) sites() (list []*SiteStatus) {
	if y.run == nil {
		return nil
	}
	r := y.run
	r.mu.Lock()
	known := make(map[string][]string)
	for destination, site := range r.sites {
		known[site] = append(known[site], destination)
	}
	states := r.sched.SiteStates(time.Now(), known)
	r.mu.Unlock()
	bySuspended := make(map[string]*SiteStatus)
	for i := range states {
		at := &states[i]
		var w Wait
		y.standing(at.Standing, &w)
		s := &SiteStatus{
			Site: at.Site, Destinations: append(known[at.Site], at.Destinations...), Connections: r.gate.SizeOf(at.Site), Window: at.Window,
			State: w.Reason, Until: w.Until, Host: w.Host, Last: w.Last,
		}
		if by := y.table.Site(y.at.Now, at.Site, slices.Values(namesIn(at.Site))); by != nil {
			s.State, s.Until, s.Note = WaitSuspended, y.wall(by.Until), by.Reason
		}
		bySuspended[at.Site] = s
		list = append(list, s)
	}
	for name, one := range r.suspended.Sited() {
		if !y.table.Has(y.at.Now, one.By.Subject) {
			continue
		}
		s := bySuspended[one.Site]
		if s == nil {
			s = &SiteStatus{Site: one.Site}
			bySuspended[one.Site] = s
			list = append(list, s)
		}
		s.State, s.Until, s.Note = WaitSuspended, y.wall(one.By.Until), one.By.Reason
		s.Destinations = append(s.Destinations, name)
	}
	return list
}

// siteOf returns the state of a destination whose site is not known.
func (y *why) siteOf(d *queue.Destination) *SiteStatus {
	s := &SiteStatus{}
	if by := y.table.Mail(y.at.Now, d.Name, noTenant); by != nil {
		s.State, s.Until, s.Note = WaitSuspended, y.wall(by.Until), by.Reason
		return s
	}
	if d.Postponed.After(y.at.Now) {
		var w Wait
		y.stored(&queue.Waiting{Next: d.Postponed, Postponed: d.Postponed, Reason: d.Reason}, waiting.Reason{}, false, &w)
		s.State, s.Until, s.Host, s.Last = w.Reason, w.Until, w.Host, w.Last
	}
	return s
}

// noTenant is the name of no tenant.
const noTenant = "\x00"
