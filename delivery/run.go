package delivery

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// run is an agent at work, from the beginning of Run to its end. Its parts are
// goroutines that Run waits for.
type run struct {
	agent  *Agent
	queue  queue.Queue
	sender *Sender

	work    context.Context // of deliveries under way; outlives Run's context by the drain
	cut     func()          // ends it
	owner   string          // of what is postponed for want of room here
	trouble trouble
	leases  leases
	settler settler
	gate    *session.Gate
	workers sync.WaitGroup
	room    signal // a delivery ended: there is room for another

	mu         sync.Mutex
	draining   bool
	claimed    int  // deliveries not settled yet
	crowded    bool // no claim is made because they are so many
	resting    bool // no claim is made before restUntil; zero: until something happens
	restUntil  time.Time
	expecting  bool              // since the last claim deliveries were settled that are due again,
	expected   time.Time         // the first of them then
	busy       int               // attempts under way
	places     map[string]*place // destinations that have claimed deliveries
	sites      map[string]*site
	eligible   []*site  // in the order in which they get their turn
	lifted     []lifted // destinations to be released
	logins     map[mx.Login]int
	lastLogin  int
	unreadable map[leaseKey]bool    // reported; of the claims alone
	failure    error                // of the queue, for good
	took       map[string]time.Time // by site: when it last took or refused a message without asking for a login
}

// Run delivers what is in the queue until ctx ends. It then claims nothing more,
// lets deliveries under way finish for as long as Drain says, cuts off the rest
// and gives back what was claimed and not begun. When it returns it has settled
// or given back everything, ended every connection, and no goroutine is left.
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
		settler: newSettler(),
		places:  make(map[string]*place), sites: make(map[string]*site),
		logins: make(map[mx.Login]int), unreadable: make(map[leaseKey]bool),
	}
	r.gate = session.NewGate(r.connectionLimits)
	if err := a.begin(r); err != nil {
		return err
	}
	defer a.end()
	stop := r.serve()
	err := r.claims(ctx)
	r.drain()
	stop()
	r.unpark()
	if failure := r.failed(); failure != nil {
		err = failure
	}
	return errors.Join(err, r.sender.Close())
}

// serve starts what works beside the deliveries. stop ends it, each part when
// what it serves has ended.
func (r *run) serve() (stop func()) {
	var parts sync.WaitGroup
	leasing, stopLeases := context.WithCancel(context.WithoutCancel(r.work))
	telling, stopEvents := context.WithCancel(context.WithoutCancel(r.work))
	parts.Go(func() { r.settler.run(r) })
	parts.Go(func() { r.leases.run(leasing, r) })
	parts.Go(func() { r.agent.events.run(telling, r.tell, r.heard) })
	return func() {
		r.settler.close()
		r.settler.wait()
		stopLeases()
		stopEvents()
		parts.Wait()
	}
}

// tell hands an event to the application.
func (r *run) tell(e *Event) {
	if r.agent.Events != nil {
		r.agent.guard(func() { r.agent.Events(*e) })
	}
}

// heard lets those go on that waited for events to be told.
func (r *run) heard() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.room.set()
	r.feed()
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

func (a *Agent) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.atWork = nil
}

// drain gives back what has not begun, lets deliveries under way finish, and
// cuts them off when that takes too long.
func (r *run) drain() {
	grace := r.agent.Drain
	if grace == 0 {
		grace = defaultDrain
	}
	timer := time.AfterFunc(grace, r.cut)
	defer timer.Stop()
	r.mu.Lock()
	r.draining = true
	var left []*shipment
	for _, s := range r.sites {
		s.silence()
		list := s.empty()
		left = append(left, list...)
		for _, sh := range list {
			s.claimed -= len(sh.parts)
		}
	}
	r.mu.Unlock()
	for _, sh := range left {
		for i := range sh.parts {
			r.giveBack(sh.parts[i].delivery)
		}
	}
	r.workers.Wait()
}

// ending reports whether nothing more is to be begun.
func (r *run) ending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.draining
}

// running is the run at work, nil where there is none.
func (a *Agent) running() *run {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.atWork
}
