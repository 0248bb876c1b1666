package queue

import (
	"context"
	"strings"
	"time"
)

// Postponer is a queue that can hold back all mail for a destination (rules A6 and A8).
// A destination that is down then costs one probe, no matter how many messages wait for
// it, and a destination for which a claimer has no room costs nothing.
type Postponer interface {
	// Postpone records the postponements in order. Errors: ErrClosed.
	Postpone(ctx context.Context, now time.Time, list ...Postponement) error
}

// Postponement keeps every delivery to one destination from being claimed until some time.
type Postponement struct {
	// Destination is the destination in canonical form.
	Destination string

	// Until is when the deliveries may be claimed again. If zero, the owner's postponement
	// of the destination is lifted.
	Until time.Time

	// Owner is the claimer to whose claims it applies. If empty, it applies to every
	// claim, and it is stored, because it says something about the destination.
	// Otherwise it applies only to claims with the same ClaimOptions.Owner, and it is
	// not stored, because it says only that this claimer has no room for the mail.
	Owner string

	// Reason is shown to operators. Up to MaxReplyText bytes of it are kept.
	Reason string
}

// Bounded returns p with its reason cut to MaxReplyText bytes. If so, the reason is
// copied, so that it does not keep the longer string alive.
func (p Postponement) Bounded() Postponement {
	if len(p.Reason) > MaxReplyText {
		p.Reason = strings.Clone(p.Reason[:MaxReplyText])
	}
	return p
}

// Postpone keeps back q's mail for some destinations. It returns errors.ErrUnsupported if
// q is not a Postponer.
func Postpone(ctx context.Context, q Queue, now time.Time, list ...Postponement) error {
	if p, ok := As[Postponer](q); ok {
		return p.Postpone(ctx, now, list...)
	}
	return unsupported("postpone")
}
