package queue

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Flusher is a queue that can make waiting deliveries due at once (rule A5).
type Flusher interface {
	// Flush makes the deliveries that any of the selections names due at once. It returns
	// how many of them are due now, because they are neither on hold nor leased, or -1 if
	// the queue does not know. Errors: ErrNotFound if a message that a selection names is
	// not there, and then nothing was done; errors.ErrUnsupported for a selection that is
	// not ByName; ErrClosed.
	Flush(ctx context.Context, now time.Time, what ...Selection) (int, error)
}

// Flush makes deliveries of q due at once. Selections that are not ByName are resolved
// here, message by message. Mail that arrives meanwhile may be flushed or not. It returns
// errors.ErrUnsupported if q is not a Flusher, and for such a selection if q is not a
// Lister.
func Flush(ctx context.Context, q Queue, now time.Time, what ...Selection) (int, error) {
	f, ok := As[Flusher](q)
	if !ok {
		return 0, unsupported("flush")
	}
	if !slices.ContainsFunc(what, func(s Selection) bool { return !s.ByName() }) {
		return f.Flush(ctx, now, what...)
	}
	return flushEach(ctx, q, f, now, what)
}

// flushEach finds the deliveries that the selections name, and flushes each by its name.
func flushEach(ctx context.Context, q Queue, f Flusher, now time.Time, what []Selection) (total int, err error) {
	var list []Selection
	flush := func() error {
		n, err := f.Flush(ctx, now, list...)
		for i := 0; errors.Is(err, ErrNotFound) && i < len(list); i++ { // some have left meanwhile
			var one int
			if one, err = f.Flush(ctx, now, list[i]); err == nil || errors.Is(err, ErrNotFound) {
				n, err = n+max(one, 0), nil
				continue
			}
			return err
		}
		if list = list[:0]; n < 0 || total < 0 {
			total = -1
		} else {
			total += n
		}
		return err
	}
	for _, s := range what {
		err := Select(ctx, q, s, func(e *Entry, named []int) error {
			for i, at := range named {
				name := e.Waiting[at].Destination
				if !slices.ContainsFunc(named[:i], func(o int) bool { return e.Waiting[o].Destination == name }) {
					list = append(list, Selection{Message: e.Message.ID, Destination: name})
				}
			}
			if len(list) < pageLen {
				return nil
			}
			return flush()
		}, nil)
		if err == nil && len(list) > 0 {
			err = flush()
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
