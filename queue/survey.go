package queue

import (
	"context"
	"time"
)

// Surveyor is a queue that counts what it holds (rule A7).
type Surveyor interface {
	// Total counts everything.
	Total(ctx context.Context) (Total, error)

	// Survey returns destinations in the order of their names: those after the
	// given one, at most max of them (zero is DefaultMax). Fewer than max are the
	// last.
	Survey(ctx context.Context, after string, max int) ([]Destination, error)
}

// Total is how much a queue holds.
type Total struct {
	// Messages, and Deliveries: the pairs of a message and a destination with
	// pending recipients.
	Messages, Deliveries int

	// Bytes is the size of the contents, each counted once.
	Bytes int64
}

// Destination is what waits for one destination.
type Destination struct {
	// Name is the destination in canonical form.
	Name string

	// Deliveries is how many messages wait for it, Held and Leased how many of
	// those are on hold and being worked on.
	Deliveries, Held, Leased int

	// Bytes is the size of their contents.
	Bytes int64

	// Oldest is the arrival of the message with the lowest id.
	Oldest time.Time

	// Postponed is until when the destination is postponed for everybody, and
	// Reason why; zero if it is not.
	Postponed time.Time
	Reason    string
}

// Totals counts what q holds. It answers errors.ErrUnsupported for a queue that
// is no Surveyor.
func Totals(ctx context.Context, q Queue) (Total, error) {
	if s, ok := As[Surveyor](q); ok {
		return s.Total(ctx)
	}
	return Total{}, unsupported("total")
}

// Survey returns q's destinations after the given one in the order of their
// names, at most max (zero is DefaultMax). It answers errors.ErrUnsupported for
// a queue that is no Surveyor.
func Survey(ctx context.Context, q Queue, after string, max int) ([]Destination, error) {
	if s, ok := As[Surveyor](q); ok {
		return s.Survey(ctx, after, max)
	}
	return nil, unsupported("survey")
}
