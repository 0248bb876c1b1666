package attempt

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// ledger records what the hosts have replied about each recipient of one destination.
type ledger struct {
	domain   string
	observer Observer
	rcpts    []rcpt
	left     int // recipients still open

	// common are the attempts so far that were about every open recipient. A recipient
	// shares them until it has an answer of its own, so that fifty thousand recipients
	// do not keep as many copies.
	common []Attempt

	// unaskedHosts is set where the walk ended, or began, without some of the hosts:
	// then no host's refusal for itself is the last word.
	unaskedHosts bool

	why Next // the walk ended

	dns time.Duration // that the route took; of the first attempt
}

// rcpt is one recipient on its way.
type rcpt struct {
	mailbox address.Mailbox
	index   int // in the message
	result  *Result
	entry
}

// entry is what the ledger knows about one recipient.
type entry struct {
	settled  bool
	answered bool // this host has spoken of it: not asked again here
	failed   bool // a session with this address ended before it had an answer
	apart    bool // its attempts are its own, no longer the common ones
	judged   bool
	decisive Verdict
	stage    Stage    // of the deciding error
	lost     *Failure // why it is unknown whether this host has the message already
	unable   *Failure // of the first host that refuses the message for good
}

// Errors of recipients that no host was asked for.
var (
	// ErrNoHost says that no host could be asked.
	ErrNoHost     = errors.New("no host could be asked")
	errNotOffered = errors.New("not offered: the attempt ended before")
)

func (l *ledger) open(domain string, o Observer) {
	l.domain, l.observer, l.left = domain, o, len(l.rcpts)
}

// route notes how the next hops were found.
func (l *ledger) route(via mx.Via) {
	for i := range l.rcpts {
		l.rcpts[i].result.Via = via
	}
}

func (l *ledger) settled() bool { return l.left == 0 }

// atHost and atAddress begin a new host, a new address.
func (l *ledger) atHost() {
	for i := range l.rcpts {
		l.rcpts[i].answered, l.rcpts[i].failed = false, false
	}
}

func (l *ledger) atAddress() {
	for i := range l.rcpts {
		l.rcpts[i].failed = false
	}
}

// batch appends the recipients to offer next, at most n.
func (l *ledger) batch(batch []*rcpt, n int) []*rcpt {
	for i := range l.rcpts {
		if len(batch) == n {
			break
		}
		if l.rcpts[i].unasked() {
			batch = append(batch, &l.rcpts[i])
		}
	}
	return batch
}

func (r *rcpt) unasked() bool { return !r.settled && !r.answered && !r.failed }

// unasked reports whether a recipient is left for another transaction.
func (l *ledger) unasked() bool {
	for i := range l.rcpts {
		if l.rcpts[i].unasked() {
			return true
		}
	}
	return false
}

// onward is where the open recipients go from here: to the host's next address
// if a session ended before the host spoke of one, else to the next host.
func (l *ledger) onward() step {
	for i := range l.rcpts {
		if !l.rcpts[i].settled && !l.rcpts[i].answered {
			return toNextAddress
		}
	}
	return toNextHost
}

// record notes what one transaction meant for the recipients it was about.
func (l *ledger) record(h *session.Hop, sess *session.Session, batch []*rcpt, result *result) {
	for i, r := range batch {
		if f := &result.findings[i]; f.tried {
			l.enter(h, sess, r, f, result)
		}
	}
}

// share notes for the recipients that were still to be offered what the host
// would have to repeat for each transaction.
func (l *ledger) share(h *session.Hop, sess *session.Session, f *finding, result *result) {
	for i := range l.rcpts {
		if r := &l.rcpts[i]; r.unasked() {
			l.enter(h, sess, r, f, result)
		}
	}
}

// mayHave records that recipients were in a transaction that was lost without a reply
// and may have been carried out nevertheless.
func (l *ledger) mayHave(batch []*rcpt, lost *Failure) {
	for _, r := range batch {
		r.lost = lost
	}
}

