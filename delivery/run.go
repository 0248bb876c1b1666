package delivery

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/lease"
	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/delivery/internal/share"
	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/queue"
)

// Validate reports all invalid fields at once by their names, or nil if there are none.
// If the Sender needs the system's resolvers, there must be some.
func (a *Agent) Validate() error { return a.validate(a.sender().Validate()) }

// validate is Validate with the given error of the Sender.
func (a *Agent) validate(sender error) error {
	var problems []error
	if a.Queue == nil {
		problems = append(problems, errNoQueue)
	}
	problems = append(problems, sender, a.Settings.Validate())
	if a.Reporter != "" {
		if _, err := address.ParseHello(a.Reporter); err != nil {
			problems = append(problems, fmt.Errorf("delivery.Agent.Reporter: %w", err))
		}
	}
	if a.Postmaster != "" {
		if _, err := address.Parse(a.Postmaster); err != nil {
			problems = append(problems, fmt.Errorf("delivery.Agent.Postmaster: %w", err))
		}
	}
	if a.Lease != 0 && a.Lease < leastLease {
		problems = append(problems, fmt.Errorf("delivery.Agent.Lease: %v is less than %v", a.Lease, leastLease))
	}
	if a.Drain < 0 {
		problems = append(problems, fmt.Errorf("delivery.Agent.Drain: %v is negative", a.Drain))
	}
	if a.MaxHops < 0 {
		problems = append(problems, fmt.Errorf("delivery.Agent.MaxHops: %d is negative", a.MaxHops))
	}
	return errors.Join(problems...)
}

// Run delivers the mail in the queue until ctx ends. Then it claims no more, lets
// deliveries in flight continue for the time of Drain, cuts off the rest, and returns
// deliveries that were claimed and not begun. When it returns, everything has been
// settled or returned, every connection has ended, and no goroutine is left. That is at
// most 3 s after the end of Drain, whatever hosts do and however often a queue fails,
// unless a hook or a call of the queue does not return.
//
// Run returns an error if Validate would, if the agent is already running, if the queue
// was closed meanwhile (queue.ErrClosed), or if the queue has failed for good (an error
// that wraps queue.ErrFailed). In the last case deliveries in flight are cut off, since
// their outcomes could not be recorded. Other errors of the queue are reported (Trouble),
// and the call is tried again.
func (a *Agent) Run(ctx context.Context) error { return a.runAs(ctx, false) }

// RunUntilIdle is like Run, but also returns when no mail in the queue is due: the
// remaining mail waits for its next attempt, or is held or suspended. Mail that waits for
// a limit is due. It is for programs that run for a short time, such as from cron.
func (a *Agent) RunUntilIdle(ctx context.Context) error { return a.runAs(ctx, true) }

func (a *Agent) runAs(ctx context.Context, untilIdle bool) error {
	if err := a.validate(errors.Join(a.sender().validate(), a.sender().unroutable())); err != nil {
		return err
	}
	work, cut := context.WithCancel(guarded(context.WithoutCancel(ctx), a.guard))
	defer cut()
	r := &run{
		agent: a, queue: a.Queue, sender: a.sender(), work: work, cut: cut, owner: rand.Text(),
		untilIdle: untilIdle, settler: newSettler(), watcher: watcher{make(chan uint64, 1)}, follows: make(chan struct{}, 1), unreadable: make(map[lease.Key]bool),
		parts: make(map[sched.ID]*part), asking: make(map[string][]*part),
	}
	if _, able := queue.As[queue.Sharer](r.queue); able {
		r.shares = share.New(r.owner)
	}
	r.gate = session.NewGate(r.connections)
	if err := a.begin(r); err != nil {
		return err
	}
	defer a.leaveRun()
	r.learnSuspended(ctx)
	r.sender.sessions.Reopen() // after another Run
	stop := r.serve()
	err := r.claims(ctx)
	last, done := context.WithDeadline(context.Background(), r.drain())
	defer done()
	stop()
	r.unpark()
	r.sender.sessions.CloseBy(last)
	r.returnShares(last)
	if failure := r.failed(); failure != nil {
		return failure
	}
	return err
}

