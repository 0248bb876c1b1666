package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// TestFail ends mail with a report, whatever it waits for and whoever has it in hand.
func TestFail(t *testing.T) {
	for _, c := range []struct {
		name  string
		start bool
		make  func(o *office) string
	}{
		{"new, without a run", false, func(o *office) string { return o.submit(to("t", "u@b.test", "v@c.test")) }},
		{"not due", true, func(o *office) string {
			m := to("t", "u@b.test", "v@c.test")
			m.NotBefore = o.began.Add(time.Hour)
			return o.submit(m)
		}},
		{"on hold", true, func(o *office) string {
			m := to("t", "u@b.test", "v@c.test")
			m.NotBefore = o.began.Add(time.Minute)
			id := o.submit(m)
			if err := o.agent.Hold(o.t.Context(), id); err != nil {
				o.t.Fatal(err)
			}
			return id
		}},
		{"suspended", true, func(o *office) string {
			o.suspend(suspensionOf(queue.OfSite, "mx.shared.test", time.Time{}))
			return o.submit(to("t", "u@b.test", "v@c.test"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, hosts := newThreeSites(t)
				if c.start {
					o.start()
				}
				id := c.make(o)
				if c.start {
					pass(2 * time.Second)
				}
				if err := o.agent.Fail(t.Context(), id, "the account is closed"); err != nil {
					t.Fatalf("Fail = %v", err)
				}
				if _, err := queue.Show(t.Context(), o.queue, id); !errors.Is(err, queue.ErrNotFound) {
					t.Errorf("the message is still there: %v", err)
				}
				if err := o.agent.Fail(t.Context(), id, ""); !errors.Is(err, queue.ErrNotFound) {
					t.Errorf("Fail of what has failed = %v, want ErrNotFound", err)
				}
				if !c.start {
					o.start()
				}
				pass(time.Minute)
				failed := o.of(delivery.Failed)
				if len(failed) != 2 || !strings.Contains(failed[0].Reply, "the account is closed") || failed[0].Enhanced != "5.3.0" ||
					len(o.of(delivery.Bounced)) == 0 {
					t.Errorf("events %+v, want two that failed, and a report", failed)
				}
				if n := len(hosts["mx.shared.test"].Messages()); n != 0 {
					t.Errorf("%d messages went out", n)
				}
				reports := hosts["mx.a.test"].Messages()
				if len(reports) == 0 {
					t.Fatal("the sender has no report")
				}
				all := ""
				for _, m := range reports {
					all += string(m.Content)
				}
				for _, want := range []string{"the account is closed", "Action: failed", "Status: 5.3.0", "u@b.test", "v@c.test"} {
					if !strings.Contains(all, want) {
						t.Errorf("the reports lack %q:\n%s", want, all)
					}
				}
			})
		})
	}
}

// TestFailInACrowd ends mail that an agent has claimed and that waits for its turn, and
// leaves to its attempt what is in flight.
func TestFailInACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := slowHost(time.Minute)
		o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
		o.agent.Settings.Limits.PerSite = 1
		var ids []string
		for i := range 5 {
			ids = append(ids, o.submit(numbered(i, queue.AtLeastOnce, "u@e.test")))
		}
		o.start()
		pass(2 * time.Second)
		busy := 0
		for _, id := range ids {
			switch err := o.agent.Fail(t.Context(), id, ""); {
			case errors.Is(err, delivery.ErrInFlight):
				busy++
			case err != nil:
				t.Errorf("Fail = %v", err)
			}
		}
		if n := len(o.of(delivery.Failed)); busy != 1 || n != 4 {
			t.Errorf("%d are in flight and %d have failed, want 1 and 4", busy, n)
		}
		pass(10 * time.Minute)
		if n := len(host.Messages()); n != 1 || len(o.of(delivery.Delivered)) != 1 || o.left() != 0 {
			t.Errorf("the host has %d messages, %d are left, want what was in flight delivered", n, o.left())
		}
	})
}