// settleLost sets the recipients to unknown that the host has not settled since, and
// reports whether there are any: no other host is asked then.
func (l *ledger) settleLost() bool {
	found := false
	for i := range l.rcpts {
		r := &l.rcpts[i]
		if r.lost == nil || r.settled {
			continue
		}
		found, r.settled = true, true
		l.left--
		l.note(r, Attempt{
			Host: r.lost.Host, Addr: r.lost.Addr, Reused: true, Verdict: MaybeTaken, Err: r.lost, Began: time.Now(), Next: StopUnknown,
		}, r.lost.Reply())
	}
	if found {
		l.end(StopUnknown)
	}
	return found
}

// enter notes a finding for one recipient.
func (l *ledger) enter(h *session.Hop, sess *session.Session, r *rcpt, f *finding, result *result) {
	r.answered = f.answered
	r.failed = !f.answered
	l.note(r, Attempt{
		Host: h.Host.Name, Addr: h.Addr, TLS: sess.Protection, Reused: sess.Reused,
		Verdict: f.verdict, Err: f.err, Next: f.next(),
		Began: result.began, Duration: result.ended.Sub(result.began), Stages: result.stages,
		Without: leftOut(h, sess), Doubted: f.doubted, Decision: h.Judged.Decision,
	}, f.reply)
	if f.verdict.Final() {
		r.settled = true
		l.left--
	}
}

// note adds an attempt of one recipient's own.
func (l *ledger) note(r *rcpt, a Attempt, reply queue.Reply) {
	if !r.apart && len(l.common) > 0 {
		r.result.Attempts = l.common[:len(l.common):len(l.common)]
	}
	if !r.apart && len(l.common) == 0 {
		a.Stages.DNS += l.dns
	}
	r.apart = true
	r.result.Attempts = append(r.result.Attempts, a)
	r.consider(&a, reply)
	if l.observer.WantsAttempts() {
		l.observer.Attempt(l.domain, []string{r.result.Address}, a)
	}
}

// all adds an attempt that is about every open recipient.
func (l *ledger) all(a Attempt) {
	a.Duration = time.Since(a.Began)
	later := a // for those who have had their first attempt
	if len(l.common) == 0 {
		a.Stages.DNS += l.dns
	}
	l.common = append(l.common, a)
	told, reply := &later, a.Err.Reply()
	for i := range l.rcpts {
		r := &l.rcpts[i]
		if r.settled {
			continue
		}
		if r.apart {
			r.result.Attempts = append(r.result.Attempts, later)
		} else {
			told = &a
		}
		r.consider(&a, reply)
	}
	if l.observer.WantsAttempts() {
		l.observer.Attempt(l.domain, l.openAddresses(), *told)
	}
}

// consider makes an attempt the deciding one if its verdict outranks the
// others', or is as good and came further: a reply to RCPT says more than a
// host that could not be reached.
func (r *rcpt) consider(a *Attempt, reply queue.Reply) {
	stage := StageContent
	if a.Err != nil {
		stage = a.Err.Stage
	}
	if a.Verdict == HostRefuses && r.unable == nil && !a.Err.isSelf() {
		r.unable = a.Err
	}
	if r.judged && !outranks(a.Verdict, r.decisive) &&
		(outranks(r.decisive, a.Verdict) || stage < r.stage) {
		return
	}
	r.judged, r.decisive, r.stage = true, a.Verdict, stage
	res := r.result
	res.Outcome = a.Verdict.outcome()
	res.Host, res.Addr, res.TLS = a.Host, a.Addr, a.TLS
	res.Reply, res.Err, res.Decision = reply, a.Err, a.Decision
}

// end says why the walk ends for the recipients still open.
func (l *ledger) end(why Next) {
	l.why = why
	l.unaskedHosts = l.unaskedHosts || why != StopHosts
	if n := len(l.common); n > 0 {
		l.common[n-1].Next = why
	}
	for i := range l.rcpts {
		r := &l.rcpts[i]
		if !r.settled && r.apart {
			r.result.Attempts[len(r.result.Attempts)-1].Next = why
		}
	}
}