// serve starts the goroutines that support deliveries. stop ends each of them after the
// work that it supports has ended.
func (r *run) serve() (stop func()) {
	var parts sync.WaitGroup
	aside := context.WithoutCancel(r.work)
	leasing, stopLeases := context.WithCancel(aside)
	telling, stopEvents := context.WithCancel(aside)
	watching, stopWatching := context.WithCancel(aside)
	parts.Go(func() { r.settler.run(r) })
	parts.Go(func() { r.extendLeases(leasing) })
	parts.Go(func() { r.followClock(leasing) })
	parts.Go(func() { r.agent.events.Run(telling, r.agent.hook()) })
	parts.Go(func() { r.watcher.run(watching, r) })
	parts.Go(func() { r.watchSuspended(watching) })
	parts.Go(func() { r.runPolicy(watching) })
	if r.shares != nil {
		parts.Go(func() { r.shareLimits(watching) })
	}
	return func() {
		stopWatching()
		r.settler.close()
		r.settler.wait()
		stopLeases()
		stopEvents()
		parts.Wait()
		r.agent.events.Rest()
		r.stopTimer()
	}
}

// runPolicy has the source of policies do its own work until ctx ends.
func (r *run) runPolicy(ctx context.Context) {
	source, ok := r.sender.Policy.(PolicyRunner)
	if !ok {
		return
	}
	notice := func(n *TLSNotice) {
		e := &Error{Stage: StageStartTLS, Host: n.Host, Verdict: NotNow, Enhanced: "4.7.5", Err: n}
		r.agent.note(Event{Time: time.Now(), Kind: PolicyNotice, Destination: n.Domain, Host: n.Host, Enhanced: e.Enhanced, Reply: n.Error(), Err: e})
	}
	r.agent.guard(func() {
		if err := source.RunTLS(ctx, notice); err != nil && ctx.Err() == nil {
			notice(&TLSNotice{Reason: "policy-source", Text: "policies are not looked after any more", Err: err})
		}
	})
}

// suspendedPause is the time between two questions to the queue.
const suspendedPause = time.Second

// watchSuspended keeps to what the queue says is suspended, and looks after mail that
// expires meanwhile, until ctx ends.
func (r *run) watchSuspended(ctx context.Context) {
	if _, err := queue.Suspensions(ctx, r.queue, r.agent.clock.Now()); errors.Is(err, errors.ErrUnsupported) {
		return
	}
	_, tells := queue.As[queue.Waiter](r.queue)
	w := &sweep{r: r}
	for {
		stale := r.stale.Seen()
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

func (a *Agent) begin(r *run) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.atWork != nil {
		return errRunning
	}
	r.sched = sched.New(r.schedule()) // with the settings of a Configure that has not found this run
	a.atWork = r
	a.fresh.SwitchOn(true)
	return nil
}

func (a *Agent) leaveRun() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.atWork = nil
	a.fresh.SwitchOn(false)
}

const (
	// endMargin is for how long a run may go on after deliveries under way were cut off.
	endMargin = 3 * time.Second
	// endLast is how much of that is left when a connection is closed without an answer
	// to QUIT, and a settlement is given up that the queue does not store.
	endLast = time.Second
)

// drain returns deliveries that have not begun, lets those in flight finish, and cuts
// them off if that takes too long. It returns the time at which everything else must
// end.
func (r *run) drain() (last time.Time) {
	grace := r.agent.Drain
	if grace == 0 {
		grace = defaultDrain
	}
	last = time.Now().Add(grace + endMargin - endLast)
	r.settler.endBy(last)
	timer := time.AfterFunc(grace, r.cut)
	defer timer.Stop()
	r.sender.sessions.Shut() // those that are unused have the time to say goodbye
	r.beginNoMore()
	r.workers.End()
	return last
}

// CurrentSettings returns the settings in force, with defaults instead of zeros: those
// of the last Configure, or else the field. To change one of them, change it in the
// result and pass that to Configure.
func (a *Agent) CurrentSettings() Settings { return *a.current() }

// Configure replaces the settings. A running agent uses them from now on. Deliveries in
// flight are not cut off, and connections above a lower limit are ended when they
// become free. The error is that of Settings.Validate, and the settings are then
// unchanged.
func (a *Agent) Configure(s Settings) error {
	if err := s.Validate(); err != nil {
		return err
	}
	s = s.withDefaults()
	a.settings.Store(&s)
	if r := a.running(); r != nil {
		r.reconfigure()
	}
	return nil
}

// reconfigure makes a run go by new settings.
func (r *run) reconfigure() {
	r.gate.Wake()
	r.inform(func(s *sched.Scheduler, now time.Time) { s.Configure(now, r.schedule()) })
	r.needShares()
}
