package delivery

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/delivery/internal/share"
	"github.com/nexthop-mail/nexthop/delivery/internal/trouble"
	"github.com/nexthop-mail/nexthop/queue"
)

const (
	// leaseRest is which part of a lease is left at most when it is extended, and
	// leaseChecks how often they are looked at meanwhile.
	leaseRest   = 2
	leaseChecks = 15
	// leastLease is the shortest lease: leases of deliveries in flight must be extended
	// in time.
	leastLease = 30 * time.Second
)

// extendLeases extends leases until ctx ends.
func (r *run) extendLeases(ctx context.Context) {
	length := r.agent.leaseLength()
	tick := time.NewTicker(length / leaseChecks)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.extend(ctx, r.agent.clock.Now().Add(length/leaseRest), length)
		}
	}
}

// extend extends what ends before a time, and reports whether it could. A lease that
// is lost is forgotten, and with it the right to send the final dot; what the queue
// cannot extend just now is tried again at the next turn.
func (r *run) extend(ctx context.Context, before time.Time, length time.Duration) (done bool) {
	done = true
	for list := range slices.Chunk(r.leases.Ending(before), extendMost) {
		done = r.renew(ctx, list, length) && done
		if ctx.Err() != nil {
			return false
		}
	}
	return done
}

// extendMost is how many leases are extended in one call.
const extendMost = 1000

// renew is extend for some leases.
func (r *run) renew(ctx context.Context, list []queue.Lease, length time.Duration) (done bool) {
	longer, err := r.queue.Extend(ctx, r.agent.clock.Now(), list, length)
	if ctx.Err() != nil {
		return false
	}
	r.heed(trouble.Extend, err)
	done = err == nil
	for i := range longer {
		switch {
		case longer[i].Err == nil:
			r.leases.Extended(&longer[i].Lease)
		case errors.Is(longer[i].Err, queue.ErrLeaseLost):
			r.leases.Remove(&list[i])
		default:
			done = false
		}
	}
	return done
}

const (
	// clockCheck is how often a running agent looks whether the wall clock has jumped.
	clockCheck = 10 * time.Second
	// clockWait is for how long it then waits for other agents on this machine to do
	// the same, whose leases would seem to have ended.
	clockWait = 2*clockCheck + clockCheck/2
)

// followClock follows the wall clock until ctx ends.
func (r *run) followClock(ctx context.Context) {
	tick := time.NewTicker(clockCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.follow(ctx)
		}
	}
}

// follow reports jumps of the wall clock. A jump ahead is followed once all leases last
// beyond it, so that other agents do not take over deliveries in flight. The failures
// of hosts are then as old as the jump is long, and are forgotten. From the time the
// jump is noticed until it is followed, leases are extended before anything is sent
// under them.
func (r *run) follow(ctx context.Context) {
	select {
	case r.follows <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-r.follows }()
	for _, jump := range r.agent.clock.News() {
		r.agent.note(troubleEvent(&ClockJump{jump.By}))
	}
	by := r.agent.clock.Behind()
	if by == 0 {
		r.jumped = time.Time{}
		return
	}
	now, lease := r.agent.clock.Now(), r.agent.leaseLength()
	if r.jumped.IsZero() {
		r.jumped = time.Now()
	}
	if !r.extend(ctx, now.Add(by+lease/leaseRest), by+lease) || time.Since(r.jumped) < clockWait {
		return
	}
	r.jumped = time.Time{}
	r.agent.clock.Follow(by)
	r.extend(ctx, r.agent.clock.Now().Add(lease/leaseRest), lease) // leases claimed in the meantime
	r.forgiveAll()
}

// latest is the time by which a lease must still hold for a message to be sent: if the
// wall clock is ahead by a jump, and the leases could not be extended beyond that, the
// wall clock's.
func (r *run) latest() time.Time {
	now := r.agent.clock.Read()
	if now.Behind > 0 {
		r.follow(r.work)
		now = r.agent.clock.Read()
	}
	if now.Wall.After(now.Now) {
		return now.Wall
	}
	return now.Now
}

