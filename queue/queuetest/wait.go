package queuetest

import (
	"context"
	"errors"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func waitChecks() []check {
	return []check{
		{ruleW1, "a Put wakes who waits", needWait, waitForPut},
		{ruleW1, "what came since the claim counts", needWait, waitForPast},
		{ruleW1, "a settlement that leaves or creates something", needWait, waitForSettlement},
		{ruleW1, "a Release", needWait | needHold, waitForRelease},
		{ruleW1, "a Flush", needWait | needFlush, waitForFlush},
		{ruleW1, "the lifting of a postponement", needWait | needPostpone, waitForLift},
		{ruleW1, "it ends with its context, and does not return while nothing happens", needWait, waitForNothing},
	}
}

// wantWoken claims, starts to wait and does something that must end the wait.
func (r *run) wantWoken(what string, do func()) {
	r.Helper()
	seen := r.claim(queue.ClaimOptions{Destinations: []string{"none.example"}}).Seen
	q := r.q // do may go on by another handle
	woken, begun := make(chan error, 1), make(chan struct{})
	ctx, cancel := context.WithTimeout(r.ctx, patience/30)
	defer cancel()
	go func() {
		close(begun)
		woken <- queue.Wait(ctx, q, seen)
	}()
	<-begun // it waits by now or is about to; what comes in between counts too
	do()
	if err := <-woken; err != nil {
		r.Errorf("%s: Wait = %v, want nil", what, err)
	}
}

func waitForPut(r *run) {
	for range 3 {
		r.wantWoken("a Put", func() { r.put(r.message()) })
	}
}

func waitForPast(r *run) {
	seen := r.claim(queue.ClaimOptions{}).Seen
	r.put(r.message())
	ctx, cancel := context.WithTimeout(r.ctx, patience/30)
	defer cancel()
	for range 2 {
		if err := queue.Wait(ctx, r.q, seen); err != nil {
			r.Errorf("Wait after a Put that came after the claim = %v, want nil", err)
		}
	}
}

func waitForSettlement(r *run) {
	r.put(r.message())
	r.put(r.message("a@other.example"))
	got := r.some(2)
	r.wantWoken("a deferral", func() { r.settle(deferred(got[0], r.now.Add(time.Minute))) })
	r.wantWoken("a settlement that creates a message", func() {
		s := all(got[1], queue.Failed)
		s.Create = []*queue.Message{r.message("a@bounce.example")}
		r.settle(s)
	})
}

func waitForRelease(r *run) {
	id := r.put(r.message())
	r.hold(id)
	r.wantWoken("a Release", func() { r.release(id) })
}

func waitForFlush(r *run) {
	m := r.message()
	m.NotBefore = r.now.Add(time.Hour)
	r.put(m)
	r.wantWoken("a Flush", func() { r.flush(queue.Selection{}) })
}

func waitForLift(r *run) {
	r.put(r.message())
	r.postpone("example.com", r.now.Add(time.Hour))
	r.wantWoken("the end of a postponement", func() { r.postpone("example.com", time.Time{}) })
	r.park("a", "example.com", r.now.Add(time.Hour))
	r.wantWoken("the end of an owner's postponement", func() { r.park("a", "example.com", time.Time{}) })
}

func waitForNothing(r *run) {
	r.put(r.message())
	ctx, cancel := context.WithTimeout(r.ctx, 200*time.Millisecond)
	defer cancel()
	for range 20 { // a queue may wake for less now and then
		err := queue.Wait(ctx, r.q, r.claim(queue.ClaimOptions{Destinations: []string{"none.example"}}).Seen)
		if errors.Is(err, context.DeadlineExceeded) {
			return
		}
		r.check("Wait", err)
	}
	r.Errorf("Wait returned 20 times in 200 ms while nothing happened")
}

func closedWhileWaiting(r *run) {
	q := r.q
	ended, begun := make(chan error, 1), make(chan struct{})
	seen := r.claim(queue.ClaimOptions{}).Seen
	ctx, cancel := context.WithTimeout(r.ctx, patience/30)
	defer cancel()
	go func() {
		close(begun)
		ended <- queue.Wait(ctx, q, seen)
	}()
	<-begun
	r.check("Close", queue.Close(r.q))
	if err := <-ended; !errors.Is(err, queue.ErrClosed) {
		r.Errorf("Wait of a queue that is closed meanwhile = %v, want ErrClosed", err)
	}
}
