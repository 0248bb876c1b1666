package queue

// Wrapper is a queue that wraps another. It changes some of the methods of Queue and
// passes the other calls on.
type Wrapper interface {
	// Unwrap returns the wrapped queue.
	Unwrap() Queue
}

// As finds an optional interface of a queue. It returns q if q is a T, otherwise the first
// T among the queues that q wraps. The functions of this package use As, so a wrapper need
// not repeat the methods that it does not change.
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
