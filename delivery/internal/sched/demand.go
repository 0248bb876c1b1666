package sched

import "time"

// Demand is what a scheduler could do with a share.
type Demand struct {
	Site   string
	Groups []string // those that are shared

	Shared   bool // the site's own limits are
	Waiting  int  // attempts that could begin
	InFlight int
	More     bool // mail for the site waits in the queue
}

// Demands tells of all sites whose limits, or whose groups' limits, others share.
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

// Reshare has the sites looked at again of whose limits there may be another share.
func (s *Scheduler) Reshare(now time.Time) {
	for t := s.known.head; t != nil; t = t.next {
		if t.shared || t.sharesGroup() {
			s.touch(now, t)
		}
	}
}

func (t *site) sharesGroup() bool {
	for _, g := range t.groups {
		if g.Shared {
			return true
		}
	}
	return false
}
