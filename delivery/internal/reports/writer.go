package reports

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/internal/dsn"
	"github.com/nexthop-mail/nexthop/queue"
)

// Writer makes reports.
type Writer struct {
	// Reporter is this host's name, and Postmaster who reports come from; empty is
	// postmaster there.
	Reporter   string
	Postmaster string

	// MaxReturn is up to which size a message is returned whole to a sender who
	// asks for that.
	MaxReturn int64

	// Life is how long after it was made a report is given up; 0 leaves it to
	// others.
	Life time.Duration

	// Open opens the content of a message, when the report is read.
	Open func(ctx context.Context, id string) (queue.Content, error)

	// Sign answers with the content to send in place of a message's; nil signs
	// nothing. A report that cannot be signed is sent all the same: to say nothing
	// would lose mail.
	Sign func(ctx context.Context, m *queue.Message) (queue.Content, error)
}

// Write makes the reports that a settlement causes: one about all recipients that
// failed, one about those that are delayed, where the sender is entitled to them.
func (w *Writer) Write(ctx context.Context, s *Subject) (list []Notice) {
	to, err := address.ParseReverse(s.Delivery.Message.From)
	if err != nil || to.IsNull() {
		return nil
	}
	var failed, delayed []int
	for i, fate := range s.Fates {
		notify := s.Delivery.Message.Recipients[i].Notify
		switch fate {
		case Failed, Expired:
			if (notify == 0 || notify&queue.NotifyFailure != 0) && (s.MayTell == nil || s.MayTell(i)) {
				failed = append(failed, i)
			}
		case Delayed:
			if notify == 0 || notify&queue.NotifyDelay != 0 {
				delayed = append(delayed, i)
			}
		}
	}
	if len(failed) > 0 {
		list = append(list, w.notice(ctx, s, to, dsn.Failed, failed))
	}
	if len(delayed) > 0 {
		list = append(list, w.notice(ctx, s, to, dsn.Delayed, delayed))
	}
	return list
}

// notice is one report.
func (w *Writer) notice(ctx context.Context, s *Subject, to address.Mailbox, action dsn.Action, about []int) Notice {
	m := &s.Delivery.Message
	report := &dsn.Report{
		Reporter: w.Reporter, From: w.postmaster(), To: to.String(), Date: s.Now,
		Token: rand.Text(), EnvelopeID: m.EnvelopeID, Arrived: m.Arrived,
		Original: w.opener(context.WithoutCancel(ctx), m.ID), MaxFull: w.maxReturn(m, action),
	}
	report.ID = report.Token + "@" + domainOf(report.Reporter)
	named := about[:min(len(about), dsn.MaxRecipients)]
	report.More = len(about) - len(named)
	for _, i := range named {
		r := s.recipient(i)
		r.Action, r.RetryUntil = action, s.Expiry
		report.Recipients = append(report.Recipients, r)
	}
	// A report carries over what the message asked of its transport (RFC 3461
	// section 6.1, RFC 6710 section 4.6, RFC 8689 section 5).
	n := Notice{Delay: action == dsn.Delayed, plain: report, Message: &queue.Message{
		Recipients: []queue.Recipient{{Address: report.To}}, Content: report,
		Key: s.key(action, about), Tenant: m.Tenant, Priority: m.Priority, Arrived: s.Now, TLS: m.TLS,
	}}
	if w.Life > 0 {
		n.Message.Expires = s.Now.Add(w.Life)
	}
	if w.Sign != nil {
		signed, err := w.Sign(ctx, n.Message)
		if err != nil {
			n.Unsigned = fmt.Errorf("a report is not signed: %w", err)
		} else {
			n.Message.Content = signed
		}
	}
	return n
}

// key is the same each time the same is to be told, so that a settlement which is
// made again after a crash makes no second report: of a failure it names the
// recipients, of a delay the message, whose sender is told of it once.
func (s *Subject) key(action dsn.Action, about []int) string {
	d := s.Delivery
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

// recipient is what a report says of the i-th recipient. One that expired is given
// up because of what was said last (RFC 3464 section 2.3.3).
func (s *Subject) recipient(i int) dsn.Recipient {
	d := s.Delivery
	from := &d.Message.Recipients[i]
	r := dsn.Recipient{
		Address: from.Address, OriginalType: from.OriginalType, Original: from.Original, LastAttempt: s.Now,
	}
	reply := s.Results[i].Reply.Bounded()
	if s.Fates[i] == Expired {
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
func (w *Writer) opener(ctx context.Context, id string) func() (io.ReadCloser, error) {
	open := w.Open
	return func() (io.ReadCloser, error) {
		c, err := open(ctx, id)
		if err != nil {
			return nil, err
		}
		return c.Open()
	}
}

// maxReturn is up to which size a message is returned whole: only where the
// sender asked for that, in a report of failure, and never where the message must
// not travel without TLS (RFC 3461 section 4.3, RFC 8689 section 5).
func (w *Writer) maxReturn(m *queue.Message, action dsn.Action) int64 {
	if m.Return != queue.ReturnFull || action != dsn.Failed || m.TLS == queue.TLSRequired {
		return 0
	}
	return w.MaxReturn
}

// postmaster is who reports come from.
func (w *Writer) postmaster() string {
	if w.Postmaster != "" {
		return w.Postmaster
	}
	return "postmaster@" + domainOf(w.Reporter)
}

// domainOf is a host's name as the domain of an address.
func domainOf(host string) string {
	if d, err := address.ParseDomain(host); err == nil {
		return d.String()
	}
	return "localhost"
}
