package delivery

import (
	"errors"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/queue"
)

// trouble is what calls of the queue fail with just now, by what they are for. Its
// zero value is ready.
type trouble struct {
	mu   sync.Mutex
	errs [troubles]error
}

// The calls that are told apart, so that one that works does not hide another that
// fails.
const (
	claiming = iota
	settling
	extending
	marking
	opening
	postponing
	ours // no call of the queue: DNS, the network, the machine
	troubles
)

// failed notes an error and reports whether it is news.
func (t *trouble) failed(what int, err error) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	news = t.errs[what] == nil
	t.errs[what] = err
	return news
}

// works notes that a call has worked.
func (t *trouble) works(what int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errs[what] = nil
}

// last is one of the errors, nil where there is none.
func (t *trouble) last() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, err := range t.errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// heed takes note of what a call of the queue has answered: trouble is told once
// until it is over, and a queue that has failed for good ends the run.
func (r *run) heed(what int, err error) {
	switch {
	case err == nil:
		r.trouble.works(what)
		return
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, queue.ErrClosed), errors.Is(err, queue.ErrLeaseLost):
		return
	}
	if r.trouble.failed(what, err) {
		r.agent.note(troubleEvent(err))
	}
	if errors.Is(err, queue.ErrFailed) {
		r.giveUp(err)
	}
}

func troubleEvent(cause error) Event {
	e := &Error{Stage: StageMessage, Verdict: NotNow, Enhanced: "4.3.0", Err: cause}
	return Event{Time: time.Now(), Kind: Trouble, Enhanced: e.Enhanced, Reply: e.Reason(), Err: e}
}

// giveUp ends the run because its queue has failed for good: nothing that is sent
// from now on could be recorded.
func (r *run) giveUp(cause error) {
	r.mu.Lock()
	first := r.failure == nil
	if first {
		r.failure = cause
	}
	r.mu.Unlock()
	if first {
		r.cut()
		r.stir.set()
	}
}

// failed is why the run ends by itself, nil where it does not.
func (r *run) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failure
}

// tellTrouble tells of trouble of our own that is not the queue's, once when it
// begins. The caller holds r.mu.
func (r *run) tellTrouble(n sched.TroubleNotice) {
	if n.Cause == sched.QueueFails || n.Cause == sched.StoreFails {
		return // heed tells
	}
	if n.Over {
		r.trouble.works(ours)
		if n.Cause == sched.NetworkFails {
			r.sender.sessions.Memory.Clear() // what failed meanwhile says nothing
		}
		return
	}
	err := errorOf(n.Cause)
	r.trouble.failed(ours, err)
	r.agent.note(troubleEvent(err))
}
