package delivery

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/clock"
	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/waiting"
	"github.com/nexthop-mail/nexthop/internal/enum"
	"github.com/nexthop-mail/nexthop/queue"
)

// Wait says why one recipient is still in the queue.
type Wait struct {
	// ID is the id of the message, Recipient the address, and Destination its domain in
	// canonical form.
	ID, Recipient, Destination string

	// Site is the site that the mail will be sent to. It is known if a running agent
	// has mail for it, or if it is suspended by that name.
	Site string

	State  WaitState
	Reason WaitReason

	// Since is when this reason began, and Until when it will end by itself. They are
	// zero if unknown, and Until also if it does not end by itself.
	Since, Until time.Time

	// Host is the host that was asked last, and Last its reply or the local reason. If
	// the message itself was not tried, they are those of the site.
	Host, Last string

	// Note is the given reason of a hold or a suspension.
	Note string
}

// WaitState is the state of a recipient in the queue.
type WaitState uint8

// The states.
const (
	WaitDue    WaitState = iota // it may be tried now
	WaitLater                   // it waits for something
	WaitLeased                  // an agent has it in hand
	WaitHeld                    // it is on hold
)

var stateNames = [...]string{"due", "waiting", "leased", "held"}

// String returns the state in one word: due, waiting, leased, held.
func (s WaitState) String() string { return enum.String("delivery.WaitState", stateNames[:], s) }

// MarshalText returns the same text as String, for JSON and the like. It fails for a
// value without a name.
func (s WaitState) MarshalText() ([]byte, error) {
	return enum.Marshal("delivery.WaitState", stateNames[:], s)
}

// UnmarshalText reads only the texts that MarshalText writes.
func (s *WaitState) UnmarshalText(text []byte) error {
	return enum.Unmarshal("delivery.WaitState", stateNames[:], s, text)
}

// WaitReason says why a recipient waits.
type WaitReason uint8

// The reasons.
const (
	WaitNew          WaitReason = iota // it was not tried yet
	WaitSchedule                       // it was deferred, and is tried again at Until
	WaitNotBefore                      // its sender wants it sent later
	WaitSiteDown                       // no host of its site could be asked
	WaitSiteFull                       // its site has as much in hand as it takes
	WaitRate                           // its site is not to be asked more often
	WaitLoginRefused                   // its site refuses the login
	WaitSuspended                      // it is suspended
	WaitOnHold                         // the message is on hold
	WaitDNS                            // its route is not known: the domain's DNS or all DNS servers fail to answer
	WaitNetwork                        // this machine has no network, or no resources for a connection
	WaitClaimed                        // an agent has claimed it
)

var reasonNames = [...]string{
	"new", "schedule", "not-before", "site-down", "site-full", "rate", "login-refused", "suspended", "held", "dns",
	"network", "claimed",
}

// String returns the reason in one word: new, schedule, not-before, site-down,
// site-full, rate, login-refused, suspended, held, dns, network, claimed.
func (r WaitReason) String() string { return enum.String("delivery.WaitReason", reasonNames[:], r) }

// MarshalText returns the same text as String, for JSON and the like. It fails for a
// value without a name.
func (r WaitReason) MarshalText() ([]byte, error) {
	return enum.Marshal("delivery.WaitReason", reasonNames[:], r)
}

// UnmarshalText reads only the texts that MarshalText writes.
func (r *WaitReason) UnmarshalText(text []byte) error {
	return enum.Unmarshal("delivery.WaitReason", reasonNames[:], r, text)
}

// Why returns for each pending recipient of a message why it is still in the queue.
// While the agent is not running, it uses what the queue has stored. The error is that
// of queue.Show.
func (a *Agent) Why(ctx context.Context, id string) (list []Wait, err error) {
	err = a.WhyAll(ctx, queue.Selection{Message: id}, func(w Wait) error {
		list = append(list, w)
		return nil
	})
	return list, err
}

