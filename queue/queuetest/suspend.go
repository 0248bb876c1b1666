package queuetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func suspendChecks() []check {
	return []check{
		{ruleA10, "a suspension is shown with its reason, its end and since when", needSuspend, suspended},
		{ruleA10, "the next of the same subject replaces it", needSuspend, suspendedAnew},
		{ruleA10, "it ends when its time has come, or when it is resumed", needSuspend, suspensionEnds},
		{ruleA10, "it is over for good, whatever the clock says then", needSuspend, suspensionStaysOver},
		{ruleA10, "it is over for good, across a close too", needSuspend | needReopen, suspensionStaysOverAcrossClose},
		{ruleA10, "a domain, a site and a tenant of one name are three", needSuspend, suspendedKinds},
		{ruleA10, "it keeps nothing from being claimed", needSuspend, suspendedClaim},
		{ruleA10, "a subject or a number that is too much changes nothing", needSuspend, suspendedTooMuch},
		{ruleA10, "it survives a close", needSuspend | needReopen, suspendedAcrossClose},
		{ruleA10, "it survives a crash, and so does its end", needSuspend | needCrash, suspendedAcrossCrash},
		{ruleW1, "a Suspend and a Resume", needSuspend | needWait, waitForSuspension},
		{ruleX3, "after Close nothing is suspended", needSuspend | needClose, suspendedAfterClose},
	}
}

func (r *run) suspend(list ...queue.Suspension) {
	r.Helper()
	r.check("Suspend", queue.Suspend(r.ctx, r.q, r.now, list...))
}

// wantResumed resumes and compares the number.
func (r *run) wantResumed(want int, list ...queue.Subject) {
	r.Helper()
	n, err := queue.Resume(r.ctx, r.q, r.now, list...)
	r.check("Resume", err)
	if n != want {
		r.Errorf("Resume of %v = %d, want %d", list, n, want)
	}
}

func suspension(k queue.SubjectKind, name string, until time.Time, reason string) queue.Suspension {
	return queue.Suspension{
		Subject: queue.Subject{Kind: k, Name: name}, Terms: queue.Terms{Until: until, Reason: reason},
	}
}

// wantSuspended compares what is suspended, in order.
func (r *run) wantSuspended(want ...queue.Suspension) {
	r.Helper()
	got, err := queue.Suspensions(r.ctx, r.q, r.now)
	r.check("Suspensions", err)
	if !slices.EqualFunc(got, want, func(a, b queue.Suspension) bool {
		return a.Subject == b.Subject && a.Reason == b.Reason && r.same(a.Since, b.Since) && r.same(a.Until, b.Until)
	}) {
		r.Errorf("Suspensions is %v, want %v", got, want)
	}
}

// since is a suspension that began at a time.
func since(t time.Time, s queue.Suspension) queue.Suspension {
	s.Since = t
	return s
}

func suspended(r *run) {
	r.wantSuspended()
	start := r.now
	one := suspension(queue.OfDestination, "one.example", start.Add(time.Hour), "it is asked for")
	two := suspension(queue.OfDestination, "two.example", time.Time{}, "")
	r.suspend(two)
	r.advance(time.Minute)
	r.suspend(one)
	r.wantSuspended(since(r.now, one), since(start, two))
	r.suspend()
	r.wantSuspended(since(r.now, one), since(start, two))
}

func suspendedAnew(r *run) {
	a := suspension(queue.OfTenant, "", r.now.Add(time.Hour), "first")
	b := suspension(queue.OfTenant, "", r.now.Add(2*time.Hour), "second")
	r.suspend(a)
	r.advance(time.Minute)
	r.suspend(a, b)
	r.wantSuspended(since(r.now, b))
}

func suspensionEnds(r *run) {
	start := r.now
	hour := suspension(queue.OfDestination, "hour.example", start.Add(time.Hour), "")
	always := suspension(queue.OfDestination, "always.example", time.Time{}, "")
	site := suspension(queue.OfSite, "mx.example.net", start.Add(2*time.Hour), "")
	over := suspension(queue.OfSite, "mx.example.org", start, "")
	r.suspend(hour, always, site, over)
	r.wantSuspended(since(start, always), since(start, hour), since(start, site))
	r.advance(time.Hour - 2*time.Millisecond)
	r.wantSuspended(since(start, always), since(start, hour), since(start, site))
	r.advance(2 * time.Millisecond)
	r.wantSuspended(since(start, always), since(start, site))
	r.wantResumed(0, hour.Subject)
	r.wantResumed(2, always.Subject, site.Subject, over.Subject)
	r.wantSuspended()
	r.wantResumed(0, always.Subject)
}

