package queue

import (
	"context"
	"strings"
	"time"
)

// Holder is a queue whose messages can be held (rule A3).
type Holder interface {
	// Hold keeps a message from being claimed until it is released. Errors: ErrNotFound,
	// ErrClosed. If the message is held already, nothing happens.
	Hold(ctx context.Context, id string) error

	// Release ends a hold. Errors: ErrNotFound, ErrClosed. If the message is not held,
	// nothing happens.
	Release(ctx context.Context, id string) error
}

// TermHolder is a Holder whose holds have a reason and may have an end (rule A9).
type TermHolder interface {
	Holder

	// HoldUntil puts a message on hold on these terms. If it is on hold already, the terms
	// are replaced. Terms.Since is ignored. Errors: ErrNotFound, ErrClosed.
	HoldUntil(ctx context.Context, now time.Time, id string, on Terms) error
}

// Terms say why something is held or suspended, and for how long.
type Terms struct {
	// Since is when the hold or suspension began. It is zero if that is not known. The
	// queue sets it.
	Since time.Time

	// Until is when it ends. If zero, it lasts until it is released.
	Until time.Time

	// Reason is shown to operators. Up to MaxReason bytes of it are kept.
	Reason string
}

// MaxReason is how many bytes a queue keeps of the reason of a hold, suspension or
// settlement.
const MaxReason = 500

// Bounded returns t as a queue stores it. The times have no monotonic reading. The reason
// is cut to MaxReason bytes; if so, it is copied, so that it does not keep the longer
// string alive.
func (t Terms) Bounded() Terms {
	t.Since, t.Until, t.Reason = t.Since.Round(0), t.Until.Round(0), boundReason(t.Reason)
	return t
}

func boundReason(reason string) string {
	if len(reason) > MaxReason {
		return strings.Clone(reason[:MaxReason])
	}
	return reason
}

// Over reports whether the terms have an end that is not after now.
func (t Terms) Over(now time.Time) bool { return !t.Until.IsZero() && !t.Until.After(now) }

// Hold keeps a message of q from being claimed. It returns errors.ErrUnsupported if q is
// not a Holder.
func Hold(ctx context.Context, q Queue, id string) error {
	if h, ok := As[Holder](q); ok {
		return h.Hold(ctx, id)
	}
	return unsupported("hold")
}

// HoldUntil keeps a message of q from being claimed on some terms. If q is a Holder but
// not a TermHolder, the message is held without a reason, and terms with an end return
// errors.ErrUnsupported.
func HoldUntil(ctx context.Context, q Queue, now time.Time, id string, on Terms) error {
	if h, ok := As[TermHolder](q); ok {
		return h.HoldUntil(ctx, now, id, on)
	}
	if !on.Until.IsZero() {
		return unsupported("hold until")
	}
	return Hold(ctx, q, id)
}

// Release ends the hold on a message of q. It returns errors.ErrUnsupported if q is not a
// Holder.
func Release(ctx context.Context, q Queue, id string) error {
	if h, ok := As[Holder](q); ok {
		return h.Release(ctx, id)
	}
	return unsupported("release")
}
