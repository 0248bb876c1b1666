package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// record settles one outcome, and tells of it.
func (a *Agent) record(ctx context.Context, o *outcome) error {
	for {
		result, err := a.Queue.Settle(ctx, a.clock.Now(), []queue.Settlement{o.settlement})
		if err != nil {
			return err
		}
		var bad *queue.MessageError
		if errors.As(result[0].Err, &bad) && len(o.settlement.Create) > 0 {
			if !o.withoutSignature(result[0].Err) {
				o.settlement.Create = nil
			}
			continue
		}
		if result[0].Err != nil {
			return result[0].Err
		}
		if a.tell(o, &result[0]); result[0].NoRoom {
			return queue.ErrFull // recipients whose report did not fit are still pending
		}
		return nil
	}
}

// tell passes on the events of an outcome that the queue has recorded. If the lease was
// lost, it only passes on events about things that really happened, because another
// agent decides about the rest.
func (a *Agent) tell(o *outcome, s *queue.Settled) {
	now := time.Now()
	o.events = append(o.events, a.created(o, s.Created, now)...)
	arrived := o.part.delivery.Message.Arrived
	for i := range o.events {
		o.events[i].Time, o.events[i].Age = now, max(0, now.Sub(arrived))
		kind := o.events[i].Kind
		if s.NoRoom && (kind == Failed || kind == Expired) {
			continue // recipients whose report did not fit stay pending, and are tried again
		}
		if s.Err == nil || kind == Delivered {
			a.note(o.events[i])
		}
	}
}

// created are the events of the reports that a settlement has created.
func (a *Agent) created(o *outcome, ids []string, now time.Time) (list []Event) {
	for i := range min(len(ids), len(o.notices)) {
		n, m := &o.notices[i], &o.part.delivery.Message
		e := Event{
			Time: now, Kind: Bounced, ID: m.ID, From: m.From, Destination: o.part.delivery.Lease.Destination,
			Tenant: m.Tenant, Metadata: m.Metadata, BounceID: ids[i], Next: n.Message.NotBefore,
		}
		if n.Delay {
			e.Kind = Delayed
			a.told.Add(m.ID)
		}
		if n.Unsigned != nil {
			e.Err = signError(n.Unsigned)
		}
		list = append(list, e)
	}
	return list
}

// withoutSignature restores the unsigned form of the reports of an outcome, and returns
// false if none was signed. A report that cannot be queued in signed form is queued
// anyway.
func (o *outcome) withoutSignature(cause error) (changed bool) {
	for i := range o.notices {
		n := &o.notices[i]
		if n.Unsign() {
			changed = true
			n.Unsigned = fmt.Errorf("what the Sign hook answered for a report: %w", cause)
		}
	}
	return changed
}

// unsettled returns the event for a settlement that could not be stored.
func (o *outcome) unsettled(cause error) Event {
	e := troubleEvent(cause)
	m := &o.part.delivery.Message
	e.ID, e.From, e.Destination, e.Tenant, e.Metadata = m.ID, m.From, o.part.delivery.Lease.Destination, m.Tenant, m.Metadata
	return e
}