// WhyAll calls visit for every recipient that a selection matches, oldest first, with
// the same result as Why. The error is that of queue.Select, or the first one of visit.
func (a *Agent) WhyAll(ctx context.Context, what queue.Selection, visit func(Wait) error) error {
	y := why{run: a.running(), at: a.time(), keeps: make(map[string]sched.Standing)}
	list, err := queue.Suspensions(ctx, a.Queue, y.at.Now)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	y.table = waiting.NewTable(list)
	return queue.Select(ctx, a.Queue, what, func(e *queue.Entry, named []int) error {
		for _, i := range named {
			if err := visit(y.of(e, i)); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

// why finds out why mail waits.
type why struct {
	run   *run // nil if there is none
	at    clock.Time
	table *waiting.Table
	keeps map[string]sched.Standing // by destination, as far as it was asked
}

// of returns why one recipient waits. Holds and suspensions come first, then the
// agent's own reasons, then the stored reason.
func (y *why) of(e *queue.Entry, i int) Wait {
	s := &e.Waiting[i]
	w := Wait{
		ID: e.Message.ID, Recipient: e.Message.Recipients[i].Address, Destination: s.Destination,
		Host: s.Reply.Host, Last: saidBy(s.Reply),
	}
	if e.Held && !e.Hold.Over(y.at.Now) {
		w.State, w.Reason, w.Note = WaitHeld, WaitOnHold, e.Hold.Reason
		w.Since, w.Until = y.wall(e.Hold.Since), y.wall(e.Hold.Until)
		return w
	}
	if y.run != nil {
		y.run.mu.Lock()
		w.Site = y.run.sites[s.Destination]
		y.run.mu.Unlock()
	}
	stored, known := waiting.Parse(s.Because)
	if !y.suspended(e, s, stored, &w) && !y.held(s, &w) && !y.kept(s, &w) && !y.stored(s, stored, known, &w) {
		y.own(e, s, &w)
	}
	return w
}

// wall converts a time of the queue to the wall clock; zero stays zero.
func (y *why) wall(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(y.at.Wall.Sub(y.at.Now))
}

// suspended handles mail that is suspended.
func (y *why) suspended(e *queue.Entry, s *queue.Waiting, stored waiting.Reason, w *Wait) bool {
	by := y.table.Mail(y.at.Now, s.Destination, e.Message.Tenant)
	if by == nil && y.run != nil {
		if other, site := y.run.suspended.Mail(y.at.Now, s.Destination, e.Message.Tenant); other != nil && y.table.Has(y.at.Now, other.Subject) {
			if by = other; site != "" {
				w.Site = site
			}
		}
	}
	if by == nil { // the stored reason may name the site of the mail
		hosts := []string{stored.Host, s.Reply.Host}
		if postponed, ok := waiting.Parse(s.Reason); ok {
			hosts = append(hosts, postponed.Host)
		}
		if by = y.table.Site(y.at.Now, "", slices.Values(hosts)); by == nil {
			return false
		}
		if w.Site == "" {
			w.Site = by.Name
		}
	}
	w.State, w.Reason, w.Note = WaitLater, WaitSuspended, by.Reason
	w.Since, w.Until = y.wall(by.Since), y.wall(by.Until)
	if arrived := e.Message.Arrived; w.Since.Before(arrived) {
		w.Since = arrived
	}
	return true
}

// held is for mail that an agent has in hand.
func (y *why) held(s *queue.Waiting, w *Wait) bool {
	if !s.Leased {
		return false
	}
	w.State, w.Reason = WaitLeased, WaitClaimed
	if y.run == nil {
		return true
	}
	r := y.run
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for id, p := range r.parts {
		if l := &p.delivery.Lease; l.Message != w.ID || l.Destination != w.Destination {
			continue
		}
		w.Since = p.claimed
		if at, ok := r.sched.Holds(now, id); ok {
			y.standing(at, w)
			if at.InFlight {
				w.Reason = WaitClaimed
			} else {
				y.trouble(w)
			}
		}
		break
	}
	return true
}

// standing is what a site has against mail.
func (y *why) standing(at sched.Standing, w *Wait) {
	if at.Site != "" {
		w.Site = at.Site
	}
	switch {
	case at.Down:
		w.Reason = WaitSiteDown
	case at.NoRoute:
		w.Reason = WaitDNS
	case at.Refused:
		w.Reason = WaitLoginRefused
	case at.Full:
		w.Reason = WaitSiteFull
	case at.Paced:
		w.Reason = WaitRate
	default:
		return
	}
	if !at.Until.IsZero() {
		w.Until = y.at.Wall.Add(time.Until(at.Until))
	}
	if at.Full || at.Paced {
		return
	}
	y.said(at.Said, w)
}

// said adds what is known about a site.
func (y *why) said(text string, w *Wait) {
	if said, ok := waiting.Parse(text); ok {
		w.Since = said.Since
		if said.Host != "" || w.Last == "" {
			w.Host, w.Last = said.Host, said.Text
		}
	}
}

// trouble is for mail that trouble of our own keeps back. The run's lock is held.
func (y *why) trouble(w *Wait) {
	cause, since := y.run.sched.Trouble()
	switch cause {
	case sched.DNSFails:
		w.Reason = WaitDNS
	case sched.NetworkFails, sched.MachineFails:
		w.Reason = WaitNetwork
	default:
		return
	}
	w.Since = y.at.Wall.Add(-time.Since(since))
	w.Last, w.Host = errorOf(cause).Error(), ""
}

// kept is for mail that this agent leaves in the queue because of its site.
func (y *why) kept(s *queue.Waiting, w *Wait) bool {
	if y.run == nil || y.alone(s) && s.Because == "" {
		return false
	}
	at, asked := y.keeps[s.Destination]
	if !asked {
		y.run.mu.Lock()
		at, _ = y.run.sched.Keeps(time.Now(), s.Destination)
		y.run.mu.Unlock()
		y.keeps[s.Destination] = at
	}
	if !(at.Down || at.NoRoute || at.Refused || at.Full || at.Paced) {
		return false
	}
	w.State = WaitLater
	y.standing(at, w)
	return true
}

// alone reports whether a delivery waits for longer than its destination's other mail.
func (y *why) alone(s *queue.Waiting) bool {
	return s.Next.After(y.at.Now) && s.Next.After(s.Postponed)
}

// stored handles mail with a stored reason.
func (y *why) stored(s *queue.Waiting, alone waiting.Reason, known bool, w *Wait) bool {
	why, until := alone, s.Next
	if s.Postponed.After(y.at.Now) && !y.alone(s) {
		if why, known = waiting.Parse(s.Reason); !known {
			why, known = waiting.Reason{Code: waiting.SiteDown, Text: s.Reason}, true
		}
		until = s.Postponed
	}
	if !known || !until.After(y.at.Now) {
		return false
	}
	switch why.Code {
	case waiting.SiteDown:
		w.Reason = WaitSiteDown
	case waiting.LoginRefused:
		w.Reason = WaitLoginRefused
	case waiting.NoRoute:
		w.Reason = WaitDNS
	default:
		return false
	}
	w.State, w.Since, w.Until = WaitLater, why.Since, y.wall(until)
	if why.Host != "" || why.Text != "" {
		w.Host, w.Last = why.Host, why.Text
	}
	return true
}

// own handles mail that waits for its own due time, or for nothing.
func (y *why) own(e *queue.Entry, s *queue.Waiting, w *Wait) {
	w.Since, w.State = e.Message.Arrived, WaitLater
	if s.Attempts > 0 {
		w.Reason, w.Since = WaitSchedule, s.Tried
	}
	if s.Next.After(y.at.Now) {
		w.Until = y.wall(s.Next)
		if s.Attempts == 0 {
			w.Reason = WaitSchedule
			if !e.Message.NotBefore.Before(s.Next) {
				w.Reason = WaitNotBefore
			}
		}
		return
	}
	w.State = WaitDue
	if y.run == nil {
		return
	}
	y.run.mu.Lock()
	defer y.run.mu.Unlock()
	y.trouble(w)
}
