package queuetest

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// run is one case on its way: the queue, the time, and shorthands that end the
// case where the queue fails at what is not the case's subject.
type run struct {
	reporter
	ctx   context.Context
	in    *Instance
	q     queue.Queue
	now   time.Time
	count int

	can    need          // what the subject can do
	shared bool          // Implementation.Shared
	keep   time.Duration // Implementation.KeepKeys

	keepOutcomes time.Duration
}

// Fatalf reports a problem and ends the case.
func (r *run) Fatalf(format string, args ...any) {
	r.Helper()
	r.Errorf(format, args...)
	r.FailNow()
}

// check ends the case if something that must work failed.
func (r *run) check(what string, err error) {
	r.Helper()
	if err != nil {
		r.Fatalf("%s: %v", what, err)
	}
}

// advance lets time pass.
func (r *run) advance(d time.Duration) {
	r.now = r.now.Add(d)
	if r.in.Advance != nil {
		r.in.Advance(d)
	}
}

// message makes a message, each with content of its own, to one recipient where
// none is named.
func (r *run) message(to ...string) *queue.Message {
	r.count++
	if len(to) == 0 {
		to = []string{"rcpt@example.com"}
	}
	m := &queue.Message{
		From:    "sender@example.org",
		Content: queue.String(fmt.Sprintf("Subject: message %d\r\n\r\nText.\r\n", r.count)),
	}
	for _, address := range to {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: address})
	}
	return m
}

// put puts a message and returns its id.
func (r *run) put(m *queue.Message) string {
	r.Helper()
	id, err := r.q.Put(r.ctx, r.now, m)
	r.check("Put", err)
	return id
}

// claim claims.
func (r *run) claim(want queue.ClaimOptions) queue.Claimed {
	r.Helper()
	got, err := r.q.Claim(r.ctx, r.now, want)
	r.check("Claim", err)
	for _, d := range got.Deliveries {
		if len(d.States) == 0 || len(d.States) != len(d.Message.Recipients) {
			r.Fatalf("Claim returned a delivery with %d recipients and %d states", len(d.Message.Recipients), len(d.States))
		}
	}
	return got
}

// due claims everything that is due.
func (r *run) due() []queue.Delivery {
	r.Helper()
	return r.everything(queue.ClaimOptions{Max: 1000}).Deliveries
}

// everything claims until nothing is left of what the options admit: a shared
// queue may stop short.
func (r *run) everything(want queue.ClaimOptions) queue.Claimed {
	r.Helper()
	got := r.claim(want)
	for range 1000 {
		if !r.shared || got.Next.IsZero() || got.Next.After(r.now) {
			return got
		}
		more := r.claim(want)
		got.Deliveries = append(got.Deliveries, more.Deliveries...)
		got.Unreadable = append(got.Unreadable, more.Unreadable...)
		got.Next = more.Next
	}
	r.Fatalf("a thousand claims, and the queue says that there is more")
	return got
}

// same compares times that were given to the queue and come back: exactly, unless
// it has a clock of its own (rule X1).
func (r *run) same(got, want time.Time) bool {
	if r.in.Advance == nil || got.IsZero() || want.IsZero() {
		return got.Equal(want)
	}
	off := got.Sub(want)
	return -time.Millisecond <= off && off <= time.Millisecond
}

// eventually gives a shared queue the time that the rules leave it.
func (r *run) eventually(is func() bool) {
	if is() || !r.shared {
		return
	}
	r.advance(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience / 6); !is() && time.Now().Before(end); {
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			return
		}
	}
}

// one claims the one delivery that is due.
func (r *run) one() queue.Delivery {
	r.Helper()
	got := r.due()
	if len(got) != 1 {
		r.Fatalf("Claim returned %s, want one delivery", describe(got))
	}
	return got[0]
}

// first claims and returns the first delivery, which must be there.
func (r *run) first(want queue.ClaimOptions) queue.Delivery {
	r.Helper()
	got := r.claim(want).Deliveries
	if len(got) == 0 {
		r.Fatalf("Claim of %+v returned nothing, want a delivery", want)
	}
	return got[0]
}

// some claims everything that is due, which must be so many deliveries.
func (r *run) some(n int) []queue.Delivery {
	r.Helper()
	got := r.due()
	if len(got) != n {
		r.Fatalf("Claim returned %s, want %d", describe(got), n)
	}
	return got
}

// none claims and wants nothing to be due.
func (r *run) none(when string) {
	r.Helper()
	if got := r.due(); len(got) != 0 {
		r.Fatalf("%s: Claim returned %s, want nothing", when, describe(got))
	}
}

// settle settles one delivery, which must work.
func (r *run) settle(s queue.Settlement) queue.Settled {
	r.Helper()
	got := r.trySettle(s)
	r.check("Settle", got.Err)
	return got
}

// trySettle settles one delivery, which may fail.
func (r *run) trySettle(s queue.Settlement) queue.Settled {
	r.Helper()
	got, err := r.q.Settle(r.ctx, r.now, []queue.Settlement{s})
	r.check("Settle", err)
	if len(got) != 1 {
		r.Fatalf("Settle of one returned %d results", len(got))
	}
	return got[0]
}

// all is the same outcome for every recipient of a delivery.
func all(d queue.Delivery, o queue.Outcome) queue.Settlement {
	s := queue.Settlement{Lease: d.Lease}
	for _, state := range d.States {
		s.Results = append(s.Results, queue.Result{Recipient: state.Index, Outcome: o})
	}
	return s
}

// deferred is a settlement that puts every recipient off until a time.
func deferred(d queue.Delivery, until time.Time) queue.Settlement {
	s := all(d, queue.Deferred)
	s.NotBefore = until
	return s
}

// content reads a message's content.
func (r *run) content(id string) string {
	r.Helper()
	c, err := r.q.Open(r.ctx, id)
	r.check("Open", err)
	text, err := readAll(c)
	r.check("reading the content", err)
	return text
}

// readAll reads content from beginning to end.
func readAll(c queue.Content) (string, error) {
	rd, err := c.Open()
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(rd)
	if closeErr := rd.Close(); err == nil {
		err = closeErr
	}
	return string(text), err
}

// reopen closes the queue and opens it again.
func (r *run) reopen() {
	r.Helper()
	r.check("Close", queue.Close(r.q))
	q, err := r.in.Reopen()
	r.check("opening again", err)
	r.q = q
}

// crash cuts the power and opens what is left.
func (r *run) crash() {
	r.Helper()
	q, err := r.in.Crash()
	r.check("opening after a crash", err)
	r.q = q
}

// describe names deliveries in a few words.
func describe(ds []queue.Delivery) string {
	text := fmt.Sprintf("%d deliveries", len(ds))
	for i, d := range ds {
		if i == 8 {
			return text + " ..."
		}
		text += fmt.Sprintf(" %s/%s", d.Lease.Message, d.Lease.Destination)
	}
	return text
}

// textOf is what a message's content says, for comparing.
func textOf(m *queue.Message) string { return string(m.Content.(queue.String)) }
