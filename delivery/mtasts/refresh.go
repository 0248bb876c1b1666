package mtasts

import (
	"context"
	"hash/fnv"
	"time"

	"golang.org/x/sync/errgroup"
)

// Times at which policies are renewed.
const (
	refreshEvery = 24 * time.Hour      // at the latest
	refreshLeast = time.Hour           // however short max_age is
	unusedFor    = 30 * 24 * time.Hour // then a policy is left to expire
	mostBackOff  = 6 * time.Hour
	alertAfter   = 3 // failures in a row
	atOnce       = 4
	page         = 256
	lookEvery    = time.Hour // others may have stored policies
)

// Run renews the policies of the Store before they expire. It returns the error of ctx
// when ctx ends. Several processes that share a Store may each call Run; a policy is
// then renewed by the first of them.
func (s *Source) Run(ctx context.Context) error {
	if err := s.Validate(); err != nil {
		return err
	}
	for {
		next := s.Refresh(ctx)
		timer := time.NewTimer(time.Until(next))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// Refresh is one round of Run. It fetches the policies of the Store that are due, which
// is once a day or after half of their max_age, and removes those that have expired. It
// returns the time of the next round. If a policy cannot be fetched, it is tried again
// after 5 minutes, 10, 20 and so on, up to 6 hours. A policy of mode none, or one that
// was not used for 30 days, is left to expire.
func (s *Source) Refresh(ctx context.Context) (next time.Time) {
	s.init()
	next = time.Now().Add(lookEvery)
	s.saveKept(ctx)
	for after := ""; ctx.Err() == nil; {
		entries, err := s.store().List(ctx, after, page)
		if err != nil && ctx.Err() == nil {
			s.Trace.storeFailed("", err)
		}
		var group errgroup.Group
		group.SetLimit(atOnce)
		times := make([]time.Time, len(entries))
		for i := range entries {
			group.Go(func() error {
				times[i] = s.refresh(ctx, &entries[i])
				return nil
			})
		}
		_ = group.Wait() // the failures are remembered
		for _, at := range times {
			if !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		if len(entries) < page {
			break
		}
		after = entries[len(entries)-1].Domain
	}
	return next
}

// refresh fetches one policy again if its time has come, and says when it comes next; the
// zero time is never.
func (s *Source) refresh(ctx context.Context, e *Entry) time.Time {
	now := time.Now()
	s.correct(ctx, e, now)
	switch {
	case !e.valid(now):
		if err := s.store().Delete(ctx, e.Domain); err != nil && ctx.Err() == nil {
			s.Trace.storeFailed(e.Domain, err)
		}
		return time.Time{}
	case e.Policy.Mode == None, now.Sub(e.Used) > unusedFor:
		return e.Expires()
	}
	if at := s.due(e); now.Before(at) {
		return at
	}
	// With the id, callers that need the policy at the same time share the fetch.
	id, _ := s.record(ctx, &Found{Domain: e.Domain})
	fresh, err := s.fetch(ctx, e.Domain, id, true)
	if err == nil {
		return s.due(&fresh)
	}
	if ctx.Err() != nil {
		return time.Time{}
	}
	s.mu.Lock()
	failures := s.failed[e.Domain].times
	s.mu.Unlock()
	if failures >= alertAfter {
		s.Trace.notRefreshed(*e, failures, err)
	}
	return s.due(e)
}

// due returns when a policy must be fetched again.
func (s *Source) due(e *Entry) time.Time {
	s.mu.Lock()
	f := s.failed[e.Domain]
	s.mu.Unlock()
	if f.err != nil && f.at.After(e.Fetched) {
		wait := mostBackOff
		if f.times < 10 {
			wait = min(wait, holdOff<<(f.times-1))
		}
		return f.at.Add(wait)
	}
	every := max(min(e.Policy.MaxAge/2, refreshEvery), refreshLeast)
	// Not all at the same time: each has its own time in the last tenth.
	h := fnv.New32a()
	_, _ = h.Write([]byte(e.Domain))
	return e.Fetched.Add(every - time.Duration(h.Sum32()%1000)*every/10_000)
}
