package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// Flush makes what the selection names due now, and returns how many deliveries
// that are. What a running agent knows against their hosts is forgotten: the
// back-off of their sites, addresses that failed, logins that were refused. The
// error is that of queue.Flush.
func (a *Agent) Flush(ctx context.Context, what queue.Selection) (int, error) {
	if r := a.running(); r != nil {
		r.forget(ctx, what)
	}
	n, err := queue.Flush(ctx, a.Queue, a.time().Now, what)
	a.Wake()
	return n, err
}

// forget forgets what is known against the hosts of a selection.
func (r *run) forget(ctx context.Context, what queue.Selection) {
	switch {
	case what.Destination != "":
		r.forgive(ctx, what.Destination)
	case what.Message != "":
		e, err := queue.Show(ctx, r.queue, what.Message)
		if errors.Is(err, errors.ErrUnsupported) {
			r.forgiveAll()
		}
		for i := range e.Waiting {
			r.forgive(ctx, e.Waiting[i].Destination)
		}
	default:
		r.forgiveAll()
	}
}

// forgive forgets what is known against the hosts of a destination.
func (r *run) forgive(ctx context.Context, destination string) {
	var route mx.Route
	r.agent.guard(func() { route, _ = r.sender.route(ctx, "", destination) })
	for i := range route.Hosts {
		for _, ip := range route.Hosts[i].Addrs {
			r.sender.sessions.Memory.Succeed(r.sender.sessions.AddrPort(&route.Hosts[i], ip))
		}
	}
	key := r.keys.of(&route)
	r.inform(func(s *sched.Scheduler, now time.Time) { s.Flush(now, key, destination) })
}

func (r *run) forgiveAll() {
	r.sender.sessions.Memory.Clear()
	r.inform((*sched.Scheduler).FlushAll)
}
