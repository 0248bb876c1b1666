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

	// Sign returns the content to send instead of a message's. If nil, nothing is
	// signed. A report that cannot be signed is sent anyway, because without it mail
	// would be lost silently.
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
		list = append(list, w.notice(ctx, s, to, dsn.Failed, failed, nil))
	}
	if len(delayed) > 0 {
		list = append(list, w.notice(ctx, s, to, dsn.Delayed, delayed, s.others()))
	}
	return list
}

// notice is one report, about recipients of the delivery and others.
func (w *Writer) notice(
	ctx context.Context, s *Subject, to address.Mailbox, action dsn.Action, about []int, others []dsn.Recipient,
) Notice {
	m := &s.Delivery.Message
	report := &dsn.Report{
		Reporter: w.Reporter, From: w.postmaster(), To: to.String(), Date: s.Now,
		Token: rand.Text(), EnvelopeID: m.EnvelopeID, Arrived: m.Arrived,
		Original: w.opener(context.WithoutCancel(ctx), m.ID), MaxFull: w.maxReturn(m, action),
	}
	report.ID = report.Token + "@" + domainOf(report.Reporter)
	named := about[:min(len(about), dsn.MaxRecipients)]
	for _, i := range named {
		report.Recipients = append(report.Recipients, s.recipient(i))
	}
	report.Recipients = append(report.Recipients, others[:min(len(others), dsn.MaxRecipients-len(named))]...)
	report.More = len(about) + len(others) - len(report.Recipients)
	for i := range report.Recipients {
		report.Recipients[i].Action, report.Recipients[i].RetryUntil = action, s.Expiry
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

// key returns the same key each time the same is reported, so that a settlement that is
// repeated after a crash makes no second report. For a failure it contains the
// recipients. For a delay it contains the message, about which the sender is told once,
// or the destination if no more is known.
func (s *Subject) key(action dsn.Action, about []int) string {
	d := s.Delivery
	if action == dsn.Delayed && s.Whole != nil {
		return "delay/" + d.Message.ID
	}
	kind := "failure/"
	if action == dsn.Delayed {
		kind, about = "delay/", nil
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%q", d.Lease.Destination)
	for _, i := range about {
		fmt.Fprintf(sum, " %d", d.States[i].Index)
	}
	return kind + d.Message.ID + "/" + hex.EncodeToString(sum.Sum(nil)[:12])
}

// recipient returns the entry of the i-th recipient in a report. One that expired is
// given up because of its last reply (RFC 3464 section 2.3.3).
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
	say(&r, &reply)
	return r
}

// others are the recipients of the message at other destinations who wait, and whose
// delay the sender is entitled to know.
func (s *Subject) others() (list []dsn.Recipient) {
	if s.Whole == nil {
		return nil
	}
	own := make(map[int]bool)
	for i := range s.Delivery.States {
		own[s.Delivery.States[i].Index] = true
	}
	for i := range s.Whole.Waiting {
		from, at := &s.Whole.Message.Recipients[i], &s.Whole.Waiting[i]
		if own[at.Index] || from.Notify != 0 && from.Notify&queue.NotifyDelay == 0 {
			continue
		}
		r := dsn.Recipient{
			Address: from.Address, OriginalType: from.OriginalType, Original: from.Original, LastAttempt: at.Tried,
		}
		reply := at.Reply.Bounded()
		switch {
		case at.Attempts > 0:
		case at.Postponed.IsZero():
			reply = queue.Reply{Enhanced: "4.0.0", Text: "it waits for its first attempt"}
		default:
			reply = queue.Reply{Enhanced: "4.4.1", Text: at.Reason}
		}
		say(&r, &reply)
		list = append(list, r)
	}
	return list
}

// say adds the last reply about a recipient.
func say(r *dsn.Recipient, reply *queue.Reply) {
	r.Status, r.Text = reply.Enhanced, reply.Text
	if reply.Host != "" {
		r.Remote, r.Code = reply.Host, reply.Code
	}
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
