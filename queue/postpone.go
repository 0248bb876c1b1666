package queue

import (
	"context"
	"time"
)

// Postponer is a queue that keeps all mail for a destination back, so that a
// destination that is down costs one probe however many messages wait for it
// (rule A6).
type Postponer interface {
	// Postpone keeps every delivery to the destination, in canonical form, from
	// being claimed before until. It replaces an earlier postponement; the zero
	// time lifts it. Errors: ErrClosed.
	Postpone(ctx context.Context, now time.Time, destination string, until time.Time) error
}

// Postpone keeps q's mail for a destination back until a time. It answers
// errors.ErrUnsupported for a queue that is no Postponer.
func Postpone(ctx context.Context, q Queue, now time.Time, destination string, until time.Time) error {
	if p, ok := q.(Postponer); ok {
		return p.Postpone(ctx, now, destination, until)
	}
	return unsupported("postpone")
}
