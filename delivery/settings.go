package delivery

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// Settings can be replaced while mail flows, by Agent.Configure. A zero field means its
// default.
type Settings struct {
	// Schedule says when to retry. Default: DefaultSchedule.
	Schedule Schedule

	// Expire is the time after its arrival at which a message is given up, unless
	// Message.Expires is set. Default: 5 days; RFC 5321 section 4.5.4.1 requires at
	// least four or five.
	Expire time.Duration

	// ExpireReport is the same for the agent's own reports. If a report cannot be
	// delivered, no further mail is sent about it. Default: Expire.
	ExpireReport time.Duration

	// Warn is the time after its arrival at which the sender is told, once, that a
	// message is delayed. Default: 4 h. If negative, never.
	Warn time.Duration

	// Jitter is the largest part of a delay that is added to it at random, so that mail
	// which failed together is not retried together. Default: 0.1. If negative, nothing
	// is added. Delays are never shortened.
	Jitter float64

	// Limits limit the simultaneous work.
	Limits Limits

	// Rules set other limits for part of the mail, and Groups set limits that several
	// sites share.
	Rules  []Rule
	Groups map[string]Group

	rules *ruleSet // compiled
}

// Defaults of Settings.
const (
	defaultExpire = 5 * 24 * time.Hour
	defaultWarn   = 4 * time.Hour
	defaultJitter = 0.1
)

func (s Settings) withDefaults() Settings {
	if s.Schedule == nil {
		s.Schedule = DefaultSchedule()
	}
	if s.Expire == 0 {
		s.Expire = defaultExpire
	}
	if s.Warn == 0 {
		s.Warn = defaultWarn
	}
	if s.Jitter == 0 {
		s.Jitter = defaultJitter
	}
	s.Limits = s.Limits.withDefaults()
	s.Rules, s.Groups = slices.Clone(s.Rules), maps.Clone(s.Groups)
	s.rules = newRuleSet(s.Limits, s.Rules, s.Groups)
	return s
}

// Validate reports all invalid settings at once by the names of their fields, or nil if
// there are none.
func (s *Settings) Validate() error {
	problems := append(s.Limits.problems(), ruleProblems(s.Rules, s.Groups)...)
	if s.Expire < 0 {
		problems = append(problems, fmt.Errorf("delivery.Settings.Expire: %v is negative", s.Expire))
	}
	if s.ExpireReport < 0 {
		problems = append(problems, fmt.Errorf("delivery.Settings.ExpireReport: %v is negative", s.ExpireReport))
	}
	if math.IsNaN(s.Jitter) || s.Jitter > 1 {
		problems = append(problems, fmt.Errorf("delivery.Settings.Jitter: %v is not a part of the delay", s.Jitter))
	}
	if d, ok := s.Schedule.(Delays); ok {
		problems = append(problems, d.problems()...)
	}
	return errors.Join(problems...)
}

// leastAhead is how many deliveries an agent may have claimed at least, however few
// connections it may have.
const leastAhead = 1024

// aheadPerConnection is how many deliveries an agent may have claimed for each
// connection. With fewer, there might be no more mail for the site of a connection when
// an attempt ends, although the queue has some; the next attempt would be at another
// site and need another connection.
const aheadPerConnection = 8

// schedule is the settings as the scheduler has them. It holds enough for every
// connection to go on, and no more however long the queue is.
func (s *Settings) schedule() sched.Settings {
	l := &s.Limits
	settings := sched.Settings{
		Connections: l.Connections, PerSite: l.PerSite, Rate: l.Rate,
		Ahead: max(aheadPerConnection*l.Connections, leastAhead), PriorityStep: queue.PriorityStep,
	}
	if s.rules != nil {
		settings.Site = s.rules.site
	}
	return settings
}

// connections returns the limits of connections.
func (s *Settings) connections() session.Limits {
	l := &s.Limits
	limits := session.Limits{
		Connections: l.Connections, PerSite: l.PerSite, PerHost: l.PerHost, PerAddress: l.PerAddress,
		Messages: l.Messages, ConnectionLife: l.ConnectionLife, Recipients: l.Recipients,
	}
	if s.rules != nil {
		limits.Rules = s.rules
	}
	return limits
}

// siteOf returns the name of a route's site: that of its hosts, or that of the part of
// their mail to which a rule by domain applies.
func (s *Settings) siteOf(keys *siteKeys, route *mx.Route) string {
	site := keys.of(route)
	if domain := s.rules.domain(route.Domain); domain != "" {
		site += domainMark + domain
	}
	return site
}