// TestOperationsBySelection does to all that a selection names what can be done to one.
func TestOperationsBySelection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := newThreeSites(t)
		o.agent.Settings.Warn = -1
		for i := range 70 {
			m := to(fmt.Sprint("t", i%2), fmt.Sprintf("u%d@b.test", i), fmt.Sprintf("v%d@c.test", i))
			m.NotBefore = o.began.Add(24 * time.Hour)
			if i%10 == 0 {
				m.From = "other@elsewhere.test"
			}
			o.submit(m)
		}
		o.start()
		pass(time.Minute)
		want := func(what string, n int, err error, count int) {
			t.Helper()
			if err != nil || n != count {
				t.Errorf("%s = %d, %v, want %d", what, n, err, count)
			}
		}
		n, err := o.agent.HoldAll(t.Context(), queue.Selection{Tenant: "t0"}, queue.Terms{Until: o.began.Add(48 * time.Hour), Reason: "why"})
		want("HoldAll of a tenant", n, err, 35)
		n, err = o.agent.ReleaseAll(t.Context(), queue.Selection{From: "other@elsewhere.test"})
		want("ReleaseAll of a sender", n, err, 7)
		n, err = o.agent.ReleaseAll(t.Context(), queue.Selection{From: "other@elsewhere.test"})
		want("ReleaseAll of what is released", n, err, 0)
		n, err = o.agent.DropAll(t.Context(), queue.Selection{From: "@elsewhere.test", Destination: "c.test"})
		want("DropAll of a sender's mail to a domain", n, err, 7)
		if left := o.left(); left != 133 {
			t.Errorf("%d deliveries are left, want the 7 to the other domain still there", left)
		}
		if n := len(o.of(delivery.Dropped)); n != 7 {
			t.Errorf("%d were dropped, by the events", n)
		}
		n, err = o.agent.FailAll(t.Context(), queue.Selection{Destination: "b.test", Tenant: "t1"}, "closed")
		want("FailAll of a tenant's mail to a domain", n, err, 35)
		pass(time.Minute)
		if left := o.left(); left != 98 || len(o.of(delivery.Failed)) != 35 || len(o.of(delivery.Bounced)) != 35 {
			t.Errorf("%d deliveries are left, %d have failed with %d reports", left, len(o.of(delivery.Failed)), len(o.of(delivery.Bounced)))
		}
		n, err = o.agent.Flush(t.Context(), queue.Selection{Tenant: "t1"})
		want("Flush of a tenant", n, err, 35)
		pass(time.Minute)
		if n := len(o.delivered()) - 35; n != 35 { // the reports, too
			t.Errorf("%d were delivered after the flush, want 35", n)
		}
		pass(24 * time.Hour)
		if left := o.left(); left != 56 {
			t.Errorf("%d deliveries are left, want 28 messages on hold", left)
		}
		pass(24 * time.Hour)
		if left := o.left(); left != 0 {
			t.Errorf("%d deliveries are left after the end of the holds", left)
		}
	})
}

// TestHoldInACrowd: what is held does not begin any more.
func TestHoldInACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := slowHost(time.Minute)
		o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
		o.agent.Settings.Limits.PerSite = 1
		for i := range 5 {
			o.submit(numbered(i, queue.AtLeastOnce, "u@e.test"))
		}
		o.start()
		pass(2 * time.Second)
		on := queue.Terms{Until: o.began.Add(time.Hour), Reason: "why"}
		if n, err := o.agent.HoldAll(t.Context(), queue.Selection{}, on); n != 5 || err != nil {
			t.Errorf("HoldAll = %d, %v", n, err)
		}
		pass(50 * time.Minute)
		if n := len(host.Messages()); n != 1 {
			t.Errorf("%d messages went out, want what was in flight", n)
		}
		held := o.of(delivery.Held)
		if len(held) != 5 || held[0].Reply != "why" || !held[0].Next.Equal(on.Until) {
			t.Errorf("events %+v", held)
		}
		pass(20 * time.Minute)
		if n := len(host.Messages()); n != 5 {
			t.Errorf("%d messages went out after the end of the holds, want all", n)
		}
	})
}

// pagedQueue is a queue that notes how many messages it has listed at once, and whose list
// others have a turn before.
type pagedQueue struct {
	*memory.Queue
	pages []int
	turn  func()
}

func (q *pagedQueue) List(ctx context.Context, want queue.ListOptions) (queue.Page, error) {
	q.turn()
	page, err := q.Queue.List(ctx, want)
	q.pages = append(q.pages, len(page.Entries))
	return page, err
}

// TestSelectionsShareTheQueue: a large selection is gone through in pages, between which
// others use the queue.
func TestSelectionsShareTheQueue(t *testing.T) {
	const many = 5000
	now := time.Now()
	q := &pagedQueue{Queue: new(memory.Queue)}
	put := func(m *queue.Message) {
		m.NotBefore = now.Add(time.Hour)
		if _, err := q.Put(t.Context(), now, m); err != nil {
			t.Fatal(err)
		}
	}
	q.turn = func() { put(to("other", "u@c.test")) }
	for i := range many {
		put(to("t", fmt.Sprintf("u%d@b.test", i)))
	}
	agent := &delivery.Agent{Queue: q}
	n, err := agent.HoldAll(t.Context(), queue.Selection{Tenant: "t"}, queue.Terms{Reason: "why"})
	if n != many || err != nil {
		t.Errorf("HoldAll = %d, %v, want %d", n, err, many)
	}
	if len(q.pages) == 0 || slices.Max(q.pages) > 500 {
		t.Errorf("pages of %d messages, want no more than 500 in one", q.pages)
	}
}
