package delivery

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// run is an agent at work, from the beginning of Run to its end. Its parts are
// goroutines that Run waits for.
type run struct {
	agent  *Agent
	queue  queue.Queue
	sender *Sender

	work    context.Context // of deliveries under way; outlives Run's context by the drain
	leases  leases
	settler settler
	workers sync.WaitGroup
	room    signal // a delivery ended: there is room for another

	mu       sync.Mutex
	underway map[string]int // deliveries by destination
	count    int
}

// Run delivers what is in the queue until ctx ends. It then claims nothing more,
// lets deliveries under way finish for as long as Drain says, cuts off the rest
// and gives back what was claimed and not begun. When it returns it has settled
// or given back everything, ended every connection, and no goroutine is left.
//
// The error is nil after that. It is not where the fields make no sense, where
// Run is running already, and queue.ErrClosed where the queue was closed under
// it. What else goes wrong with the queue is tried again.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.Validate(); err != nil {
		return err
	}
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	r := &run{
		agent: a, queue: a.Queue, sender: a.sender(), work: work,
		settler: newSettler(), underway: make(map[string]int),
	}
	if err := a.begin(r); err != nil {
		return err
	}
	defer a.end()
	stop := r.serve()
	err := r.claims(ctx)
	r.drain(cut)
	stop()
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
	parts.Go(func() { r.agent.events.run(telling, r.tell) })
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
	r.room.set()
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

// drain lets deliveries under way finish, and cuts them off when that takes too
// long.
func (r *run) drain(cut context.CancelFunc) {
	grace := r.agent.Drain
	if grace == 0 {
		grace = defaultDrain
	}
	timer := time.AfterFunc(grace, cut)
	defer timer.Stop()
	r.workers.Wait()
}
