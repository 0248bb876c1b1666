package delivery

import (
	"context"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/queue"
)

// Hold keeps a message from being delivered until it is released. The error is
// that of queue.Hold.
func (a *Agent) Hold(ctx context.Context, id string) error {
	err := queue.Hold(ctx, a.Queue, id)
	if err == nil {
		a.note(Event{Time: time.Now(), Kind: Held, ID: id})
	}
	return err
}

// Release ends a hold. The error is that of queue.Release.
func (a *Agent) Release(ctx context.Context, id string) error {
	err := queue.Release(ctx, a.Queue, id)
	a.Wake()
	return err
}

// Drop removes a message; nobody is told but Events. A delivery of it that is
// under way may still be completed. The error is that of queue.Drop.
func (a *Agent) Drop(ctx context.Context, id string) error {
	err := queue.Drop(ctx, a.Queue, id)
	if err == nil {
		a.note(Event{Time: time.Now(), Kind: Dropped, ID: id})
	}
	return err
}

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

	// Trouble is what the queue failed with last, nil where it works.
	Trouble error
}

// Stats says what the agent is doing just now. Without a Run it does nothing.
func (a *Agent) Stats() Stats {
	r := a.running()
	s := Stats{Events: a.events.count()}
	if r == nil {
		return s
	}
	r.mu.Lock()
	at := r.sched.Stats(time.Now())
	r.mu.Unlock()
	s.Deliveries, s.Claimed = at.InFlight, at.Held
	s.Sites, s.BackedOff, s.Paused = at.Sites, at.Down, at.Refused
	s.Sessions = r.gate.Size()
	s.Trouble = r.trouble.last()
	return s
}

// CurrentSettings are the settings in force, with the defaults in place of zeros: those of
// the last Configure, else the field. To change one of them, change it there and
// Configure the rest with it.
func (a *Agent) CurrentSettings() Settings { return *a.current() }

// Configure replaces the settings. A running agent goes by them from now on;
// deliveries under way are not cut short, and connections over a lower limit
// end as they become free. The error is that of Settings.Validate, and nothing
// has changed then.
func (a *Agent) Configure(s Settings) error {
	if err := s.Validate(); err != nil {
		return err
	}
	s = s.withDefaults()
	a.mu.Lock()
	a.settings = &s
	a.mu.Unlock()
	if r := a.running(); r != nil {
		r.reconfigure()
	}
	a.Wake()
	return nil
}

// reconfigure makes a run go by new settings.
func (r *run) reconfigure() {
	r.gate.Wake()
	r.inform(func(s *sched.Scheduler, now time.Time) { s.Configure(now, r.agent.current().schedule()) })
}
