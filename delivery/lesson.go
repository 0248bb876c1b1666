package delivery

import (
	"errors"
	"strings"
	"syscall"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/delivery/internal/waiting"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// kindOf is what a report tells of the site.
func kindOf(report *Report) (k sched.Kind) {
	for i := range report.Recipients {
		k = max(k, report.Recipients[i].kind())
	}
	return k
}

func (r *RecipientReport) kind() sched.Kind {
	e := r.Err
	switch {
	case r.Outcome == queue.Delivered:
		return sched.Works
	case e == nil, e.Stage == StageMessage:
		return sched.Nothing
	case r.Outcome == queue.Unknown:
		return sched.Later
	case e.Remembered:
		return sched.Remembered
	case e.LoginRefused():
		return sched.LoginRefused
	case r.Outcome == queue.Failed && e.Replied() && e.Stage >= StageMail:
		return sched.Works
	case r.Outcome == queue.Failed:
		return sched.Nothing
	case r.Decision != nil && !r.Decision.Accepted:
		return sched.Nothing // because of a policy of its own domain; mail of other domains may go there
	case e.Stage < StageMail:
		return sched.Unreachable
	case e.Code == 421, e.Stage == StageMail:
		return sched.Busy
	case e.Replied():
		return sched.Later
	case e.Stage == StageContent && e.Enhanced == "4.3.0":
		return sched.Nothing // our own trouble
	default:
		return sched.Busy // lost on the way
	}
}

// deferredIn is which part of a report's recipients was deferred for what may be the
// rate at which mail comes. A status of the mailbox or of the address is about that.
func deferredIn(report *Report) float64 {
	n := 0
	for i := range report.Recipients {
		r := &report.Recipients[i]
		if s := r.Reply.Enhanced; r.kind() == sched.Later && r.Err.Replied() && !strings.HasPrefix(s, "4.1.") && !strings.HasPrefix(s, "4.2.") {
			n++
		}
	}
	return float64(n) / float64(max(len(report.Recipients), 1))
}

// lessonOf is what a report tells of a shipment's site.
func (r *run) lessonOf(sh *shipment, parts []*part, report *Report, began time.Time) sched.Lesson {
	l := sched.Lesson{Kind: kindOf(report), Began: began, Deferred: deferredIn(report)}
	first := &report.Recipients[0]
	if l.Kind != sched.Unreachable && l.Kind != sched.Remembered && first.Addr.IsValid() {
		r.network.Note(first.Addr.Addr(), true)
	}
	if l.Kind == sched.Unreachable && first.Reply.Code == 421 && r.isFull(sh) {
		l.Kind, l.Again = sched.Busy, true
	}
	switch l.Kind {
	case sched.LoginRefused:
		l.Kind, l.Said = r.refusal(sh.site, report), r.said(sh, waiting.LoginRefused, first)
	case sched.Unreachable:
		if c := r.ownTrouble(report); c != sched.NoTrouble {
			l.Kind, l.Cause = sched.Ours, c
			return l
		}
		l.Said = r.said(sh, waiting.SiteDown, first)
		r.mu.Lock()
		failures := r.sched.Failures(sh.ship) + 1
		r.mu.Unlock()
		l.Wait = r.siteDelay(failures, parts[0].delivery.Lease.Destination, first.Reply, time.Now())
	case sched.Remembered:
		l.Wait = session.LeftAlone(1)
	case sched.Works:
		r.tookMail(sh.site)
	}
	return l
}

// said returns the reason to store with mail that is held back for a site: since when,
// and the reply of the host asked last.
func (r *run) said(sh *shipment, code string, last *RecipientReport) string {
	why := waiting.Reason{Code: code, Host: last.Host, Since: r.agent.clock.Read().Wall, Text: saidBy(last.Reply.Bounded())}
	r.mu.Lock()
	before, _ := waiting.Parse(r.sched.Said(sh.ship))
	r.mu.Unlock()
	if before.Code == code {
		why.Since = before.Since
	}
	return why.String()
}

// takesWithout is how long a host is known to take mail from us without the login
// that it asks for now.
const takesWithout = time.Hour

// refusal is what a refused login tells. A host that asks for a login at RCPT or
// after it may mean one recipient: if it took mail from us lately it is left to
// the schedule, so that one recipient does not hold up a whole provider's.
func (r *run) refusal(site string, report *Report) sched.Kind {
	if !atRecipients(report) {
		return sched.LoginRefused
	}
	if r.tookWithin(site, takesWithout) {
		return sched.Later
	}
	return sched.LoginRefused
}

// fullFor is how long ago a site may have taken mail of which a host that greets 421
// is taken to be full and not to be down.
const fullFor = 10 * time.Second

// isFull reports whether a host of a shipment's site that greets with 421 may have too
// many of our connections, including one that is saying QUIT.
func (r *run) isFull(sh *shipment) bool {
	r.mu.Lock()
	beside := r.sched.Beside(sh.ship)
	r.mu.Unlock()
	return beside > 0 || r.tookWithin(sh.site, fullFor)
}

// tookWithin reports whether a site took mail no longer ago than that.
func (r *run) tookWithin(site string, ago time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.took[site]) < ago
}

