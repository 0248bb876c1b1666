package delivery

import (
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/clock"
	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// part is a delivery that is claimed, and where it goes.
type part struct {
	id       sched.ID
	delivery *queue.Delivery
	route    mx.Route
	asked    time.Time // when the route was found
	claimed  time.Time
}

// shipment is deliveries of one message that are sent to one site together.
type shipment struct {
	ship  sched.Ship
	site  string
	parts []*part
	one   [1]*part // where there is no more
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

// deadline is when, by the wall clock, a delivery must be looked at even if it cannot be sent: to expire,
// or for its sender to be told of the delay.
func (r *run) deadline(d *queue.Delivery) time.Time {
	at := r.expiry(d)
	if warn := r.warning(d); !d.Warned && !warn.IsZero() && warn.Before(at) {
		return warn
	}
	return at
}

// warning is when the sender is to be told of the delay; zero is never.
func (r *run) warning(d *queue.Delivery) time.Time {
	warn := r.agent.current().Warn
	if warn < 0 {
		return time.Time{}
	}
	return d.Message.Arrived.Add(warn).Add(r.agent.clock.Moved(d.Message.Arrived))
}

func (r *run) warnDue(d *queue.Delivery, now time.Time) bool {
	at := r.warning(d)
	return !d.Warned && !at.IsZero() && !at.After(now)
}

// mail is a part as the scheduler knows it. at is the same moment as now, on the clock
// that the scheduler goes by.
func (r *run) mail(p *part, now clock.Time, at time.Time) sched.Mail {
	d := p.delivery
	return sched.Mail{
		ID: p.id, Message: d.Message.ID, Destination: d.Lease.Destination, Tenant: d.Message.Tenant,
		Priority: d.Message.Priority, Recipients: len(d.Message.Recipients),
		Due: at.Add(d.Due.Sub(now.Now)), Deadline: at.Add(r.deadline(d).Sub(now.Wall)),
	}
}
