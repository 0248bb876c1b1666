package delivery

import (
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

const (
	// messageMost is how many destinations of one message a full claim may have.
	messageMost = claimMost / 2
	// messageWait is for how long the others then make way for mail behind them.
	messageWait = 250 * time.Millisecond
)

// share gives back what one message has too much of in a claim that had no room
// for more, so that a message to thousands of destinations does not keep those
// behind it waiting. It returns the rest.
func (r *run) share(found []queue.Delivery) []queue.Delivery {
	if len(found) < claimMost {
		return found
	}
	number := make(map[string]int)
	kept := found[:0:0]
	now := r.agent.clock.now()
	for i := range found {
		d := &found[i]
		if number[d.Message.ID]++; number[d.Message.ID] <= messageMost {
			kept = append(kept, *d)
			continue
		}
		r.settler.add(outcome{delivery: d, settlement: queue.Settlement{
			Lease: d.Lease, NotBefore: now.Add(messageWait),
		}})
	}
	return kept
}