// maxTook is of how many sites it is remembered that they took mail.
const maxTook = 4096

// tookMail notes that a site takes mail. If too many are known all are forgotten: a
// login that one of them asks for pauses it then.
func (r *run) tookMail(site string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.took == nil || len(r.took) >= maxTook {
		r.took = make(map[string]time.Time)
	}
	r.took[site] = time.Now()
}

// atRecipients reports whether every refusal of a login was the reply to RCPT or a
// later command.
func atRecipients(report *Report) bool {
	for i := range report.Recipients {
		if e := report.Recipients[i].Err; e != nil && e.LoginRefused() && e.Stage < StageRcpt {
			return false
		}
	}
	return true
}

// siteDelay returns the schedule's wait after so many failures of a site, without
// jitter, so that the site is open when the message that was tried becomes due.
func (r *run) siteDelay(failures int, destination string, why queue.Reply, now time.Time) time.Duration {
	wait := time.Hour // where the application's schedule panics
	r.agent.guard(func() {
		wait = r.agent.current().Schedule.Delay(Retry{
			Attempts: failures, Outcome: queue.Deferred, Reply: why, Destination: destination,
			Arrived: now, Now: now,
		})
	})
	return max(wait, 0)
}

// alarm reports to the operator once that a site refuses the login, and once that the
// login works again.
func (r *run) alarm(n sched.Notice, p *part, report *Report, until time.Time) {
	if n == sched.NoNotice {
		return
	}
	rr := &report.Recipients[0]
	e := Event{
		Time: time.Now(), Kind: LoginAccepted, Destination: p.delivery.Lease.Destination, Host: rr.Host, Addr: rr.Addr,
		Via: p.route.Via, TLS: rr.TLS, Code: rr.Reply.Code, Enhanced: rr.Reply.Enhanced,
		Reply: rr.Reply.Bounded().Text, Err: rr.Err,
	}
	if n == sched.LoginOut {
		e.Kind, e.Next = LoginRefused, until
	}
	r.agent.note(e)
}

// dnsTrouble is whether a route could not be found because DNS does not work at all.
func (r *run) dnsTrouble(err error) sched.Cause {
	re, ok := errors.AsType[*mx.ResolveError](err)
	if !ok || !re.NoServer() && re.Kind != mx.ServFail {
		return sched.NoTrouble
	}
	prober, ok := r.sender.router.(DNSProber)
	if !ok || r.dns.Works(func() (works bool) {
		works = true
		r.agent.guard(func() {
			re, failed := errors.AsType[*mx.ResolveError](prober.Probe(r.work))
			works = !failed || re.Kind == mx.Canceled
		})
		return works
	}) {
		return sched.NoTrouble
	}
	return sched.DNSFails
}

// ownTrouble returns the trouble on this side because of which no host could be asked:
// no network, or no resources for a connection. It must apply to every connection that
// was tried.
func (r *run) ownTrouble(report *Report) sched.Cause {
	cause, other := sched.NoTrouble, false
	for i := range report.Recipients {
		for j := range report.Recipients[i].Attempts {
			switch a := &report.Recipients[i].Attempts[j]; causeOf(a) {
			case sched.MachineFails:
				cause = sched.MachineFails
			case sched.NetworkFails:
				r.network.Note(a.Addr.Addr(), false)
				cause = max(cause, sched.NetworkFails)
			default:
				if a.Addr.IsValid() && !a.Err.Remembered {
					r.network.Note(a.Addr.Addr(), true)
				}
				other = true
			}
		}
	}
	if other || cause == sched.NetworkFails && r.network.Up() {
		return sched.NoTrouble
	}
	return cause
}

// causeOf returns the trouble on this side because of which an address could not be
// asked.
func causeOf(a *Attempt) sched.Cause {
	if a.Err == nil || a.Err.Replied() || a.Err.Stage != StageConnect {
		return sched.NoTrouble
	}
	for _, e := range []error{syscall.ENETUNREACH, syscall.ENETDOWN} {
		if errors.Is(a.Err.Err, e) {
			return sched.NetworkFails
		}
	}
	for _, e := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EADDRINUSE,
	} {
		if errors.Is(a.Err.Err, e) {
			return sched.MachineFails
		}
	}
	return sched.NoTrouble
}
