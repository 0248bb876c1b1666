package queue

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// OutcomeKeeper is a queue that can keep the final outcomes of recipients for some time
// (rules K1 to K4), so that a program learns each of them, even if it was not running, or
// crashed before it had recorded what an event told it.
type OutcomeKeeper interface {
	// Outcomes returns one page of the outcomes that are kept, in the order in which they
	// were settled. Errors: errors.ErrUnsupported if the queue was opened without the option
	// to keep outcomes, a *PositionError, ErrClosed.
	Outcomes(ctx context.Context, want OutcomeOptions) (OutcomePage, error)
}

// OutcomeOptions selects a page of outcomes. The zero value selects the oldest that are
// kept.
type OutcomeOptions struct {
	// After is a position: the Next of an earlier page, or the Position of an outcome. It
	// stays valid when a durable queue is opened again. Default: before the first outcome.
	After string

	// Max is the maximum number of outcomes to return. Default: DefaultMax.
	Max int
}

// OutcomePage is a part of the outcomes.
type OutcomePage struct {
	// Outcomes are in the order in which they were settled. The caller owns them.
	Outcomes []FinalOutcome

	// Next is OutcomeOptions.After for the next page. It is never empty, unless there is
	// no outcome yet: on the last page it is the position from which later outcomes are
	// read.
	Next string

	// More reports whether there are further outcomes now.
	More bool

	// Missed reports whether outcomes after OutcomeOptions.After were forgotten, because of
	// their age or number. It is false if After is empty.
	Missed bool
}

// FinalOutcome is how the mail to one recipient ended.
type FinalOutcome struct {
	// Position is the position of this outcome, for OutcomeOptions.After. It consists of at
	// most 40 digits and ASCII letters, and is greater as a string than that of any earlier
	// outcome.
	Position string

	// Message is the id of the message. Tenant and Key are those of the message.
	Message, Tenant, Key string

	// Recipient is the recipient's position among those of the message as it was put, and
	// Address its address.
	Recipient int
	Address   string

	// Outcome is Delivered or Failed.
	Outcome Outcome

	// Reply, Attempts and Time are the last result, the number of settlements that had one,
	// and the time of the last.
	Reply    Reply
	Attempts int
	Time     time.Time
}

// PositionError means that OutcomeOptions.After is not a position of this queue.
type PositionError struct {
	Position string
}

// Error returns the position, and says where positions come from.
func (e *PositionError) Error() string {
	return fmt.Sprintf("queue: %q is not a position of this queue: want OutcomePage.Next, the Position of an outcome, or \"\" for the first one", e.Position)
}

// Outcomes returns one page of the outcomes that q keeps. It returns errors.ErrUnsupported
// if q keeps none.
func Outcomes(ctx context.Context, q Queue, want OutcomeOptions) (OutcomePage, error) {
	if k, ok := As[OutcomeKeeper](q); ok {
		return k.Outcomes(ctx, want)
	}
	return OutcomePage{}, unsupported("outcomes")
}

// OutcomesAfter returns an iterator over the outcomes that q keeps, in order: all that come
// after a position, or all if it is "". It asks for a page at a time, and ends with those
// that there are now, or with the error of Outcomes. Outcomes says whether some were
// forgotten.
func OutcomesAfter(ctx context.Context, q Queue, position string) iter.Seq2[FinalOutcome, error] {
	return func(yield func(FinalOutcome, error) bool) {
		for want := (OutcomeOptions{After: position}); ; {
			page, err := Outcomes(ctx, q, want)
			if err != nil {
				yield(FinalOutcome{}, err)
				return
			}
			for _, o := range page.Outcomes {
				if !yield(o, nil) {
					return
				}
			}
			if want.After = page.Next; !page.More {
				return
			}
		}
	}
}