func suspensionStaysOver(r *run) {
	start := r.now
	hour := suspension(queue.OfDestination, "hour.example", start.Add(time.Hour), "")
	day := suspension(queue.OfSite, "day.example", start.Add(24*time.Hour), "")
	r.suspend(hour, day)
	r.advance(time.Hour)
	r.wantSuspended(since(start, day))
	r.now = r.now.Add(-30 * time.Minute)
	r.wantSuspended(since(start, day))
	r.wantResumed(0, hour.Subject)
	r.advance(24 * time.Hour)
	r.wantResumed(0, hour.Subject) // which says the time, too
	r.now = r.now.Add(-24 * time.Hour)
	r.wantSuspended()
}

func suspensionStaysOverAcrossClose(r *run) {
	start := r.now
	hour := suspension(queue.OfDestination, "hour.example", start.Add(time.Hour), "")
	always := suspension(queue.OfDestination, "always.example", time.Time{}, "")
	r.suspend(hour, always)
	r.advance(time.Hour)
	r.wantSuspended(since(start, always))
	r.reopen()
	r.now = r.now.Add(-30 * time.Minute)
	r.wantSuspended(since(start, always))
}

func suspendedKinds(r *run) {
	var list []queue.Suspension
	for _, k := range []queue.SubjectKind{queue.OfDestination, queue.OfSite, queue.OfTenant} {
		list = append(list, since(r.now, suspension(k, "one.example", time.Time{}, k.String())))
	}
	r.suspend(list[2], list[0], list[1])
	r.wantSuspended(list...)
	r.wantResumed(1, list[1].Subject)
	r.wantSuspended(list[0], list[2])
}

func suspendedClaim(r *run) {
	m := r.message("a@one.example")
	m.Tenant = "t"
	r.put(m)
	r.suspend(suspension(queue.OfDestination, "one.example", time.Time{}, ""), suspension(queue.OfTenant, "t", time.Time{}, ""))
	r.one()
}

func suspendedTooMuch(r *run) {
	one := suspension(queue.OfDestination, "one.example", time.Time{}, "")
	r.suspend(one)
	long := suspension(queue.OfSite, strings.Repeat("x", queue.MaxSubject+1), time.Time{}, "")
	if err := queue.Suspend(r.ctx, r.q, r.now, long); err == nil {
		r.Errorf("Suspend of a site with a name of %d bytes = nil", len(long.Name))
	}
	for _, bad := range []queue.Subject{
		{}, {Name: "One.Example"}, {Name: "a b"}, {Name: "one.example."}, {Kind: queue.OfSite}, {Kind: queue.OfTenant + 1, Name: "x"},
	} {
		var wrong *queue.MessageError
		if err := queue.Suspend(r.ctx, r.q, r.now, queue.Suspension{Subject: bad}); !errors.As(err, &wrong) {
			r.Errorf("Suspend of %v %q = %v, want a *MessageError", bad.Kind, bad.Name, err)
		}
	}
	many := make([]queue.Suspension, queue.MaxSuspensions)
	for i := range many {
		many[i] = suspension(queue.OfTenant, fmt.Sprintf("t%06d", i), time.Time{}, "")
	}
	if err := queue.Suspend(r.ctx, r.q, r.now, many...); !errors.Is(err, queue.ErrFull) {
		r.Errorf("Suspend of more than MaxSuspensions = %v, want ErrFull", err)
	}
	r.wantSuspended(since(r.now, one))
	cut := suspension(queue.OfDestination, "two.example", time.Time{}, strings.Repeat("why ", queue.MaxReason))
	r.suspend(cut)
	cut.Reason = cut.Reason[:queue.MaxReason]
	r.wantSuspended(since(r.now, one), since(r.now, cut))
}

