package queue

// Wrapper is a queue around another: it changes some of the methods of Queue and
// leaves the rest to the one inside.
type Wrapper interface {
	// Unwrap returns the queue inside.
	Unwrap() Queue
}

// As finds what a queue can do beside the methods of Queue: it returns q if that
// is a T, else the queue that q wraps, and so on inwards. The functions of this
// package use it, so that a wrapper need not repeat what it does not change.
func As[T any](q Queue) (able T, ok bool) {
	for q != nil {
		if able, ok = q.(T); ok {
			return able, true
		}
		w, wraps := q.(Wrapper)
		if !wraps {
			break
		}
		q = w.Unwrap()
	}
	return able, false
}
