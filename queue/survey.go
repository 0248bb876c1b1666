package queue

import (
	"context"
	"time"
)

// Surveyor is a queue that counts its mail (rule A7).
type Surveyor interface {
	// Total counts everything.
	Total(ctx context.Context) (Totals, error)

	// Survey returns the destinations after the given one, in the order of their names. It
	// returns at most max, or DefaultMax if max is zero. If it returns fewer, there are no
	// more.
	Survey(ctx context.Context, after string, max int) ([]Destination, error)
}

// Totals is how much a queue holds.
type Totals struct {
	// Messages is the number of messages. Deliveries is the number of pairs of a message
	// and a destination with pending recipients.
	Messages, Deliveries int

	// Bytes is the size of the contents, each counted once.
	Bytes int64
}

// Destination counts the mail for one destination.
type Destination struct {
	// Name is the destination in canonical form.
	Name string

	// Deliveries is how many messages wait for it. Held is how many of these are on hold,
	// Leased how many have a lease.
	Deliveries, Held, Leased int

	// Bytes is the size of their contents.
	Bytes int64

	// Oldest is the time of arrival of the message with the lowest id.
	Oldest time.Time

	// Postponed is the end of the destination's postponement without an owner, and
	// Reason its reason. Both are zero if there is none.
	Postponed time.Time
	Reason    string
}

// Total counts the mail in q. It returns errors.ErrUnsupported if q is not a Surveyor.
func Total(ctx context.Context, q Queue) (Totals, error) {
	if s, ok := As[Surveyor](q); ok {
		return s.Total(ctx)
	}
	return Totals{}, unsupported("total")
}

// Survey returns q's destinations after the given one, in the order of their names. It
// returns at most max, or DefaultMax if max is zero. It returns errors.ErrUnsupported if q
// is not a Surveyor.
func Survey(ctx context.Context, q Queue, after string, max int) ([]Destination, error) {
	if s, ok := As[Surveyor](q); ok {
		return s.Survey(ctx, after, max)
	}
	return nil, unsupported("survey")
}
