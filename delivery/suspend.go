package delivery

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/clock"
	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/waiting"
	"github.com/nexthop-mail/nexthop/queue"
)

// Suspend leaves alone what the suspensions name, until their end or until it is
// resumed: mail for a destination, mail that goes to a site, mail of a tenant. A site
// is named as Why shows it, or by the name of any of its hosts. What is in flight goes
// on; nothing else begins once Suspend has returned, here, and within about a second
// where other agents work on the queue.
//
// Suspended mail keeps its place. It expires on time, without an attempt, and its sender
// is told of the delay, if the queue can list and hand out single messages. The error is
// that of queue.Suspend.
func (a *Agent) Suspend(ctx context.Context, list ...queue.Suspension) error {
	at := a.time()
	stored := slices.Clone(list)
	for i := range stored {
		stored[i].Until = aheadOf(at, stored[i].Until)
	}
	if err := queue.Suspend(ctx, a.Queue, at.Now, stored...); err != nil {
		return err
	}
	if r := a.running(); r != nil {
		r.learnSuspended(ctx)
	}
	for i := range list {
		e := subjectEvent(Suspended, list[i].Subject)
		e.Reply, e.Next = list[i].Bounded().Reason, list[i].Until
		a.note(e)
	}
	return nil
}

// Resume ends suspensions and returns how many there were. What they kept back is due
// as if it had not been. The error is that of queue.Resume.
func (a *Agent) Resume(ctx context.Context, list ...queue.Subject) (int, error) {
	before, err := queue.Suspensions(ctx, a.Queue, a.time().Now)
	if err != nil {
		return 0, err
	}
	n, err := queue.Resume(ctx, a.Queue, a.time().Now, list...)
	if err != nil {
		return n, err
	}
	if r := a.running(); r != nil {
		r.learnSuspended(ctx)
	}
	for _, s := range list {
		if slices.ContainsFunc(before, func(o queue.Suspension) bool { return o.Subject == s }) {
			a.note(subjectEvent(Resumed, s))
		}
	}
	return n, nil
}

// aheadOf is a time of the wall clock as the queue has it; zero stays so.
func aheadOf(at clock.Time, wall time.Time) time.Time {
	if wall.IsZero() {
		return wall
	}
	return at.Ahead(wall)
}

func subjectEvent(k EventKind, s queue.Subject) Event {
	e := Event{Time: time.Now(), Kind: k}
	switch s.Kind {
	case queue.OfSite:
		e.Host = s.Name
	case queue.OfTenant:
		e.Tenant = s.Name
	default:
		e.Destination = s.Name
	}
	return e
}

// suspended is what a run knows of what is suspended. Its zero value is ready.
type suspended struct {
	table atomic.Pointer[waiting.Table]
	stale signal // the queue may say otherwise by now

	learning sync.Mutex // of who asks the queue

	mu    sync.Mutex
	sited map[string]sited // destinations whose mail goes to a site that is suspended
}

// sited is a destination whose mail goes to a site that is suspended.
type sited struct {
	by    queue.Suspension
	site  string
	until time.Time // its route is looked at again
}

const (
	// maxSited is how many destinations of suspended sites are left out of claims.
	// The mail of more waits by itself.
	maxSited = 10_000
	// sitedFor is for how long a destination is taken to go to the site that it went to.
	sitedFor = 10 * time.Minute
	// suspendedLook is how often mail that has come for what is suspended is looked at
	// for when it expires, at least, and a queue that tells of no changes is asked.
	suspendedLook = time.Minute
	// suspendedPause is the time between two questions to the queue.
	suspendedPause = time.Second
)

// learnSuspended asks the queue what is suspended. What is claimed and not in flight of
// that goes back.
func (r *run) learnSuspended(ctx context.Context) {
	r.suspended.learning.Lock()
	defer r.suspended.learning.Unlock()
	now := r.agent.clock.Now()
	list, err := queue.Suspensions(ctx, r.queue, now)
	if err != nil {
		return // it is asked again
	}
	table, before := waiting.NewTable(list), r.suspended.table.Load()
	if table.Equal(before) {
		return
	}
	r.suspended.table.Store(table)
	r.suspended.forget(func(s *sited) bool { return !table.Has(now, s.by.Subject) })
	r.withdraw(func(p *part) *outcome { return r.keepSuspended(p) })
	r.inform((*sched.Scheduler).MailCame)
}

// forget leaves destinations of sites out of those that are suspended.
func (s *suspended) forget(which func(*sited) bool) (some bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, one := range s.sited {
		if which(&one) {
			delete(s.sited, name)
			some = true
		}
	}
	return some
}