// How an agent asks for shares of the limits that agents have in common. What it needs
// goes with the next claim; if there is none soon, it asks without.
const (
	shareWait = 100 * time.Millisecond // for a claim
	shareLook = 250 * time.Millisecond // while there is any
)

// schedule is the settings as the scheduler has them, with the shares.
func (r *run) schedule() sched.Settings {
	settings := r.agent.current().schedule()
	if r.shares != nil {
		settings.Share = func(now time.Time, limit sched.Shared) sched.Share {
			most, rate := r.shares.Of(now, share.Limit(limit))
			return sched.Share{Most: most, Rate: rate}
		}
	}
	return settings
}

// connections are the limits that connections are counted against, with the shares.
func (r *run) connections() session.Limits {
	settings := r.agent.current()
	limits := settings.connections()
	if r.shares != nil && settings.rules.shared() {
		limits.Rules = sharedRules{settings.rules, r.shares}
	}
	return limits
}

// shareLimits asks for shares until ctx ends.
func (r *run) shareLimits(ctx context.Context) {
	for {
		var timer <-chan time.Time
		if r.askForShares(ctx) {
			timer = time.After(shareLook)
		}
		select {
		case <-ctx.Done():
			return
		case <-r.demand.Seen():
		case <-timer:
		}
	}
}

// askForShares asks for what is due, and reports whether there is anything to look at again.
func (r *run) askForShares(ctx context.Context) (more bool) {
	list, more := r.shareRequests()
	if r.shares.Lessened() {
		r.sender.sessions.EndOver()
	}
	if len(list) == 0 {
		return more
	}
	r.shares.Offer(list)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(shareWait):
	}
	if list = r.shares.Requests(); len(list) == 0 {
		return true // a claim has it
	}
	now, asked := r.agent.clock.Now(), time.Now()
	got, err := queue.ShareLimits(ctx, r.queue, now, list...)
	if err == nil && r.shares.Take(list, got, now, asked) {
		r.reshare()
	}
	return true
}

// needs are the limits in common that there is mail for, and whether any mail is claimed.
func (r *run) needs() (all map[share.Limit]*share.Need, busy bool) {
	r.mu.Lock()
	demands := r.sched.Demands()
	busy = len(r.parts) > 0
	r.mu.Unlock()
	rules := r.agent.current().rules
	all = make(map[share.Limit]*share.Need)
	add := func(limit share.Limit, connections int, rate float64, d *sched.Demand) {
		n := all[limit]
		if n == nil {
			n = &share.Need{Limit: limit, Connections: connections, Rate: rate}
			all[limit] = n
		}
		n.Open += d.InFlight
		if n.Want += d.Waiting + d.InFlight; d.More {
			n.Want += cmp.Or(connections, 1)
		}
	}
	for i := range demands {
		d := &demands[i]
		if d.Shared {
			at := rules.site(d.Site)
			add(share.Limit{Name: d.Site}, at.PerSite, at.Rate, d)
		}
		for _, name := range d.Groups {
			g := rules.groups[name]
			add(share.Limit{Name: name, Group: true}, g.Connections, g.Rate, d)
		}
	}
	return all, busy
}

// shareRequests are what is to be asked for now, and whether there is anything to ask
// for later.
func (r *run) shareRequests() (list []queue.LimitRequest, more bool) {
	if !r.agent.current().rules.shared() {
		return nil, false
	}
	needs, busy := r.needs()
	now := time.Now()
	for _, n := range r.shares.Held() {
		if needs[n.Limit] == nil {
			needs[n.Limit] = &n
		}
	}
	for limit, n := range needs {
		if limit.Group {
			n.Open = max(n.Open, r.gate.SizeOfGroup(limit.Name))
		} else {
			n.Open = max(n.Open, r.gate.SizeOf(limit.Name))
		}
	}
	list, held := r.shares.Plan(now, needs)
	return list, busy || held
}

// returnShares gives back what the agent has, when all of its connections have ended.
func (r *run) returnShares(ctx context.Context) {
	if list := r.shares.Return(); len(list) > 0 {
		_, _ = queue.ShareLimits(ctx, r.queue, r.agent.clock.Now(), list...) // else others have it in 30 s
	}
}
