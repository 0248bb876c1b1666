package delivery

import (
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/lease"
	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// part is a delivery that is claimed, and where it goes.
type part struct {
	id       sched.ID
	delivery *queue.Delivery
	lease    lease.Held
	route    mx.Route
	asked    time.Time     // when the route was found
	dns      time.Duration // that it took
	claimed  time.Time

	policyLookedAt bool // once more, before it is given up
}

// shipment is deliveries of one message that are sent to one site together.
type shipment struct {
	ship  sched.Ship
	site  string
	parts []*part
	one   [1]*part // if there is only one
}

// messageOf is the message of the parts with the recipients of all of them.
func messageOf(parts []*part, content queue.Content) queue.Message {
	m := parts[0].delivery.Message
	m.Content = content
	if len(parts) > 1 {
		m.Recipients = nil
		for _, p := range parts {
			m.Recipients = append(m.Recipients, p.delivery.Message.Recipients...)
		}
	}
	return m
}

// watcher tells the scheduler when the queue says that another claim is worth while.
type watcher struct{ claimed chan uint64 }

// watch says that a claim has seen so much. The caller is one goroutine.
func (w *watcher) watch(seen uint64) {
	select {
	case <-w.claimed:
	default:
	}
	w.claimed <- seen
}