// withdraw settles what is claimed, in no attempt, and given an outcome.
func (r *run) withdraw(outcomeOf func(*part) *outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	var list []outcome
	for id, p := range r.parts {
		if !r.sched.Idle(id) {
			continue // its route may be changing, too
		}
		if o := outcomeOf(p); o != nil && r.sched.Withdraw(now, id) {
			list = append(list, *o)
		}
	}
	r.settler.add(list...)
	r.decide()
}

// keepSuspended is the outcome of a delivery that is suspended, nil for any other.
func (r *run) keepSuspended(p *part) *outcome {
	table := r.suspended.table.Load()
	if table == nil {
		return nil
	}
	at, d := r.agent.clock.Read(), p.delivery
	by := table.Mail(at.Now, d.Lease.Destination, d.Message.Tenant)
	if by == nil && p.asked.IsZero() {
		return nil
	}
	o := r.unchanged(p)
	if by == nil {
		if !table.Sites() {
			return nil
		}
		site := r.site(&p.route)
		if by = table.Site(at.Now, site, slices.Values(namesIn(site))); by == nil {
			return nil
		}
		if dependsOnSender(&p.route) || !r.suspended.note(d.Lease.Destination, sited{*by, site, at.Now.Add(sitedFor)}) {
			o.settlement.NotBefore = at.Now.Add(sitedFor / 2)
			if until := by.Until; !until.IsZero() && until.Before(o.settlement.NotBefore) {
				o.settlement.NotBefore = until
			}
			if end := at.Ahead(r.deadline(d)); end.Before(o.settlement.NotBefore) {
				o.settlement.NotBefore = end
			}
		}
	}
	if !r.expiry(d).After(at.Wall) {
		o.expired = true
		return &o
	}
	if r.warnDue(d, at.Wall) {
		o.warn = true
	}
	o.settlement.Reason = suspendedBecause(by, p).String()
	return &o
}

func suspendedBecause(by *queue.Suspension, p *part) waiting.Reason {
	why := waiting.Reason{Code: waiting.Suspended, Since: by.Since, Text: by.Reason}
	if by.Kind == queue.OfSite && len(p.route.Hosts) > 0 {
		why.Host = p.route.Hosts[0].Name
	}
	return why
}

// note notes that a destination's mail goes to a suspended site, unless there are too
// many.
func (s *suspended) note(destination string, one sited) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.sited[destination]; !known && len(s.sited) >= maxSited {
		return false
	}
	if s.sited == nil {
		s.sited = make(map[string]sited)
	}
	s.sited[destination] = one
	return true
}

