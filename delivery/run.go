package delivery

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/queue"
)

// run is an agent at work, from the beginning of Run to its end: a scheduler that
// decides, and the goroutines that do what it says. Run waits for all of them.
type run struct {
	agent  *Agent
	queue  queue.Queue
	sender *Sender

	work    context.Context // of deliveries under way; outlives Run's context by the drain
	cut     func()          // ends it
	owner   string          // of what is parked
	trouble trouble

	suspended suspended
	leases    leases
	follows   chan struct{} // has room for the one who follows the wall clock
	jumped    time.Time     // of that one: when a jump ahead was noticed that is not followed yet
	settler   settler
	gate      *session.Gate
	keys      siteKeys
	dns       dnsProbe
	network   families
	watcher   watcher
	workers   sync.WaitGroup
	stir      signal // the scheduler wants a claim, or the run is to end

	unreadable map[leaseKey]bool // reported; of the claims alone

	mu      sync.Mutex
	sched   *sched.Scheduler
	out     sched.Output
	parts   map[sched.ID]*part // those that are claimed and not settled
	lastID  sched.ID
	asking  map[string][]*part // by destination: routes that a goroutine is to ask for
	claim   *sched.Claim       // to be made
	timer   *time.Timer        // calls the scheduler at armed, unless that is zero
	armed   time.Time
	ended   bool
	failure error                // of the queue, for good
	sites   map[string]string    // by destination: where its mail went last
	took    map[string]time.Time // by site: when it last took or refused a message without asking for a login
}

// Run delivers what is in the queue until ctx ends. It then claims nothing more,
// lets deliveries under way finish for as long as Drain says, cuts off the rest
// and gives back what was claimed and not begun. When it returns it has settled
// or given back everything, ended every connection, and no goroutine is left. That
// is 3 s after the end of Drain at the latest, whatever hosts do and however often a
// queue fails, unless a hook or a call of the queue's does not return.
//
// The error is nil after that. It is not where the fields make no sense, where
// Run is running already, where the queue was closed under it (queue.ErrClosed),
// and where the queue has failed for good (an error that wraps queue.ErrFailed):
// then deliveries under way are cut off, since what became of them could not be
// recorded. What else goes wrong with the queue is tried again, and told (Trouble).
func (a *Agent) Run(ctx context.Context) error {
	if err := a.validate(a.sender().validate()); err != nil {
		return err
	}
	work, cut := context.WithCancel(guarded(context.WithoutCancel(ctx), a.guard))
	defer cut()
	r := &run{
		agent: a, queue: a.Queue, sender: a.sender(), work: work, cut: cut, owner: rand.Text(),
		settler: newSettler(), watcher: watcher{make(chan uint64, 1)}, follows: make(chan struct{}, 1), unreadable: make(map[leaseKey]bool),
		parts: make(map[sched.ID]*part), asking: make(map[string][]*part),
	}
	r.sched = sched.New(a.current().schedule())
	r.gate = session.NewGate(func() session.Limits { return a.current().connections() })
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
	if failure := r.failed(); failure != nil {
		return failure
	}
	return err
}

// serve starts what works beside the deliveries. stop ends it, each part when
// what it serves has ended.
func (r *run) serve() (stop func()) {
	var parts sync.WaitGroup
	aside := context.WithoutCancel(r.work)
	leasing, stopLeases := context.WithCancel(aside)
	telling, stopEvents := context.WithCancel(aside)
	watching, stopWatching := context.WithCancel(aside)
	parts.Go(func() { r.settler.run(r) })
	parts.Go(func() { r.leases.run(leasing, r) })
	parts.Go(func() { r.followClock(leasing) })
	parts.Go(func() { r.agent.events.run(telling, r.agent.tellEvent) })
	parts.Go(func() { r.watcher.run(watching, r) })
	parts.Go(func() { r.watchSuspended(watching) })
	return func() {
		stopWatching()
		r.settler.close()
		r.settler.wait()
		stopLeases()
		stopEvents()
		parts.Wait()
		r.agent.events.rest()
		r.stopTimer()
	}
}

// note takes events for the application. It does not wait.
func (a *Agent) note(list ...Event) {
	if a.events.add(list) {
		go a.events.serve(a.tellEvent)
	}
}

// tellEvent hands an event to the application.
func (a *Agent) tellEvent(e *Event) {
	if a.Events != nil {
		a.guard(func() { a.Events(*e) })
	}
	if a.events.told() {
		if r := a.running(); r != nil {
			r.heard()
		}
	}
}

// heard lets go on what waited for events to be told.
func (r *run) heard() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decide()
}

func (a *Agent) begin(r *run) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.atWork != nil {
		return errRunning
	}
	a.atWork = r
	return nil
}

func (a *Agent) leaveRun() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.atWork = nil
}

const (
	// endMargin is for how long a run may go on after deliveries under way were cut off.
	endMargin = 3 * time.Second
	// endLast is how much of that is left when a connection is closed without an answer
	// to QUIT, and a settlement is given up that the queue does not store.
	endLast = time.Second
)

// drain gives back what has not begun, lets deliveries under way finish, and
// cuts them off when that takes too long. It returns when everything else is to end.
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
	r.mu.Lock()
	r.ended = true
	r.sched.Drain(time.Now())
	r.decide()
	r.mu.Unlock()
	r.workers.Wait()
	return last
}

// ending reports whether nothing more is to be begun.
func (r *run) ending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// running is the run at work, nil where there is none.
func (a *Agent) running() *run {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.atWork
}
