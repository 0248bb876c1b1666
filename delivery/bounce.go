package delivery

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/reports"
	"github.com/nexthop-mail/nexthop/queue"
)

// notices adds to an outcome the reports it causes. now is the wall clock's, and expiry
// when the delivery is given up.
func (a *Agent) notices(ctx context.Context, now time.Time, o *outcome, expiry time.Time) {
	late := a.isLate(now, o.part.delivery)
	var fates []reports.Fate
	for i := range o.events {
		fate := fateOf(o.events[i].Kind, late)
		if fate == reports.Untold {
			continue
		}
		if fates == nil {
			fates = make([]reports.Fate, len(o.events))
		}
		fates[i] = fate
	}
	if fates != nil {
		a.write(ctx, now, o, fates, expiry)
	}
}

// fateOf is what a report may have to tell of a recipient.
func fateOf(k EventKind, late bool) reports.Fate {
	switch {
	case k == Failed:
		return reports.Failed
	case k == Expired:
		return reports.Expired
	case late && (k == Deferred || k == UnknownOutcome):
		return reports.Delayed
	default:
		return reports.Untold
	}
}

// write adds to an outcome the reports of what became of its recipients.
func (a *Agent) write(ctx context.Context, now time.Time, o *outcome, fates []reports.Fate, expiry time.Time) {
	events := o.events
	var whole *queue.Entry
	if slices.Contains(fates, reports.Delayed) {
		whole = a.whole(ctx, o.part.delivery)
	}
	list := a.reports().Write(ctx, &reports.Subject{
		Delivery: o.part.delivery, Results: o.settlement.Results, Fates: fates, Whole: whole, Expiry: expiry, Now: now,
		MayTell: func(i int) bool { return a.mayBounce(&events[i]) },
	})
	for _, n := range list {
		o.notices = append(o.notices, n)
		o.settlement.Create = append(o.settlement.Create, n.Message)
		o.settlement.Warned = o.settlement.Warned || n.Delay
	}
}

// whole is the message of a delivery whose sender is to be told of the delay, nil where
// the queue shows none. It is looked up once: what the sender was told of then is told
// to nobody again, as the keys of reports see to.
func (a *Agent) whole(ctx context.Context, d *queue.Delivery) *queue.Entry {
	if a.late.has(d.Message.ID) {
		return &queue.Entry{}
	}
	e, err := queue.Show(ctx, a.Queue, d.Message.ID)
	if err != nil {
		return nil
	}
	return &e
}

// lately is the ids of messages whose senders were told of a delay. Its zero value is
// ready.
type lately struct {
	mu  sync.Mutex
	ids map[string]bool
}

// maxLately is how many are remembered. Those that are forgotten cost another look.
const maxLately = 1024

func (l *lately) has(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ids[id]
}

func (l *lately) add(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ids == nil || len(l.ids) >= maxLately {
		l.ids = make(map[string]bool)
	}
	l.ids[id] = true
}

// reports is what writes the agent's reports.
func (a *Agent) reports() *reports.Writer {
	w := &reports.Writer{
		Reporter: a.reporter(), Postmaster: a.Postmaster, MaxReturn: max(a.MaxReturn, 0),
		Life: a.current().ExpireReport, Open: a.Queue.Open,
	}
	if a.MaxReturn == 0 {
		w.MaxReturn = defaultMaxReturn
	}
	if a.Sign != nil {
		w.Sign = a.sign
	}
	return w
}

// isLate is whether the sender is to be told of a delay.
func (a *Agent) isLate(now time.Time, d *queue.Delivery) bool {
	warn := a.current().Warn
	return warn > 0 && !d.Warned && now.Sub(d.Message.Arrived.Add(a.clock.Moved(d.Message.Arrived))) >= warn
}

// mayBounce asks the Bounce hook.
func (a *Agent) mayBounce(e *Event) bool {
	if a.Bounce == nil {
		return true
	}
	yes := true
	if !a.guard(func() { yes = a.Bounce(*e) }) {
		return true
	}
	return yes
}

// reporter is this host's name.
func (a *Agent) reporter() string {
	if a.Reporter != "" {
		return a.Reporter
	}
	if hello := a.sender().Hello; hello != "" {
		return hello
	}
	if name, err := os.Hostname(); err == nil {
		return name
	}
	return "localhost"
}

// created are the events of the reports that a settlement has created.
func (a *Agent) created(o *outcome, ids []string, now time.Time) (list []Event) {
	for i := range o.notices {
		if i >= len(ids) || i >= len(o.settlement.Create) {
			break
		}
		n, m := &o.notices[i], &o.part.delivery.Message
		e := Event{
			Time: now, Kind: Bounced, ID: m.ID, From: m.From, Destination: o.part.delivery.Lease.Destination,
			Tenant: m.Tenant, Metadata: m.Metadata, BounceID: ids[i], Next: n.Message.NotBefore,
		}
		if n.Delay {
			e.Kind = Delayed
			a.late.add(m.ID)
		}
		if n.Unsigned != nil {
			e.Err = signError(n.Unsigned)
		}
		list = append(list, e)
	}
	return list
}

// withoutSignature makes the reports of an outcome what they were before they
// were signed, and reports whether there was anything to change: what cannot be
// queued signed is queued all the same.
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