// of is what suspends mail for a destination and of a tenant, and the site where it is
// that.
func (s *suspended) of(now time.Time, destination, tenant string) (by *queue.Suspension, site string) {
	if by = s.table.Load().Mail(now, destination, tenant); by != nil {
		return by, ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if one, known := s.sited[destination]; known && !one.by.Over(now) {
		return &one.by, one.site
	}
	return nil, ""
}

// leaveOut adds what is suspended to what a claim leaves out.
func (s *suspended) leaveOut(now time.Time, o *queue.ClaimOptions) {
	table := s.table.Load()
	if table == nil {
		return
	}
	destinations, tenants := table.Names(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, one := range s.sited {
		if one.until.After(now) && !one.by.Over(now) {
			destinations = append(destinations, name)
		}
	}
	o.Except = slices.Concat(o.Except, destinations)
	o.ExceptTenants = slices.Concat(o.ExceptTenants, tenants)
}

// holdBack settles deliveries that are suspended, before they begin, and returns the
// others.
func (r *run) holdBack(list []*part) []*part {
	if r.suspended.table.Load() == nil {
		return list
	}
	return slices.DeleteFunc(list, func(p *part) bool {
		o := r.keepSuspended(p)
		if o == nil {
			return false
		}
		r.inform(func(s *sched.Scheduler, now time.Time) { s.Gone(now, p.id) })
		r.settler.add(*o)
		return true
	})
}

// watchSuspended keeps to what the queue says is suspended, and looks after mail that
// expires meanwhile, until ctx ends.
func (r *run) watchSuspended(ctx context.Context) {
	if _, err := queue.Suspensions(ctx, r.queue, r.agent.clock.Now()); errors.Is(err, errors.ErrUnsupported) {
		return
	}
	_, tells := queue.As[queue.Waiter](r.queue)
	w := &sweep{r: r}
	for {
		stale := r.suspended.stale.seen()
		r.learnSuspended(ctx)
		next := w.look(ctx)
		if !tells && (next == 0 || next > 5*suspendedPause) {
			next = 5 * suspendedPause
		}
		var timer <-chan time.Time
		if next > 0 {
			timer = time.After(next)
		}
		select {
		case <-ctx.Done():
			return
		case <-stale:
		case <-timer:
			continue
		}
		select { // so that a busy queue is not asked all the time
		case <-ctx.Done():
			return
		case <-time.After(suspendedPause):
		}
	}
}

// sweep looks after suspended mail, which nobody claims: it expires when its time is
// over, and its sender is told of the delay. The list of the queue is gone through once,
// and from there on only what has come since.
type sweep struct {
	r     *run
	table *waiting.Table
	after map[string]string // by destination, "" for all: up to where the list is known
	times waiting.Deadlines
}

// look does what is to be done now, and says when to look again; zero is when something
// has changed.
func (w *sweep) look(ctx context.Context) (next time.Duration) {
	r := w.r
	table := r.suspended.table.Load()
	if table != w.table {
		w.table = table
		w.begin()
	}
	now := r.agent.clock.Now()
	if table == nil {
		return 0
	}
	if r.suspended.forget(func(s *sited) bool { return !s.until.After(now) || s.by.Over(now) }) {
		r.inform((*sched.Scheduler).MailCame) // to see where its mail goes by now
	}
	w.list(ctx)
	wall := r.agent.clock.Read().Wall
	due, complete := w.times.Due(wall)
	for _, m := range due {
		if again := w.end(ctx, m); !again.IsZero() {
			w.times.Add(again, m)
		}
	}
	if !complete {
		w.begin()
		return time.Millisecond
	}
	next = suspendedLook
	if at := w.times.Next(); !at.IsZero() {
		next = min(next, at.Sub(wall))
	}
	if end := table.End(); !end.IsZero() {
		next = min(next, end.Sub(now))
	}
	return max(next, time.Millisecond)
}

func (w *sweep) begin() {
	w.times.Reset()
	w.after = map[string]string{}
}

// list notes the times of mail that has come since the last time.
func (w *sweep) list(ctx context.Context) {
	r := w.r
	if w.table.Tenants() {
		w.listOne(ctx, "")
		return
	}
	names, _ := w.table.Names(r.agent.clock.Now())
	r.suspended.mu.Lock()
	for name := range r.suspended.sited {
		names = append(names, name)
	}
	r.suspended.mu.Unlock()
	for _, name := range names {
		w.listOne(ctx, name)
	}
}

func (w *sweep) listOne(ctx context.Context, destination string) {
	r := w.r
	for {
		page, err := queue.List(ctx, r.queue, queue.ListOptions{After: w.after[destination], Max: 200, Destination: destination})
		if err != nil || len(page.Entries) == 0 {
			return
		}
		now := r.agent.clock.Now()
		for i := range page.Entries {
			e := &page.Entries[i]
			for j := range e.Waiting {
				to := e.Waiting[j].Destination
				if j > 0 && to == e.Waiting[j-1].Destination {
					continue
				}
				if by, _ := r.suspended.of(now, to, e.Message.Tenant); by != nil {
					w.times.Add(r.deadline(&queue.Delivery{Message: e.Message}), waiting.Mail{ID: e.Message.ID, Destination: to})
				}
			}
			w.after[destination] = e.Message.ID
		}
		if page.Next == "" {
			return
		}
	}
}

// Times after which a delivery is looked at again that could not be ended.
const (
	heldLook   = 10 * time.Minute
	failedLook = time.Minute
)

// end looks at a delivery whose time has come, and returns when to look again; zero is
// never. Held mail does not expire.
func (w *sweep) end(ctx context.Context, m waiting.Mail) (again time.Time) {
	r := w.r
	at := r.agent.clock.Read()
	e, err := queue.Show(ctx, r.queue, m.ID)
	switch {
	case errors.Is(err, queue.ErrNotFound):
		return again
	case err != nil:
		return at.Wall.Add(failedLook)
	case e.Held:
		return at.Wall.Add(heldLook)
	}
	if by, _ := r.suspended.of(at.Now, m.Destination, e.Message.Tenant); by == nil {
		return again
	}
	taken, err := queue.Take(ctx, r.queue, at.Now, m.ID, takeLease, m.Destination)
	switch {
	case errors.Is(err, queue.ErrNotFound), errors.Is(err, errors.ErrUnsupported):
		return again
	case err != nil, taken.Leased > 0:
		return at.Wall.Add(failedLook)
	}
	for i := range taken.Deliveries {
		again = w.endOne(ctx, &taken.Deliveries[i])
	}
	return again
}

func (w *sweep) endOne(ctx context.Context, d *queue.Delivery) (again time.Time) {
	r := w.r
	at := r.agent.clock.Read()
	p := &part{delivery: d}
	o := r.unchanged(p)
	o.settlement.Reason = waiting.Reason{Code: waiting.Suspended}.String()
	switch {
	case !r.expiry(d).After(at.Wall):
		o = r.conclude(p, r.expired(d))
	case r.warnDue(d, at.Wall):
		r.warn(&o, at.Wall)
		again = r.expiry(d)
	default:
		again = r.deadline(d)
	}
	if err := r.agent.record(ctx, &o); err != nil {
		return at.Wall.Add(failedLook)
	}
	return again
}
