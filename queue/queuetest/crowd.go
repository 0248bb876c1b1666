package queuetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func crowdChecks() []check {
	return []check{
		{ruleC9, "claims at once share the mail", 0, claimTogether},
		{ruleS1, "QUE-3 of many goroutines' mail everything ends once", 0, everythingEnds},
	}
}

func claimTogether(r *run) {
	const messages, claimers = 300, 8
	for i := range messages {
		r.put(r.message(fmt.Sprintf("a@d%d.example", i%7)))
	}
	var (
		mu    sync.Mutex
		seen  = make(map[string]int)
		group sync.WaitGroup
	)
	for range claimers {
		group.Go(func() {
			for {
				got, err := r.q.Claim(r.ctx, r.now, queue.ClaimOptions{Max: 5})
				if err != nil {
					r.Errorf("Claim: %v", err)
				}
				if err != nil || len(got.Deliveries) == 0 {
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

// everythingEnds puts from some goroutines and settles from others, failing and
// deferring some, until nothing is left, and counts how every recipient ended.
func everythingEnds(r *run) {
	const writers, each = 4, 20
	var (
		group, puts sync.WaitGroup
		allPut      atomic.Bool
		mu          sync.Mutex
		ended       = make(map[string]int)
	)
	for w := range writers {
		puts.Go(func() {
			for i := range each {
				m := &queue.Message{Content: queue.String("text")}
				for n := range i%4 + 1 {
					m.Recipients = append(m.Recipients, queue.Recipient{
						Address: fmt.Sprintf("w%d-m%d-r%d@d%d.example", w, i, n, (i+n)%3),
					})
				}
				if _, err := r.q.Put(r.ctx, r.now, m); err != nil {
					r.Errorf("Put: %v", err)
				}
			}
		})
	}
	for range writers {
		group.Go(func() {
			for settled := 0; ; {
				last := allPut.Load()
				got, err := r.q.Claim(r.ctx, r.now, queue.ClaimOptions{Max: 3, PerDestination: 2})
				if err != nil {
					r.Errorf("Claim: %v", err)
					return
				}
				if len(got.Deliveries) == 0 && last {
					return
				}
				if settled += len(got.Deliveries); settled > 2*writers*each*4 {
					r.Errorf("deliveries come back for ever")
					return
				}
				for _, d := range got.Deliveries {
					done := r.end(d)
					mu.Lock()
					for _, address := range done {
						ended[address]++
					}
					mu.Unlock()
				}
			}
		})
	}
	puts.Wait()
	allPut.Store(true)
	group.Wait()
	for address, n := range ended {
		if n != 1 {
			r.Errorf("%s ended %d times, want once", address, n)
		}
	}
	// Of twenty messages five each have one, two, three and four recipients.
	if want := writers * 50; len(ended) != want {
		r.Errorf("%d recipients ended, want %d", len(ended), want)
	}
	r.advance(time.Hour)
	r.none("after everything ended")
}

// end defers a delivery the first time and ends one recipient each time after.
func (r *run) end(d queue.Delivery) []string {
	var done []string
	s := queue.Settlement{Lease: d.Lease}
	for i, state := range d.States {
		o := queue.Deferred
		if state.Attempts > 0 && i == 0 {
			o = []queue.Outcome{queue.Delivered, queue.Failed}[state.Index%2]
			done = append(done, d.Message.Recipients[i].Address)
		}
		s.Results = append(s.Results, queue.Result{Recipient: state.Index, Outcome: o})
	}
	got, err := r.q.Settle(r.ctx, r.now, []queue.Settlement{s})
	if err == nil && len(got) == 1 {
		err = got[0].Err
	}
	if err != nil {
		r.Errorf("Settle: %v", err)
		return nil
	}
	return done
}
