package sched

import "time"

// Settings are what a Scheduler goes by.
type Settings struct {
	// Connections is how many attempts may be in flight in all, and PerSite at one
	// site.
	Connections, PerSite int

	// Rate is how many attempts a second begin at one site; zero is no limit.
	Rate float64

	// Site answers with what holds at the site of a name; nil is PerSite and Rate for
	// all. The same name gets the same answer until Configure.
	Site func(name string) SiteLimits

	// Share answers with the part of a limit that others share; nil is for limits that
	// nobody does. What it answers may change at any time: see Reshare.
	Share func(now time.Time, limit Shared) Share

	// Ahead is how many deliveries may be held.
	Ahead int

	// PriorityStep is what a step of priority counts.
	PriorityStep time.Duration
}

// SiteLimits are the limits of one site, and the groups whose limits it shares.
type SiteLimits struct {
	PerSite int
	Rate    float64
	Groups  []GroupLimits

	Shared bool // others share them, or one of them
}

// GroupLimits are the limits that the sites of a group have in common; zero is none.
type GroupLimits struct {
	Name        string
	Connections int
	Rate        float64

	Shared bool // others share them
}

// Shared is a site or a group whose limits others share.
type Shared struct {
	Name  string
	Group bool
}

// Share is the part of a limit that may be used now.
type Share struct {
	// Most is how many attempts may be in flight; zero is none.
	Most int

	// Rate is how many attempts a second may begin; zero is no limit.
	Rate float64
}

// site is what holds at a site.
func (s *Settings) site(name string) SiteLimits {
	if s.Site == nil {
		return SiteLimits{PerSite: s.PerSite, Rate: s.Rate}
	}
	return s.Site(name)
}
