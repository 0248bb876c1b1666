package mtasts

import (
	"context"
	"sync/atomic"
	"time"
)

// outcome is the result of one fetch, for which several callers may wait.
type outcome struct {
	entry Entry
	left  bool // the fetching caller's context has ended: this is no result for the others
}

// fetch fetches a policy, or waits for a caller that already does. id is the one in the
// TXT record, or "" if there is none. again is true if a stored policy with that id
// does not suffice.
func (s *Source) fetch(ctx context.Context, domain, id string, again bool) (Entry, error) {
	for {
		if err := s.heldOff(domain, id); err != nil {
			return Entry{}, err
		}
		if err := ctx.Err(); err != nil {
			return Entry{}, err
		}
		var leads atomic.Bool
		done := s.flights.DoChan(domain+" "+id, func() (any, error) {
			leads.Store(true)
			return s.fetchOnce(ctx, domain, id, again)
		})
		select {
		case r := <-done:
			if o := r.Val.(outcome); !o.left {
				return o.entry, r.Err
			}
			// The fetching caller's context has ended. If that was ours, return as
			// well.
		case <-ctx.Done():
			if leads.Load() {
				<-done // the fetch ends with our context
			}
			return Entry{}, ctx.Err()
		}
	}
}

// fetchOnce fetches a policy and stores it.
func (s *Source) fetchOnce(ctx context.Context, domain, id string, again bool) (any, error) {
	stored, _ := s.load(ctx, domain) // if it is not known, the policy is fetched
	now := time.Now()
	if stored.valid(now) && (id == "" || stored.ID == id) && (!again || now.Sub(stored.Fetched) < holdOff) {
		return outcome{entry: stored}, nil // stored by another caller in the meantime
	}
	policy, err := s.fetcher.Fetch(ctx, domain)
	if ctx.Err() != nil {
		return outcome{left: true}, ctx.Err()
	}
	if now = time.Now(); err != nil {
		s.noteFailure(domain, id, now, err)
		if !stored.valid(now) {
			stored = Entry{}
		}
		s.Trace.fetched(domain, stored, err)
		return outcome{}, err
	}
	if id == "" {
		id = stored.ID
	}
	e := Entry{Domain: domain, ID: id, Policy: policy, Fetched: now, Used: now}
	if again && !stored.Used.IsZero() {
		e.Used = stored.Used
	}
	s.save(ctx, e)
	s.mu.Lock()
	delete(s.failed, domain)
	s.mu.Unlock()
	s.Trace.fetched(domain, e, nil)
	return outcome{entry: e}, nil
}

// heldOff is why a policy is not fetched now: that failed a moment ago.
func (s *Source) heldOff(domain, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.failed[domain]; f.err != nil && f.id == id && time.Since(f.at) < holdOff {
		return f.err
	}
	return nil
}

// noteFailure remembers a fetch that failed.
func (s *Source) noteFailure(domain, id string, now time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failed) >= mostFailed {
		for other, f := range s.failed {
			if now.Sub(f.at) >= holdOff {
				delete(s.failed, other)
			}
		}
	}
	if len(s.failed) >= mostFailed {
		clear(s.failed)
	}
	s.failed[domain] = failure{id: id, at: now, times: s.failed[domain].times + 1, err: err}
}