// severalSuspensions suspends and resumes, and then wants it to be so.
func severalSuspensions(r *run) (want func()) {
	start := r.now
	list := []queue.Suspension{
		since(start, suspension(queue.OfDestination, "one.example", start.Add(time.Hour), "it ends")),
		since(start, suspension(queue.OfSite, "a.example;,b.example;", time.Time{}, "why \x00\xff")),
		since(start, suspension(queue.OfTenant, "", time.Time{}, "")),
	}
	gone := suspension(queue.OfDestination, "two.example", time.Time{}, "")
	r.suspend(list[1], gone)
	r.suspend(list[0])
	r.suspend(list[2])
	r.wantResumed(1, gone.Subject)
	return func() {
		r.wantSuspended(list...)
		r.advance(start.Add(time.Hour).Sub(r.now))
		r.wantSuspended(list[1:]...)
	}
}

func suspendedAcrossClose(r *run) {
	want := severalSuspensions(r)
	r.reopen()
	r.reopen()
	want()
	r.reopen()
	r.wantResumed(1, queue.Subject{Kind: queue.OfTenant})
	r.reopen()
	if got, err := queue.Suspensions(r.ctx, r.q, r.now); err != nil || len(got) != 1 {
		r.Errorf("Suspensions is %v, %v, want the site alone", got, err)
	}
}

func suspendedAcrossCrash(r *run) {
	want := severalSuspensions(r)
	r.crash()
	r.crash()
	want()
	r.wantResumed(2, queue.Subject{Kind: queue.OfTenant}, queue.Subject{Kind: queue.OfSite, Name: "a.example;,b.example;"})
	r.crash()
	r.wantSuspended()
}

func waitForSuspension(r *run) {
	one := suspension(queue.OfDestination, "one.example", time.Time{}, "")
	r.wantWoken("a Suspend", func() { r.suspend(one) })
	r.wantWoken("a Resume", func() { r.wantResumed(1, one.Subject) })
}

func suspendedAfterClose(r *run) {
	r.check("Close", queue.Close(r.q))
	one := suspension(queue.OfDestination, "one.example", time.Time{}, "")
	if err := queue.Suspend(r.ctx, r.q, r.now, one); !errors.Is(err, queue.ErrClosed) {
		r.Errorf("Suspend after Close = %v, want ErrClosed", err)
	}
	if _, err := queue.Resume(r.ctx, r.q, r.now, one.Subject); !errors.Is(err, queue.ErrClosed) {
		r.Errorf("Resume after Close = %v, want ErrClosed", err)
	}
	if _, err := queue.Suspensions(r.ctx, r.q, r.now); !errors.Is(err, queue.ErrClosed) {
		r.Errorf("Suspensions after Close = %v, want ErrClosed", err)
	}
}

func sharedSuspension(r *run) {
	other, kill := r.handle()
	one := since(r.now, suspension(queue.OfDestination, "one.example", r.now.Add(time.Hour), "why"))
	two := since(r.now, suspension(queue.OfSite, "mx.two.example", time.Time{}, ""))
	r.suspend(one)
	r.by(other, func() {
		r.wantSuspended(one)
		r.suspend(two)
		r.wantResumed(1, one.Subject)
	})
	r.wantSuspended(two)
	kill()
	r.wantSuspended(two)
	r.wantResumed(1, two.Subject)
}

func sharedTerms(r *run) {
	other, kill := r.handle()
	id, start := r.put(r.message()), r.now
	r.holdUntil(id, start.Add(time.Hour), "why")
	r.by(other, func() {
		r.wantTerms(id, start, start.Add(time.Hour), "why")
		r.none("by another handle, of what is on hold")
		r.holdUntil(id, start.Add(2*time.Hour), "longer")
	})
	kill()
	r.wantTerms(id, start, start.Add(2*time.Hour), "longer")
	r.advance(time.Hour)
	r.none("at the end of a hold that another handle has made longer")
	r.advance(time.Hour)
	r.one()
}

func sharedTaken(r *run) {
	other, kill := r.handle()
	id := r.put(r.message())
	r.by(other, func() { r.wantTaken(id, 1, 0) })
	r.wantTaken(id, 0, 1)
	r.none("of what another handle has taken")
	kill()
	r.advance(queue.DefaultLease)
	r.wantTaken(id, 1, 0)
}
