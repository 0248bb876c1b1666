package delivery

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/internal/dsn"
	"github.com/nexthop-mail/nexthop/queue"
)

// notice is a report to a message's sender, to be created with the settlement it
// is about.
type notice struct {
	kind    EventKind // Bounced or Delayed
	message *queue.Message
	plain   queue.Content // what it says, unsigned
	err     *Error        // why it is not signed, where it should be
}

// notices adds to an outcome the reports it causes: one about all recipients that
// failed, one about those that are late, where the sender is entitled to them
// (RFC 3461 section 5.2). Mail without a sender causes none (RFC 5321 section
// 4.5.5): its events tell of it. expiry is when the delivery is given up.
func (a *Agent) notices(ctx context.Context, now time.Time, o *outcome, expiry time.Time) {
	m := &o.delivery.Message
	to, err := address.ParseReverse(m.From)
	if err != nil || to.IsNull() {
		return
	}
	late := a.isLate(now, o.delivery)
	var failed, delayed []int
	for i := range o.events {
		notify := m.Recipients[i].Notify
		switch o.events[i].Kind {
		case Failed, Expired:
			if (notify == 0 || notify&queue.NotifyFailure != 0) && a.mayBounce(&o.events[i]) {
				failed = append(failed, i)
			}
		case Deferred, UnknownOutcome:
			if late && (notify == 0 || notify&queue.NotifyDelay != 0) {
				delayed = append(delayed, i)
			}
		}
	}
	if len(failed) > 0 {
		a.create(ctx, now, o, to, dsn.Failed, failed, expiry)
	}
	if len(delayed) > 0 {
		a.create(ctx, now, o, to, dsn.Delayed, delayed, expiry)
		o.settlement.Warned = true
	}
}

// isLate is whether the sender is to be told of a delay.
func (a *Agent) isLate(now time.Time, d *queue.Delivery) bool {
	warn := a.current().Warn
	return warn > 0 && !d.Warned && now.Sub(d.Message.Arrived) >= warn
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

// create adds one report to an outcome.
func (a *Agent) create(
	ctx context.Context, now time.Time, o *outcome, to address.Mailbox, action dsn.Action, about []int, expiry time.Time,
) {
	m := &o.delivery.Message
	report := &dsn.Report{
		Reporter: a.reporter(), From: a.postmaster(), To: to.String(), Date: now,
		Token: rand.Text(), EnvelopeID: m.EnvelopeID, Arrived: m.Arrived,
		Original: a.opener(context.WithoutCancel(ctx), m.ID), MaxFull: a.maxReturn(m, action),
	}
	report.ID = report.Token + "@" + domainOf(report.Reporter)
	for _, i := range about {
		r := recipientOf(o, i, now)
		r.Action, r.RetryUntil = action, expiry
		report.Recipients = append(report.Recipients, r)
	}
	// A report carries over what the message asked of its transport (RFC 3461
	// section 6.1, RFC 6710 section 4.6, RFC 8689 section 5).
	n := notice{kind: Bounced, plain: report, message: &queue.Message{
		Recipients: []queue.Recipient{{Address: report.To}}, Content: report,
		Key: keyOfReport(o, action, about), Tenant: m.Tenant, Priority: m.Priority, Arrived: now, TLS: m.TLS,
	}}
	if action == dsn.Delayed {
		n.kind = Delayed
	}
	if life := a.current().ExpireReport; life > 0 {
		n.message.Expires = now.Add(life)
	}
	n.err = a.signReport(ctx, n.message)
	o.notices = append(o.notices, n)
	o.settlement.Create = append(o.settlement.Create, n.message)
}

// keyOfReport is the same each time the same is to be told, so that a settlement
// which is made again after a crash makes no second report: of a failure it
// names the recipients, of a delay the message, whose sender is told of it once.
func keyOfReport(o *outcome, action dsn.Action, about []int) string {
	d := o.delivery
	if action == dsn.Delayed {
		return "delay/" + d.Message.ID
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%q", d.Lease.Destination)
	for _, i := range about {
		fmt.Fprintf(sum, " %d", d.States[i].Index)
	}
	return "failure/" + d.Message.ID + "/" + hex.EncodeToString(sum.Sum(nil)[:12])
}

// recipientOf is what a report says of the i-th recipient. One that expired is
// given up because of what was said last (RFC 3464 section 2.3.3).
func recipientOf(o *outcome, i int, now time.Time) dsn.Recipient {
	d, e := o.delivery, &o.events[i]
	from := &d.Message.Recipients[i]
	r := dsn.Recipient{
		Address: from.Address, OriginalType: from.OriginalType, Original: from.Original, LastAttempt: now,
	}
	reply := o.settlement.Results[i].Reply.Bounded()
	if e.Kind == Expired {
		state := &d.States[i]
		r.LastAttempt = state.Tried
		if state.Attempts > 0 {
			reply = state.Reply
			if len(reply.Enhanced) == 0 || reply.Enhanced[0] != '4' {
				reply.Enhanced = "4.4.7"
			}
		}
	}
	r.Status, r.Text = reply.Enhanced, reply.Text
	if reply.Host != "" {
		r.Remote, r.Code = reply.Host, reply.Code
	}
	return r
}

// opener reads the message a report is about, when the report is read.
func (a *Agent) opener(ctx context.Context, id string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		c, err := a.Queue.Open(ctx, id)
		if err != nil {
			return nil, err
		}
		return c.Open()
	}
}

// maxReturn is up to which size a message is returned whole: only where the
// sender asked for that, in a report of failure, and never where the message must
// not travel without TLS (RFC 3461 section 4.3, RFC 8689 section 5).
func (a *Agent) maxReturn(m *queue.Message, action dsn.Action) int64 {
	switch {
	case m.Return != queue.ReturnFull, action != dsn.Failed, m.TLS == queue.TLSRequired, a.MaxReturn < 0:
		return 0
	case a.MaxReturn == 0:
		return defaultMaxReturn
	default:
		return a.MaxReturn
	}
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

// postmaster is who reports come from.
func (a *Agent) postmaster() string {
	if a.Postmaster != "" {
		return a.Postmaster
	}
	return "postmaster@" + domainOf(a.reporter())
}

// domainOf is a host's name as the domain of an address.
func domainOf(host string) string {
	if d, err := address.ParseDomain(host); err == nil {
		return d.String()
	}
	return "localhost"
}

// created are the events of the reports that a settlement has created.
func (o *outcome) created(ids []string, now time.Time) (list []Event) {
	for i := range o.notices {
		if i >= len(ids) || i >= len(o.settlement.Create) {
			break
		}
		n, m := &o.notices[i], &o.delivery.Message
		list = append(list, Event{
			Time: now, Kind: n.kind, ID: m.ID, From: m.From, Destination: o.delivery.Lease.Destination,
			Tenant: m.Tenant, Metadata: m.Metadata, Err: n.err, BounceID: ids[i], Next: n.message.NotBefore,
		})
	}
	return list
}

// withoutSignature makes the reports of an outcome what they were before they
// were signed, and reports whether there was anything to change: what cannot be
// queued signed is queued all the same.
func (o *outcome) withoutSignature(cause error) (changed bool) {
	for i := range o.notices {
		n := &o.notices[i]
		if n.message.Content == n.plain {
			continue
		}
		n.message.Content, changed = n.plain, true
		n.err = signError(fmt.Errorf("what the Sign hook answered for a report: %w", cause))
	}
	return changed
}