// hostLimits are what holds for a site's connections to a host.
func (s *Settings) hostLimits(site, host string) HostLimits {
	if s.rules != nil {
		return s.rules.at(site, host)
	}
	l := &s.Limits
	return HostLimits{Connections: l.PerSite, Rate: l.Rate, Messages: l.Messages, Recipients: l.Recipients}
}

// leastWait is how soon a delivery is tried again at the earliest.
const leastWait = 100 * time.Millisecond

// nextAttempt is when to try again: by the schedule, with jitter. rnd answers
// with a number from 0 up to 1.
func (s *Settings) nextAttempt(r Retry, rnd func() float64) time.Time {
	wait := max(s.Schedule.Delay(r), leastWait)
	if s.Jitter > 0 {
		wait = max(wait, wait+time.Duration(float64(wait)*s.Jitter*rnd())) // a sum too large is negative
	}
	return r.Now.Add(wait)
}

// Schedule says how long to wait after an attempt that did not settle every recipient
// of a delivery. It may be called concurrently. Jitter is added to the delay. A delay
// of less than 100 ms counts as 100 ms, so that a mistake does not become a loop. The
// last attempt is due when the message expires.
type Schedule interface {
	Delay(Retry) time.Duration
}

// Retry describes an attempt to a Schedule.
type Retry struct {
	// Attempts is the number of attempts so far, including the last one.
	Attempts int

	// Outcome is Deferred or Unknown. Reply is the reply to the recipient that came
	// furthest in the dialogue.
	Outcome queue.Outcome
	Reply   queue.Reply

	// Destination is the recipients' domain in canonical form.
	Destination string

	// Arrived is when the message was accepted, Expires when it will be given up, and
	// Now when the attempt ended.
	Arrived, Expires, Now time.Time
}

// Delays is a Schedule that depends only on the number of attempts: the n-th entry is
// the wait after the n-th attempt, and the last entry repeats.
type Delays []time.Duration

// DefaultSchedule returns the default Schedule of an Agent. Most problems are over
// within an hour, and the others last longer: RFC 5321 section 4.5.4.1 advises two
// attempts in the first hour and one every two or three hours after that.
//
//	attempt   wait    after the first attempt
//	1st       5 m     5 m
//	2nd       15 m    20 m
//	3rd       30 m    50 m
//	4th       1 h     1 h 50 m
//	5th       2 h     3 h 50 m
//	6th on    4 h     7 h 50 m, ...
//
// A greylisting host accepts a message once some minutes have passed (RFC 6647 section
// 5). After a reply that may be greylisting, the retries are sooner, though not before
// five minutes:
//
//	1st       5 m     5 m
//	2nd       5 m     10 m
//	3rd       10 m    20 m
//	4th       15 m    35 m
//	5th       30 m    1 h 5 m
//	6th on    as above
//
// These replies are 450 and 451 with the status 4.7.0 or 4.7.1, with 4.2.0 or 4.3.0, or
// without a status. The text of a reply is not used.
func DefaultSchedule() Schedule { return byReply{} }

type byReply struct{}

func (byReply) Delay(r Retry) time.Duration {
	if soon := whereGreylisted(); r.Attempts <= len(soon) && greylisted(&r) {
		return soon.Delay(r)
	}
	return usually().Delay(r)
}

func usually() Delays {
	return Delays{5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour}
}

func whereGreylisted() Delays {
	return Delays{5 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute}
}

// greylisted goes by codes alone.
func greylisted(r *Retry) bool {
	if r.Outcome != queue.Deferred || r.Reply.Code != 450 && r.Reply.Code != 451 {
		return false
	}
	switch r.Reply.Enhanced {
	case "4.7.0", "4.7.1", "4.2.0", "4.3.0":
		return true
	default:
		return false
	}
}

// Delay returns the entry for the number of attempts. With an empty list it returns
// half an hour.
func (d Delays) Delay(r Retry) time.Duration {
	if len(d) == 0 {
		return 30 * time.Minute
	}
	return d[max(0, min(r.Attempts, len(d))-1)]
}

func (d Delays) problems() (list []error) {
	for i, wait := range d {
		if wait <= 0 {
			list = append(list, fmt.Errorf("delivery.Settings.Schedule: wait %d is %v", i+1, wait))
		}
	}
	return list
}
