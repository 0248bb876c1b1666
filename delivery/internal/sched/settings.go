package sched

import "time"

// Settings are the limits that a Scheduler keeps.
type Settings struct {
	// Connections is how many attempts may be in flight in all, PerSite how many at one
	// site.
	Connections, PerSite int

	// Rate is how many attempts a second may begin at one site. If zero, there is no limit.
	Rate float64

	// Site returns the limits of the site of a name. Until Configure it must return the
	// same for the same name. If nil, PerSite and Rate hold for all sites.
	Site func(name string) SiteLimits

	// Share returns the part of a shared limit that may be used now. The result may
	// change at any time: see Reshare. If nil, no limit is shared.
	Share func(now time.Time, limit Shared) Share

	// Ahead is how many deliveries may be held.
	Ahead int

	// PriorityStep is how much earlier than it did mail counts as having become due,
	// for each step of its priority.
	PriorityStep time.Duration
}

// SiteLimits are the limits of one site, and the groups whose limits it shares.
type SiteLimits struct {
	PerSite int
	Rate    float64
	Groups  []GroupLimits

	Shared bool // other agents share PerSite or Rate
}

// GroupLimits are the limits that the sites of a group have in common. Zero is no limit.
type GroupLimits struct {
	Name        string
	Connections int
	Rate        float64

	Shared bool // other agents share these limits
}

// Shared is a site or a group whose limits other agents share.
type Shared struct {
	Name  string
	Group bool
}

// Share is the part of a shared limit that may be used now.
type Share struct {
	// Most is how many attempts may be in flight. If zero, none may be.
	Most int

	// Rate is how many attempts a second may begin. If zero, there is no limit.
	Rate float64
}

// site returns the limits of a site.
func (s *Settings) site(name string) SiteLimits {
	if s.Site == nil {
		return SiteLimits{PerSite: s.PerSite, Rate: s.Rate}
	}
	return s.Site(name)
}
