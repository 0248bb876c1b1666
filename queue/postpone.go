package queue

import (
	"context"
	"strings"
	"time"
)

// Postponer is a queue that keeps all mail for a destination back, so that a
// destination that is down costs one probe however many messages wait for it, and
// one for which a claimer has no room costs it nothing (rules A6 and A8).
type Postponer interface {
	// Postpone does what each of the list says, in order. Errors: ErrClosed.
	Postpone(ctx context.Context, now time.Time, list ...Postponement) error
}

// Postponement keeps every delivery to one destination from being claimed for
// some time.
type Postponement struct {
	// Destination is the destination in canonical form.
	Destination string

	// Until is when the deliveries may be claimed again. If zero, it lifts what the
	// same owner has postponed before.
	Until time.Time

	// Owner is whose it is. If empty, it is everybody's: it binds every claim and is
	// stored, since it tells of the destination. Otherwise it binds only claims with
	// the same ClaimOptions.Owner and is not stored: that claimer has no room for the
	// mail.
	Owner string

	// Reason is why, for those who ask; up to MaxReplyText bytes of it are kept.
	Reason string
}

// Bounded returns p with its reason cut to MaxReplyText bytes, and copied if it
// is, so that it does not keep a longer string alive.
func (p Postponement) Bounded() Postponement {
	if len(p.Reason) > MaxReplyText {
		p.Reason = strings.Clone(p.Reason[:MaxReplyText])
	}
	return p
}

// Postpone keeps q's mail for some destinations back. It answers
// errors.ErrUnsupported for a queue that is no Postponer.
func Postpone(ctx context.Context, q Queue, now time.Time, list ...Postponement) error {
	if p, ok := As[Postponer](q); ok {
		return p.Postpone(ctx, now, list...)
	}
	return unsupported("postpone")
}
