package delivery

import "time"

// Stats is what an agent is doing just now.
type Stats struct {
	// Deliveries are attempts under way.
	Deliveries int

	// Claimed are those that were taken from the queue and not settled yet.
	Claimed int

	// Sites are known, BackedOff are those whose hosts are down, Paused those
	// that refuse our login.
	Sites, BackedOff, Paused int

	// Sessions are open: in use and kept for the next message.
	Sessions int

	// Events wait for the Events hook.
	Events int
}

// Stats says what the agent is doing just now. Without a Run it does nothing.
func (a *Agent) Stats() Stats {
	r := a.running()
	s := Stats{Events: a.events.count()}
	if r == nil {
		return s
	}
	r.mu.Lock()
	s.Deliveries, s.Claimed = r.busy, r.claimed
	for _, at := range r.sites {
		s.Sites++
		if at.closed(time.Now()) && !at.paused {
			s.BackedOff++
		}
		if at.paused {
			s.Paused++
		}
	}
	r.mu.Unlock()
	s.Sessions = r.gate.Size()
	return s
}
