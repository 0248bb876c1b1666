package delivery

import (
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/queue"
)

// lesson is what an attempt tells of the site it was made at, from the least to
// the one that outweighs the others.
type lesson uint8

const (
	nothing      lesson = iota // it was about the message, or about us
	remembered                 // every host had failed a moment ago and none was asked
	down                       // no host could be asked
	refusedLogin               // the hosts do not take our login
	later                      // recipients or the message were deferred
	busy                       // a host takes no mail just now
	works                      // a host took or refused something
)

// verdictOf is what a report tells of the site.
func verdictOf(report *Report) (l lesson) {
	for i := range report.Recipients {
		l = max(l, report.Recipients[i].lesson())
	}
	return l
}

func (r *RecipientReport) lesson() lesson {
	e := r.Err
	switch {
	case r.Outcome == queue.Delivered:
		return works
	case e == nil, e.Stage == StageMessage:
		return nothing
	case r.Outcome == queue.Unknown:
		return later
	case e.Remembered:
		return remembered
	case e.LoginRefused():
		return refusedLogin
	case r.Outcome == queue.Failed && e.Replied() && e.Stage >= StageMail:
		return works
	case r.Outcome == queue.Failed:
		return nothing
	case e.Stage < StageMail:
		return down
	case e.Code == 421, e.Stage == StageMail && e.Replied():
		return busy
	case e.Replied():
		return later
	case e.Stage == StageContent && e.Enhanced == "4.3.0":
		return nothing // our own trouble
	default:
		return busy // lost on the way
	}
}

// takesWithout is how long a host is known to take mail from us without the login
// that it asks for now.
const takesWithout = time.Hour

// lessonOf is what a report tells of a site. A host that asks for a login at RCPT or
// after it may mean one recipient: where it took mail from us lately it is left to
// the schedule, so that one recipient does not hold up a whole provider's.
func (r *run) lessonOf(s *site, report *Report) lesson {
	l := verdictOf(report)
	if l != refusedLogin || !atRecipients(report) {
		return l
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, found := r.took[s.key]; found && time.Since(last) < takesWithout {
		return later
	}
	return l
}

// maxTook is of how many sites it is remembered that they took mail.
const maxTook = 4096

// tookMail notes that a site takes mail. Where too many are known all are forgotten: a
// login that one of them asks for pauses it then. The caller holds r.mu.
func (r *run) tookMail(s *site, now time.Time) {
	if r.took == nil || len(r.took) >= maxTook {
		r.took = make(map[string]time.Time)
	}
	r.took[s.key] = now
}

// atRecipients reports whether every refusal of a login answers RCPT or what comes
// after it.
func atRecipients(report *Report) bool {
	for i := range report.Recipients {
		if e := report.Recipients[i].Err; e != nil && e.LoginRefused() && e.Stage < StageRcpt {
			return false
		}
	}
	return true
}

// learn lets a site's limits and back-off follow from an attempt.
func (r *run) learn(s *site, group *shipment, report *Report, began time.Time) {
	l := r.lessonOf(s, report)
	now := time.Now()
	var why queue.Reply
	var wait time.Duration
	if l == down {
		why = report.Recipients[0].Reply
		r.mu.Lock()
		failures := s.failures + 1
		r.mu.Unlock()
		wait = r.siteDelay(failures, group.parts[0].delivery.Lease.Destination, why, now)
	}
	r.mu.Lock()
	left := r.apply(s, l, began, now, wait, why)
	alarm := r.alarm(s, l, &group.parts[0], report, now)
	r.mu.Unlock()
	for _, sh := range left {
		for i := range sh.parts {
			r.uncount(s)
			r.later(s, &sh.parts[i])
		}
	}
	r.agent.events.add(alarm...)
}

// apply is learn under the run's mutex. It returns shipments that are not to
// wait any longer in memory, because the site is left alone.
func (r *run) apply(
	s *site, l lesson, began, now time.Time, wait time.Duration, why queue.Reply,
) (left []*shipment) {
	most := r.limits().PerSite
	s.finished = now
	switch l {
	case works:
		r.tookMail(s, now)
		s.timed(now.Sub(began))
		s.grow(most)
		r.revive(s, now)
	case later:
		s.timed(now.Sub(began))
		r.revive(s, now) // it answers
		s.deferred(rcptPace)
		if s.deferrals >= manyDeferrals {
			s.shrink(began, now)
		}
	case busy:
		s.timed(now.Sub(began))
		r.revive(s, now)
		s.shrink(began, now)
		s.deferred(slowPace)
	case down:
		if s.fail(began, now, wait, why) {
			left = s.empty()
		}
	case remembered:
		if !s.closed(now) {
			s.until = now.Add(session.LeftAlone(1))
		}
		left = s.empty()
	case refusedLogin:
		s.until = now.Add(pausedFor)
		left = s.empty()
	}
	if s.pace > 0 && s.waiting.len() > fewAhead {
		left = s.empty() // it would wait here for long
	}
	return left
}

// alarm is what the operator is told of a site: once that its login was refused,
// and once that it works again. The caller holds r.mu.
func (r *run) alarm(s *site, l lesson, p *part, report *Report, now time.Time) []Event {
	rr := &report.Recipients[0]
	e := Event{
		Time: now, Destination: p.delivery.Lease.Destination, Host: rr.Host, Addr: rr.Addr, Route: p.route.Kind,
		TLS: rr.TLS, Code: rr.Reply.Code, Enhanced: rr.Reply.Enhanced, Reply: rr.Reply.Bounded().Text, Err: rr.Err,
	}
	switch {
	case l == refusedLogin && !s.paused:
		s.paused = true
		e.Kind, e.Next = Paused, s.until
		return []Event{e}
	case l >= later && s.paused:
		s.paused = false
		e.Kind = Resumed
		return []Event{e}
	default:
		return nil
	}
}

// empty takes out all that waits.
func (s *site) empty() (left []*shipment) {
	for sh := s.pop(); sh != nil; sh = s.pop() {
		left = append(left, sh)
	}
	return left
}
