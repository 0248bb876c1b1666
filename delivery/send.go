package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"golang.org/x/sync/errgroup"
)

// Send makes one attempt to deliver m to all its recipients, and reports the result for
// each. The error is nil if and only if every recipient was delivered; otherwise it is
// an *Error, the report's Err. The report is never nil.
//
// The attempt ends when ctx does. A message whose final dot was not sent by then is
// deferred; the outcome of one that waits for the reply to the final dot is unknown.
func (s *Sender) Send(ctx context.Context, m *queue.Message) (*Report, error) {
	report := newReport(m)
	job := s.job(ctx, m, &attempt.Options{})
	defer job.Release()
	found := new(results)
	if refused := job.Accept(ctx); refused != nil {
		found.report(report, job.Results())
		return report, found.error(refused)
	}
	s.deliver(ctx, m, job)
	found.report(report, job.Results())
	return report, report.Err()
}

// job begins one attempt at a message.
func (s *Sender) job(ctx context.Context, m *queue.Message, options *attempt.Options) *attempt.Job {
	s.once.Do(s.prepare)
	return s.attempts.Job(m, s.tracesOf(ctx), options)
}

// Close ends the kept sessions with QUIT and waits for them, at most for the QUIT
// timeout. A closed Sender can still send, but keeps no sessions.
func (s *Sender) Close() error {
	s.sessions.Close()
	return nil
}

// routed is a destination of a message with its route, or with the reason why there is
// none.
type routed struct {
	walk  *attempt.Walk
	route mx.Route
	err   error
}

// joinWait is for how long destinations whose routes are known wait for the others of
// their message, whose hosts may be the same.
const joinWait = time.Second

// deliver walks the routes of all destinations, several at a time. Destinations with
// the same hosts go together, as an agent's do.
func (s *Sender) deliver(ctx context.Context, m *queue.Message, job *attempt.Job) {
	walks := job.Walks()
	if len(walks) == 1 {
		to := s.ask(ctx, m, &walks[0])
		s.walk(ctx, []*routed{&to})
		return
	}
	limit := s.MaxDestinations
	if limit <= 0 {
		limit = 8
	}
	found := make(chan *routed) // without room, so that no route grows old there
	var asking, walking errgroup.Group
	asking.SetLimit(limit)
	walking.SetLimit(limit)
	go func() {
		for i := range walks {
			asking.Go(func() error {
				to := s.ask(ctx, m, &walks[i])
				found <- &to
				return nil
			})
		}
	}()
	var keys siteKeys
	for left := len(walks); left > 0; {
		batch := gather(found, left)
		left -= len(batch)
		for _, group := range s.together(ctx, &keys, batch) {
			walking.Go(func() error {
				s.walk(ctx, group)
				return nil
			})
		}
	}
	_ = walking.Wait() // no walk returns an error: findings are in the report
}

// ask finds the route of a destination.
func (s *Sender) ask(ctx context.Context, m *queue.Message, w *attempt.Walk) routed {
	began := time.Now()
	route, err := s.route(ctx, m.From, w.Domain())
	w.Asked(time.Since(began))
	s.tracesOf(ctx).Route(w.Domain(), route, err)
	return routed{w, route, err}
}

// gather waits for the next route, and joinWait at most for the rest.
func gather(found <-chan *routed, left int) (batch []*routed) {
	batch = append(batch, <-found)
	timer := time.NewTimer(joinWait)
	defer timer.Stop()
	for len(batch) < left {
		select {
		case to := <-found:
			batch = append(batch, to)
		case <-timer.C:
			return batch
		}
	}
	return batch
}

// together groups destinations whose mail may share transactions: what becomes of one
// is what would have become of it alone (QUE-12).
func (s *Sender) together(ctx context.Context, keys *siteKeys, batch []*routed) (groups [][]*routed) {
	type place struct{ site, join string }
	at := make(map[place][]int) // groups that one may belong to
	for _, to := range batch {
		var in place
		if to.err == nil {
			in = place{keys.of(&to.route), joinKey(&to.route)}
		}
		i := -1
		if in.join != "" {
			i = slices.IndexFunc(at[in], func(i int) bool { return s.alike(ctx, &groups[i][0].route, &to.route) })
		}
		if i < 0 {
			at[in] = append(at[in], len(groups))
			groups = append(groups, []*routed{to})
			continue
		}
		groups[at[in][i]] = append(groups[at[in][i]], to)
	}
	return groups
}

// alike reports whether two routes to one site have the same addresses, and ask the same
// of their hosts.
func (s *Sender) alike(ctx context.Context, a, b *mx.Route) bool {
	if !sameAddresses(a.Hosts, b.Hosts) {
		return false
	}
	if s.Policy == nil {
		return true
	}
	pa, okA := s.policies(ctx, a)
	pb, okB := s.policies(ctx, b)
	return okA && okB && slices.EqualFunc(pa, pb, sameProtection)
}

// policies returns the policies of the hosts of a route, in a fixed order. ok is false
// if one of them is not known.
func (s *Sender) policies(ctx context.Context, route *mx.Route) (list []session.Policy, ok bool) {
	hosts := inOrder(route.Hosts)
	for i := range hosts {
		p, err := s.sessions.PolicyFor(ctx, route, &hosts[i])
		if err != nil {
			return nil, false
		}
		list = append(list, p)
	}
	return list, true
}

// sameProtection reports whether a session made under one policy serves the
// other.
func sameProtection(a, b session.Policy) bool { return a.Serves(&b) }

// walk takes the recipients of a group of destinations along their route.
func (s *Sender) walk(ctx context.Context, group []*routed) {
	first := group[0]
	if first.err != nil {
		first.walk.NoRoute(ctx, first.err)
		return
	}
	for _, to := range group[1:] {
		first.walk.Join(to.walk)
	}
	first.walk.Along(ctx, &first.route)
}
