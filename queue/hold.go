package queue

import (
	"context"
	"strings"
	"time"
)

// Holder is a queue whose messages can be held (rule A3).
type Holder interface {
	// Hold keeps a message from being claimed until it is released. Errors:
	// ErrNotFound, ErrClosed. Holding what is held is no error.
	Hold(ctx context.Context, id string) error

	// Release ends a hold. Errors: ErrNotFound, ErrClosed. Releasing what is not
	// held is no error.
	Release(ctx context.Context, id string) error
}

// TermHolder is a Holder whose holds have a reason, and may have an end (rule A9).
type TermHolder interface {
	Holder

	// HoldUntil puts a message on hold on some terms, or replaces the terms of the
	// hold that it is on. Terms.Since is ignored. Errors: ErrNotFound, ErrClosed.
	HoldUntil(ctx context.Context, now time.Time, id string, on Terms) error
}

// Terms are why something is held or suspended, and for how long.
type Terms struct {
	// Since is when that began, zero if it is not known. A queue sets it.
	Since time.Time

	// Until is when it ends. If zero, it lasts until somebody ends it.
	Until time.Time

	// Reason is why, for those who ask; up to MaxReason bytes of it are kept.
	Reason string
}

// MaxReason is how many bytes of the reason of a hold, a suspension or a settlement
// a queue keeps.
const MaxReason = 500

// Bounded returns t with its reason cut to MaxReason bytes, and copied if it is, so
// that it does not keep a longer string alive, and with times without a monotonic
// reading.
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

// Over reports whether the time of the terms has passed.
func (t Terms) Over(now time.Time) bool { return !t.Until.IsZero() && !t.Until.After(now) }

// Hold keeps a message of q from being claimed. It answers
// errors.ErrUnsupported for a queue that is no Holder.
func Hold(ctx context.Context, q Queue, id string) error {
	if h, ok := As[Holder](q); ok {
		return h.Hold(ctx, id)
	}
	return unsupported("hold")
}

// HoldUntil keeps a message of q from being claimed on some terms. A queue that is a
// Holder and no TermHolder holds it without a reason, if the terms have no end;
// else it answers errors.ErrUnsupported.
func HoldUntil(ctx context.Context, q Queue, now time.Time, id string, on Terms) error {
	if h, ok := As[TermHolder](q); ok {
		return h.HoldUntil(ctx, now, id, on)
	}
	if !on.Until.IsZero() {
		return unsupported("hold until")
	}
	return Hold(ctx, q, id)
}

// Release ends the hold on a message of q. It answers errors.ErrUnsupported for
// a queue that is no Holder.
func Release(ctx context.Context, q Queue, id string) error {
	if h, ok := As[Holder](q); ok {
		return h.Release(ctx, id)
	}
	return unsupported("release")
}
