package delivery

// Stats is what an agent is doing just now.
type Stats struct {
	// Deliveries are under way.
	Deliveries int

	// Sessions are open: in use and kept for the next message.
	Sessions int

	// Events wait for the Events hook.
	Events int
}

// Stats says what the agent is doing just now. Without a Run it does nothing.
func (a *Agent) Stats() Stats {
	a.mu.Lock()
	r := a.atWork
	a.mu.Unlock()
	s := Stats{Events: a.events.count()}
	if r == nil {
		return s
	}
	r.mu.Lock()
	s.Deliveries = r.count
	r.mu.Unlock()
	s.Sessions = s.Deliveries + r.sender.pool.size()
	return s
}