// close gives every recipient that never stood apart the common attempts, and
// an outcome to one that no host was asked for.
func (l *ledger) close() {
	var notAsked *Failure
	var firm, passing *Failure // the last refusal, which many may share, and what becomes of it
	var both withUnable
	for i := range l.rcpts {
		r := &l.rcpts[i]
		if !r.apart {
			r.result.Attempts, r.result.Shared = l.common, true
		}
		switch {
		case !r.judged:
			if notAsked == nil {
				notAsked = l.notAsked()
			}
			r.result.settle(notAsked, NotNow)
		case r.decisive == HostRefuses && l.unaskedHosts:
			// It is permanent only if every host refuses.
			if r.result.Err != firm {
				again := *r.result.Err
				again.Verdict = NotNow
				firm, passing = r.result.Err, &again
			}
			r.result.settle(passing, NotNow)
		case r.decisive == NotNow && r.unable != nil:
			r.result.settle(both.of(r.result.Err, r.unable), NotNow)
		}
	}
}

// withUnable makes a failure that many recipients may share.
type withUnable struct{ last, unable, made *Failure }

// of returns a failure for now that also says which host refuses the message for good:
// otherwise nothing would tell that the mail depends on the host that has failed for now.
func (w *withUnable) of(last, unable *Failure) *Failure {
	if w.last != last || w.unable != unable {
		again := *last
		if again.Elsewhere = unable.elsewhere(); again.Err != nil {
			again.Err = &unableElsewhere{last.Err, again.Elsewhere}
		}
		w.last, w.unable, w.made = last, unable, &again
	}
	return w.made
}

// unableElsewhere is the cause of a failure for now, if another host refuses the message
// for good.
type unableElsewhere struct {
	cause     error
	elsewhere string
}

// elsewhere says that the host will never take the message.
func (f *Failure) elsewhere() string {
	var why string
	var unfit *smtp.Error
	switch {
	case f.Replied():
		why = strconv.Itoa(f.Code) + " " + strings.Join(f.Lines, " ")
	case errors.As(f.Err, &unfit) && unfit.Err != nil:
		why = unfit.Err.Error()
	default:
		why = f.Reply().Text
	}
	return f.Host + " does not take it: " + why
}

// Error returns both causes.
func (e *unableElsewhere) Error() string { return e.cause.Error() + "; " + e.elsewhere }

// Unwrap returns the cause of the failure for now.
func (e *unableElsewhere) Unwrap() error { return e.cause }

// notAsked is the error of a recipient that no host was asked for.
func (l *ledger) notAsked() *Failure {
	if l.unaskedHosts {
		return &Failure{Stage: StageConnect, Enhanced: "4.4.0", Err: errNotOffered}
	}
	return &Failure{Stage: StageConnect, Enhanced: "4.4.1", Err: ErrNoHost}
}

func (l *ledger) openAddresses() []string {
	list := make([]string, 0, l.left)
	for i := range l.rcpts {
		if !l.rcpts[i].settled {
			list = append(list, l.rcpts[i].result.Address)
		}
	}
	return list
}

// fallBack prepares the ledger for the fallback hosts, and reports whether any
// recipient goes there: those whose outcome so far is "not now". A host's own refusal
// is final if all other hosts refused as well. There is no fallback after an unknown
// outcome.
func (l *ledger) fallBack() bool {
	if l.why != StopHosts && l.why != StopLimit {
		return false
	}
	going := 0
	for i := range l.rcpts {
		r := &l.rcpts[i]
		switch {
		case r.settled:
		case r.decisive != NotNow:
			r.settled = true
			l.left--
		default:
			going++
			r.result.Via = mx.ViaFallback
			if r.apart {
				r.result.Attempts[len(r.result.Attempts)-1].Next = NextFallback
			}
		}
	}
	if n := len(l.common); n > 0 && going > 0 {
		l.common[n-1].Next = NextFallback
	}
	return going > 0
}
