package attempt

import (
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// Package smtp recognises what a peer cannot do, and its table says what to leave out.
// Here a new session is made at once, or the address is remembered, so that the next
// attempt leaves something out. The memory is by address, because other messages and
// domains would meet the same failure there.

// spare is what may be left out of what an error has called into doubt.
func (w *Walk) spare(h *session.Hop, e *smtp.Error) smtp.Option {
	if session.Distrusted(e) { // the application's own check is not to be got round
		return 0
	}
	return h.Spare(e.Doubt.Now, w.needsExtensions()) &^ h.Without
}

// without returns the options that are left out at an address from the start.
func (w *Walk) without(h *session.Hop) smtp.Option {
	o := w.sessions().Memory.Without(h.Addr, time.Now())
	if o == 0 {
		return 0
	}
	return h.Spare(o, w.needsExtensions())
}

// noted remembers what a session that could not be made shows about the address,
// including what the next one leaves out at once.
func (w *Walk) noted(h *session.Hop, e *smtp.Error, atOnce smtp.Option) {
	memory, now := &w.sessions().Memory, time.Now()
	memory.Lacks(h.Addr, atOnce&^e.Doubt.Brief, now)
	if e.Stage > smtp.StageBanner {
		memory.Acquit(h.Addr, h.Without&opening, now)
	}
	if e.Doubt.Next != 0 {
		memory.Suspect(h.Addr, e.Doubt, now)
	}
}

// learn remembers what a transaction shows about the address.
func (w *Walk) learn(h *session.Hop, sess *session.Session, r *result) {
	memory, now, without := &w.sessions().Memory, r.ended, tried(h, sess)
	switch {
	case without == 0, r.stale:
	case r.failed:
		memory.Acquit(h.Addr, without, now)
	case r.reachedMail:
		memory.Confirm(h.Addr, without, now)
	}
	if r.doubt.Next != 0 {
		memory.Suspect(h.Addr, r.doubt, now)
	}
	if lacks := sess.Lacks() &^ h.Without; lacks != 0 {
		memory.Lacks(h.Addr, lacks, now)
		h.Without |= lacks
	}
}
