package sched

import "time"

// Demand tells how much of the shared limits of a site a Scheduler could use.
type Demand struct {
	Site   string
	Groups []string // the site's groups whose limits are shared

	Shared   bool // the site's own limits are shared
	Waiting  int  // attempts that could begin
	InFlight int
	More     bool // mail for the site waits in the queue
}

// Demands returns the demand of each site with mail whose limits, or whose groups'
// limits, are shared.
func (s *Scheduler) Demands() (list []Demand) {
	for t := s.known.head; t != nil; t = t.next {
		d := Demand{Site: t.key, Shared: t.shared, Waiting: t.waiting, InFlight: t.inFlight, More: t.parked > 0}
		for _, g := range t.groups {
			if g.Shared {
				d.Groups = append(d.Groups, g.Name)
			}
		}
		if (d.Shared || len(d.Groups) > 0) && (d.Waiting > 0 || d.InFlight > 0 || d.More) {
			list = append(list, d)
		}
	}
	return list
}

// Reshare looks again at all sites, since the share of a limit may have changed. A site in
// two groups may have waited for one of them, and have to wait for the other now.
func (s *Scheduler) Reshare(now time.Time) {
	for t := s.known.head; t != nil; t = t.next {
		for _, g := range t.groups {
			s.unblock(now, g)
		}
		s.touch(now, t)
	}
}
