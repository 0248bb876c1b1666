package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// crampedQueue has no room for reports for a while.
type crampedQueue struct {
	*memory.Queue
	refusals int
}

// Settle records what a queue without room does: what was delivered, and not what
// has failed.
func (q *crampedQueue) Settle(ctx context.Context, now time.Time, batch []queue.Settlement) ([]queue.Settled, error) {
	list := make([]queue.Settled, len(batch))
	for i, b := range batch {
		full := q.refusals > 0 && len(b.Create) > 0
		if full {
			q.refusals--
			var left []queue.Result
			for _, r := range b.Results {
				if r.Outcome != queue.Failed {
					left = append(left, r)
				}
			}
			b.Create, b.Results, b.NotBefore = nil, left, now.Add(time.Minute)
		}
		done, err := q.Queue.Settle(ctx, now, []queue.Settlement{b})
		if err != nil {
			return nil, err
		}
		list[i] = done[0]
		list[i].NoRoom = full
	}
	return list, nil
}

// silentlyCramped is one that does not say that anything has changed.
type silentlyCramped struct{ *crampedQueue }

func (q silentlyCramped) Wait(ctx context.Context, _ uint64) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestNoRoomForTheReport: where the queue has no room for the report of a failure,
// nobody is told that the recipient has failed, who is tried again in a minute, and
// those who were delivered to get nothing twice.
func TestNoRoomForTheReport(t *testing.T) {
	for _, silent := range []bool{false, true} {
		t.Run(fmt.Sprintf("QUE-4 in a queue that tells of nothing: %t", silent), func(t *testing.T) { noRoomForTheReport(t, silent) })
	}
}

func noRoomForTheReport(t *testing.T, silent bool) {
	synctest.Test(t, func(t *testing.T) {
		host := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{
			{At: smtptest.Rcpt, Address: "refused@e.test", Reply: "550 5.1.1 nobody"},
		}}
		o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
		q := &crampedQueue{Queue: new(memory.Queue), refusals: 3}
		o.queue, o.agent.Queue = q, q
		if silent {
			o.agent.Queue = silentlyCramped{q}
		}
		o.start()
		id := o.submit(message("u@e.test", "refused@e.test"))
		failures := func() (n int) {
			for _, e := range o.of(delivery.Failed) {
				if e.ID == id {
					n++
				}
			}
			return n
		}
		pass(30 * time.Second)
		if n := failures(); n != 0 {
			t.Errorf("%d failures were told of that are not recorded", n)
		}
		pass(2*time.Minute + 40*time.Second) // ten seconds after the third minute
		if n := failures(); n != 1 {
			t.Errorf("the failure was told %d times once there was room, want once", n)
		}
		if n := len(o.of(delivery.Bounced)); n != 1 {
			t.Errorf("%d reports, want one", n)
		}
		if n := len(o.of(delivery.Delivered)); n != 1 {
			t.Errorf("%d deliveries were told of, want that to the other recipient", n)
		}
		delivered := 0
		for _, m := range host.Messages() {
			for _, to := range m.Recipients {
				if to.Address == "u@e.test" {
					delivered++
				}
			}
		}
		if delivered != 1 {
			t.Errorf("the other recipient got the message %d times, want once", delivered)
		}
	})
}

// TestNoRoomForOtherReports: the same is true of mail whose time is over, and of mail that
// somebody gives up, who is told that there is no room.
func TestNoRoomForOtherReports(t *testing.T) {
	for _, given := range []bool{false, true} {
		name := "QUE-4 mail whose time is over"
		if given {
			name = "QUE-4 mail that is given up"
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, toHost(&smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: "450 4.2.1 later"}}}))
				q := &crampedQueue{Queue: new(memory.Queue), refusals: 1}
				o.queue, o.agent.Queue = q, q
				m := message("u@e.test")
				m.Expires = o.began.Add(time.Hour)
				id := o.submit(m)
				kind := delivery.Expired
				if given {
					kind = delivery.Failed
					if err := o.agent.Fail(t.Context(), id, "not wanted"); !errors.Is(err, queue.ErrFull) {
						t.Errorf("Fail = %v, want %v", err, queue.ErrFull)
					}
				} else {
					o.start()
					pass(time.Hour + time.Second)
				}
				if n := len(o.of(kind)); n != 0 {
					t.Errorf("%v told %d times, and it is not recorded", kind, n)
				}
				if given {
					if err := o.agent.Fail(t.Context(), id, "not wanted"); err != nil {
						t.Errorf("Fail = %v once there is room", err)
					}
				} else {
					pass(2 * time.Minute)
				}
				if n := len(o.of(kind)); n != 1 || len(o.of(delivery.Bounced)) != 1 {
					t.Errorf("%v told %d times with %d reports once there is room", kind, n, len(o.of(delivery.Bounced)))
				}
			})
		})
	}
}
