package queue

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Flusher is a queue that can be told to try again now (rule A5).
type Flusher interface {
	// Flush makes what any of the selections names due at once and returns how
	// many deliveries they name that are neither on hold nor claimed: that many are
	// now due, or -1 if the queue does not know. Errors: ErrNotFound where a
	// message is not there, and then nothing was done; errors.ErrUnsupported for a
	// selection that goes by more than names (Selection.ByName); ErrClosed.
	Flush(ctx context.Context, now time.Time, what ...Selection) (int, error)
}

// Flush makes deliveries of q due at once. Selections that go by more than names are
// resolved here, message by message, so that mail which comes meanwhile may be flushed
// or not. It answers errors.ErrUnsupported for a queue that is no Flusher, and for such
// a selection if it is no Lister.
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

// flushEach flushes deliveries by name that some selections find.
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
