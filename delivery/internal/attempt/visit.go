package attempt

import (
	"context"
	"errors"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// address visits one address.
func (w *Walk) address(ctx context.Context, h *session.Hop) step {
	w.ledger.atAddress()
	memory := &w.sessions().Memory
	h.Gate, h.Site = w.job.Gate, w.job.Site
	h.Source = w.sessions().SourceFor(w.job.pin(), h.Addr.Addr())
	h.Without = w.without(h)
	defer func() {
		if w.probes {
			memory.DropProbe(h.Addr)
			w.probes = false
		}
	}()
	return w.visit(ctx, h)
}

// mayDial reports whether the address may be connected to: not if it failed a moment
// ago, and after a while only by one caller, until that one knows the result.
func (w *Walk) mayDial(h *session.Hop) bool {
	if w.probes {
		return true
	}
	var ok bool
	ok, w.probes = w.sessions().Memory.Ask(h.Addr, w.probing, time.Now())
	return ok
}

// remembered skips an address because of its recent failure.
func (w *Walk) remembered(h *session.Hop) step {
	e, ok := w.sessions().Memory.Failure(h.Addr).(*Failure)
	if !ok {
		return toNextAddress
	}
	again := *e
	again.Host, again.Remembered, again.Verdict = h.Host.Name, true, NotNow
	w.ledger.all(Attempt{Host: h.Host.Name, Addr: h.Addr, Began: time.Now(), Err: &again, Next: NextAddress})
	return toNextAddress
}

// visit holds sessions with one address: one, but for a second try where a kept
// session had gone stale, TLS is broken and not required, or the host limits
// what one session may carry.
func (w *Walk) visit(ctx context.Context, h *session.Hop) step {
	fresh := false
	for {
		began := time.Now()
		if ctx.Err() != nil {
			return w.canceled(ctx, h, began)
		}
		if w.connections >= w.job.config.maxConnections() || w.reached >= w.job.config.maxSessions() {
			w.ledger.end(StopLimit)
			return toEnd
		}
		var sess *session.Session
		if !fresh {
			sess = w.sessions().Kept(h, w.job.observer)
		}
		if sess == nil {
			if !w.mayDial(h) {
				return w.remembered(h)
			}
			w.connections++
			var err error
			if sess, err = w.sessions().Fresh(ctx, h, w.job.observer); err != nil {
				if next, again := w.noSession(ctx, h, err, began); !again {
					return next
				}
				continue
			}
			if sess.Reused {
				w.connections--
			}
			w.sessions().Memory.Succeed(h.Addr)
		}
		if h.Gate.Pace(ctx, h.Site, h.Host.Name) != nil {
			w.sessions().Keep(sess)
			return w.canceled(ctx, h, began)
		}
		next, again := w.use(ctx, h, sess)
		if !again {
			return next
		}
		fresh = true
	}
}

// use converses over a session and then keeps it, or ends it where a hook of the
// application's panicked in the midst of it.
func (w *Walk) use(ctx context.Context, h *session.Hop, sess *session.Session) (next step, again bool) {
	whole := false
	defer func() {
		if !whole {
			w.sessions().Abandon(sess)
		}
	}()
	next, again = w.converse(ctx, h, sess)
	whole = true
	w.sessions().Keep(sess)
	return next, again
}

// noSession records that an address gave no session. again asks for another
// visit at once.
func (w *Walk) noSession(ctx context.Context, h *session.Hop, err error, began time.Time) (next step, again bool) {
	if ctx.Err() != nil {
		return w.canceled(ctx, h, began), false
	}
	e := w.job.config.judge(h, err)
	if w.job.requiresTLS() {
		e.insist()
	}
	a := Attempt{Host: h.Host.Name, Addr: h.Addr, Verdict: e.Verdict, Err: e, Began: began, Stages: h.Took, Next: NextAddress}
	h.Dialled, h.Took = time.Time{}, session.Stages{}
	a.Without, a.Decision = h.Without, h.Judged.Decision
	if se, ok := errors.AsType[*smtp.Error](err); ok {
		now := w.spare(h, se)
		w.noted(h, se, now)
		if a.Doubted = se.Doubt.Next | now; now != 0 {
			a.Next = InClear
			w.ledger.all(a)
			h.Without |= now
			return toNextAddress, true
		}
	}
	w.metSelf = w.metSelf || e.isSelf()
	w.tell(h, e)
	if e.blamesAddress() {
		w.sessions().Memory.Fail(h.Addr, e, time.Now())
	}
	if e.LoginRefused() {
		// The other addresses would refuse it as well, and count that.
		a.Next = NextHost
		w.ledger.all(a)
		return toNextHost, false
	}
	w.ledger.all(a)
	return toNextAddress, false
}

// tell reports a failure to the hooks.
func (w *Walk) tell(h *session.Hop, e *Failure) {
	if session.Ours(e.Err) {
		return
	}
	if told := w.job.config.Unreachable; told != nil {
		told(h.Host)
	}
}

// converse offers the open recipients over one session, in as many transactions
// as the host's limits ask for. again asks for another session with the host.
func (w *Walk) converse(ctx context.Context, h *session.Hop, sess *session.Session) (next step, again bool) {
	counted, took, carried := false, false, false
	for {
		w.batch = w.ledger.batch(w.batch[:0], w.most(sess))
		result := w.transact(ctx, h, sess)
		w.learn(h, sess, &result)
		if result.lost != nil {
			w.ledger.mayHave(w.batch, result.lost)
		}
		if result.instead != nil {
			now := h.Spare(result.doubt.Now, w.needsExtensions())
			w.ledger.all(Attempt{
				Host: h.Host.Name, Addr: h.Addr, TLS: sess.Protection, Reused: sess.Reused, Err: result.instead,
				Began: result.began, Stages: result.stages, Next: SameHost, Without: leftOut(h, sess), Doubted: now, Decision: h.Judged.Decision,
			})
			w.sessions().Memory.Lacks(h.Addr, now&^result.doubt.Next, result.ended)
			h.Without |= now
		}
		if result.stale || result.instead != nil {
			// A kept session the host had closed, or one that broke over what the
			// host cannot do: it is asked again on a new one.
			w.uncount(sess, took)
			return toNextAddress, true
		}
		if result.reachedMail && !counted {
			w.reached++
			counted = true
		}
		w.ledger.record(h, sess, w.batch, &result)
		switch {
		case result.unknown:
			w.ledger.end(StopUnknown)
			return toEnd, false
		case ctx.Err() != nil:
			w.ledger.end(StopCanceled)
			return toEnd, false
		case !w.ledger.unasked():
			return w.ledger.onward(), false
		case result.whole != nil && !took:
			w.ledger.share(h, sess, result.whole, &result)
			return w.ledger.onward(), false
		case result.content != nil && !carried:
			w.ledger.share(h, sess, result.content, &result)
			return w.ledger.onward(), false
		case !sess.Reusable():
			w.uncount(sess, took || result.progress())
			return toNextAddress, true
		}
		took = took || result.progress()
		carried = carried || result.carried()
	}
}

// most is how many recipients go into one transaction.
func (w *Walk) most(sess *session.Session) int {
	n, most := maxRecipients(sess), sess.MostRecipients()
	if most == 0 {
		return n
	}
	return min(n, most)
}

// uncount ignores the end of a session that had settled recipients: the host accepts
// only so many per session, and that is not a failure.
func (w *Walk) uncount(sess *session.Session, took bool) {
	if !took {
		return
	}
	w.reached--
	if !sess.Reused {
		w.connections--
	}
}

// canceled records that the caller gave up.
func (w *Walk) canceled(ctx context.Context, h *session.Hop, began time.Time) step {
	e := fail(h, StageConnect, NotNow, "4.4.7", context.Cause(ctx))
	w.ledger.all(Attempt{Host: h.Host.Name, Addr: h.Addr, Err: e, Began: began, Next: StopCanceled})
	return toEnd
}
