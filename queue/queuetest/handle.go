package queuetest

import (
	"fmt"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// handleChecks are about queues that are opened more than once.
func handleChecks() []check {
	return []check{
		{ruleW2, "what one handle does the others see", needShare, sharedMail},
		{ruleW2, "claims by two handles share the mail", needShare, sharedClaims},
		{ruleW2, "what is postponed for everybody is so for all", needShare | needPostpone, sharedPostponement},
		{ruleW2, "one handle's own postponements leave the mail to the other", needShare | needPostpone, sharedOwn},
		{ruleW2, "a handle wakes the others", needShare | needWait, sharedWake},
		{ruleW2, "what one handle suspends is so for all", needShare | needSuspend, sharedSuspension},
		{ruleW2, "what one handle holds is so for all, and so are its terms", needShare | needTerms | needList, sharedTerms},
		{ruleW2, "what one handle has taken no other is given", needShare | needTake, sharedTaken},
		{ruleW3, "what a dead handle had claimed comes back when its leases end", needShare, deadClaims},
		{ruleW3, "a mark of a dead handle is told of", needShare, deadMark},
		{ruleW3, "a dead handle's lease may not be settled any more once it is lost", needShare, deadLease},
	}
}

// handle opens another handle.
func (r *run) handle() (queue.Queue, func()) {
	r.Helper()
	q, kill, err := r.in.Share()
	r.check("opening another handle", err)
	return q, kill
}

// by runs a part of a case on another handle.
func (r *run) by(q queue.Queue, do func()) {
	mine := r.q
	r.q = q
	defer func() { r.q = mine }()
	do()
}

func sharedMail(r *run) {
	other, _ := r.handle()
	m := r.keyed("tenant", "key")
	text := textOf(m)
	id := r.put(m)
	r.by(other, func() {
		if got := r.content(id); got != text {
			r.Errorf("the content by another handle is %q, want %q", got, text)
		}
		r.wantDuplicate(r.keyed("tenant", "key"), id)
	})
	d := r.one()
	r.by(other, func() {
		r.none("by another handle, of what is leased")
		r.settle(deferred(d, r.now))
	})
	d = r.one()
	if d.States[0].Attempts != 1 {
		r.Errorf("the delivery has %d attempts, want the one that another handle settled", d.States[0].Attempts)
	}
	r.settle(all(d, queue.Delivered))
	r.by(other, func() { r.wantGone(id) })
}

func sharedClaims(r *run) {
	other, _ := r.handle()
	const messages = 200
	for i := range messages {
		r.put(r.message(fmt.Sprintf("a@d%d.example", i%7)))
	}
	var (
		mu    sync.Mutex
		seen  = make(map[string]int)
		group sync.WaitGroup
	)
	for i := range 6 {
		q := []queue.Queue{r.q, other}[i%2]
		group.Go(func() {
			for range 100 * messages {
				got, err := q.Claim(r.ctx, r.now, queue.ClaimOptions{Max: 5})
				if err != nil {
					r.Errorf("Claim: %v", err)
					return
				}
				if len(got.Deliveries) == 0 && (got.Next.IsZero() || got.Next.After(r.now)) {
					return
				}
				mu.Lock()
				for _, d := range got.Deliveries {
					seen[d.Lease.Message]++
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	for id, n := range seen {
		if n != 1 {
			r.Errorf("the message %s was claimed %d times, want once", id, n)
		}
	}
	if len(seen) != messages {
		r.Errorf("%d messages were claimed, want %d", len(seen), messages)
	}
}

func sharedPostponement(r *run) {
	other, _ := r.handle()
	r.put(r.message())
	r.postpone("example.com", r.now.Add(time.Hour))
	r.by(other, func() { r.none("by another handle, of what is postponed for everybody") })
	r.by(other, func() { r.postpone("example.com", time.Time{}) })
	r.one()
}

func sharedOwn(r *run) {
	other, kill := r.handle()
	r.putTwo()
	r.by(other, func() {
		r.park("b", "one.example", r.now.Add(time.Hour))
		r.wantOwners("b", 0, 2, "by the handle that has no room for one.example")
	})
	r.wantOwners("a", 3, 2, "by another handle")
	kill()
	r.wantOwners("a", 3, 2, "after that handle died")
}

func sharedWake(r *run) {
	other, _ := r.handle()
	r.wantWoken("a Put by another handle", func() { r.by(other, func() { r.put(r.message()) }) })
	d := r.one()
	r.wantWoken("a settlement by another handle", func() { r.by(other, func() { r.settle(deferred(d, r.now)) }) })
}

func deadClaims(r *run) {
	other, kill := r.handle()
	for range 5 {
		r.put(r.message())
	}
	r.by(other, func() {
		if got := r.everything(queue.ClaimOptions{Lease: time.Minute}).Deliveries; len(got) != 5 {
			r.Errorf("Claim returned %s, want 5", describe(got))
		}
	})
	kill()
	r.advance(time.Minute - 2*time.Millisecond)
	r.none("before the leases of a dead handle end")
	r.advance(2 * time.Millisecond)
	r.some(5)
}

func deadMark(r *run) {
	other, kill := r.handle()
	r.put(r.once())
	r.by(other, func() { r.mark(r.first(queue.ClaimOptions{Lease: time.Minute})) })
	kill()
	r.advance(time.Minute)
	r.wantInterrupted(true, "after a mark by a handle that died")
}

func deadLease(r *run) {
	other, _ := r.handle()
	r.put(r.message())
	var d queue.Delivery
	r.by(other, func() { d = r.first(queue.ClaimOptions{Lease: time.Minute}) })
	r.advance(time.Minute)
	again := r.one()
	r.by(other, func() { r.wantLost(d, "by a handle that was taken for dead") })
	r.settle(deferred(again, r.now))
	r.one()
}
