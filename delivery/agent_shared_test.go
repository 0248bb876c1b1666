package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// slowHost takes so long for each message, on any number of connections.
func slowHost(wait time.Duration) *smtptest.Host {
	return &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Final, Delay: wait}}}
}

// numbered is a message that tells which of many it is.
func numbered(i int, guarantee queue.Guarantee, to string) *queue.Message {
	return &queue.Message{
		Guarantee: guarantee, Recipients: []queue.Recipient{{Address: to}},
		Content: queue.String(fmt.Sprintf("Subject: %d\r\n\r\ntext\r\n", i)),
	}
}

// spool opens a queue in a directory.
func spool(t *testing.T, dir string) *disk.Spool {
	t.Helper()
	q, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func closeQueue(t *testing.T, q *disk.Spool) {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

// again is another agent on another queue in the same internet.
func (o *office) again(q queue.Queue) *office {
	o.t.Helper()
	second := newOfficeIn(o.t, o.net)
	second.queue, second.agent.Queue = q, q
	second.agent.Settings.Limits = o.agent.Settings.Limits
	return second
}

// TestRestartInACrowd: what an agent left in the queue for want of room is no
// reason to wait for the next one, however the first has ended.
func TestRestartInACrowd(t *testing.T) {
	for _, c := range []struct {
		name  string
		crash bool
	}{{"after an orderly end", false}, {"after a crash", true}} {
		t.Run(c.name, func(t *testing.T) {
			dir, copied := t.TempDir(), t.TempDir()+"/after"
			synctest.Test(t, func(t *testing.T) {
				host := slowHost(20 * time.Millisecond)
				o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
				q := spool(t, dir)
				o.queue, o.agent.Queue = q, q
				o.agent.Settings.Limits.Connections, o.agent.Settings.Limits.PerSite = 4, 4
				for i := range 400 {
					o.submit(numbered(i, queue.AtLeastOnce, "u@e.test"))
				}
				o.start()
				for len(host.Messages()) < 200 {
					pass(10 * time.Millisecond)
				}
				if c.crash {
					if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
						t.Fatal(err)
					}
				}
				o.stop()
				closeQueue(t, q)
				if !c.crash {
					copied = dir
				}
				q = spool(t, copied)
				before := len(host.Messages())
				next := o.again(q).start()
				pass(time.Second)
				if n := len(host.Messages()) - before; n == 0 {
					t.Error("nothing goes out within a second of the restart")
				}
				pass(9 * time.Second)
				if left := next.left(); left > 0 {
					t.Errorf("ten seconds after the restart %d deliveries are left", left)
				}
				next.stop()
				closeQueue(t, q)
			})
		})
	}
}

// TestCrowdingIsOnesOwn: mail for which one agent has no room goes out by another
// on the same queue.
func TestCrowdingIsOnesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := slowHost(20 * time.Millisecond)
		o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
		q := new(memory.Queue)
		o.queue, o.agent.Queue = q, q
		o.agent.Settings.Limits = delivery.Limits{PerSite: 1}
		for i := range 1000 {
			o.submit(numbered(i, queue.AtLeastOnce, "u@e.test"))
		}
		o.start()
		for len(host.Messages()) < 300 { // one after the other; there is room for few
			pass(10 * time.Millisecond)
		}
		other := o.again(q)
		other.agent.Settings.Limits = delivery.Limits{}
		other.start()
		pass(4 * time.Second) // the first alone would need 14 s
		if left := o.left(); left > 0 {
			t.Errorf("%d deliveries are left that another agent has room for", left)
		}
		seen := make(map[string]bool)
		for _, m := range host.Messages() {
			if seen[string(m.Content)] {
				t.Errorf("a message went out twice: %q", m.Content)
			}
			seen[string(m.Content)] = true
		}
	})
}

// TestMailOfOthers: what somebody else puts into the queue is noticed at once.
func TestMailOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &smtptest.Host{Extensions: full()}
		o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
		o.start()
		pass(time.Hour)
		if _, err := o.queue.Put(t.Context(), time.Now(), message("u@e.test")); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if n := len(host.Messages()); n != 1 {
			t.Errorf("the host has %d messages, want the one that another process has put", n)
		}
	})
}

// TestAtMostOnceThatWasNotBegun: of mail that is to be sent at most once, only what
// had been begun when the machine died is given up.
func TestAtMostOnceThatWasNotBegun(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()+"/after"
	synctest.Test(t, func(t *testing.T) {
		host := slowHost(5 * time.Minute)
		o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
		q := spool(t, dir)
		o.queue, o.agent.Queue = q, q
		o.agent.Settings.Limits.PerSite = 2
		o.start()
		for i := range 200 {
			o.submit(numbered(i, queue.AtMostOnce, "u@e.test"))
		}
		pass(time.Second)
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil { // the machine dies here
			t.Fatal(err)
		}
		begun := len(host.Messages())
		o.stop()
		closeQueue(t, q)
		q = spool(t, copied)
		next := o.again(q).start()
		pass(24 * time.Hour)
		failed, delivered := len(next.of(delivery.Failed)), len(next.of(delivery.Delivered))
		if failed == 0 || failed > begun+2 || failed+delivered != 200 {
			t.Errorf("%d were given up and %d delivered, want all 200 and at most the %d given up that were begun",
				failed, delivered, begun+2)
		}
		next.stop()
		closeQueue(t, q)
	})
}

// TestMarkThatFails: where the queue cannot record that a message is about to be
// sent which may be sent at most once, it is not sent and no attempt is charged;
// and it goes out when the queue can.
func TestMarkThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{
			{At: smtptest.Rcpt, Address: "refused@e.test", Reply: "550 5.1.1 nobody"},
		}}
		o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
		q := &faultyQueue{Queue: new(memory.Queue), mark: func() error { return queue.ErrFull }}
		o.queue, o.agent.Queue = q, q
		o.start()
		m := message("u@e.test", "refused@e.test")
		m.Guarantee = queue.AtMostOnce
		id := o.submit(m)
		o.submit(message("other@e.test"))
		pass(10 * time.Second)
		if n := len(host.Messages()); n != 1 {
			t.Errorf("the host has %d messages, want the one that needs no mark", n)
		}
		e, err := queue.Show(t.Context(), q, id)
		if err != nil || len(e.Waiting) != 1 || e.Waiting[0].Attempts != 0 {
			t.Errorf("the message stands at %+v, %v, want one recipient left without an attempt", e.Waiting, err)
		}
		if n := len(o.of(delivery.Trouble)); n != 1 {
			t.Errorf("the trouble was told %d times, want once", n)
		}
		if got := o.agent.Stats().Trouble; !errors.Is(got, queue.ErrFull) {
			t.Errorf("Stats has the trouble %v, want %v", got, queue.ErrFull)
		}
		q.set(func() { q.mark = nil })
		pass(10 * time.Second)
		if n := len(host.Messages()); n != 2 {
			t.Errorf("the host has %d messages once the queue works, want 2", n)
		}
		if got := o.agent.Stats().Trouble; got != nil {
			t.Errorf("Stats has the trouble %v once it is over", got)
		}
	})
}

// TestOneBadSettlement: a settlement that the queue cannot store keeps no other
// from being stored.
func TestOneBadSettlement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &smtptest.Host{Extensions: full()}
		o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
		var bad string
		tries := 0
		q := &faultyQueue{Queue: new(memory.Queue)}
		q.one = func(s *queue.Settlement) error {
			if s.Lease.Message != bad {
				return nil
			}
			tries++
			return fmt.Errorf("%w: %s", queue.ErrDamaged, bad)
		}
		o.queue, o.agent.Queue = q, q
		bad = o.submit(message("u@e.test"))
		o.start()
		pass(time.Minute)
		for i := range 2000 {
			o.submit(numbered(i, queue.AtLeastOnce, "u@e.test"))
		}
		pass(time.Hour)
		if n, left := len(host.Messages()), o.left(); n != 2001 || left != 1 {
			t.Errorf("the host has %d messages and %d deliveries are left, want 2001 and the one that cannot be settled", n, left)
		}
		q.set(func() {
			if tries < 10 || tries > 100 {
				t.Errorf("it was tried %d times in an hour, want about once a minute", tries)
			}
		})
		told := o.of(delivery.Trouble)
		if len(told) != 1 || told[0].ID != bad || !errors.Is(told[0].Err, queue.ErrDamaged) {
			t.Errorf("the trouble told is %+v, want it once, of %s", told, bad)
		}
		q.set(func() { bad = "" })
		pass(2 * time.Minute)
		if left := o.left(); left != 0 {
			t.Errorf("%d deliveries are left once it can be settled", left)
		}
	})
}

// TestQueueThatFailedForGood: Run returns, and says why, whatever the queue was
// doing when it failed, and cuts off what could not be recorded any more.
func TestQueueThatFailedForGood(t *testing.T) {
	broken := fmt.Errorf("%w: no device", disk.ErrFailed)
	for _, c := range []struct {
		name string
		fail func(q *faultyQueue)
	}{
		{"at a claim", func(q *faultyQueue) { q.claim = func() error { return broken } }},
		{"at a settlement", func(q *faultyQueue) { q.settle = func([]queue.Settlement) error { return broken } }},
		{"at a mark", func(q *faultyQueue) { q.mark = func() error { return broken } }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := slowHost(time.Minute)
				o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
				q := &faultyQueue{Queue: new(memory.Queue)}
				o.queue, o.agent.Queue = q, q
				for i := range 10 {
					o.submit(numbered(i, queue.AtMostOnce, "u@e.test"))
				}
				c.fail(q)
				ended := make(chan error, 1)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go func() { ended <- o.agent.Run(ctx) }()
				pass(5 * time.Minute)
				select {
				case err := <-ended:
					if !errors.Is(err, queue.ErrFailed) || !errors.Is(err, disk.ErrFailed) {
						t.Errorf("Run = %v, want what the queue said", err)
					}
				default:
					t.Error("Run goes on with a queue that has failed for good")
					cancel()
					<-ended
				}
				kinds := []delivery.EventKind{delivery.Deferred, delivery.Failed, delivery.UnknownOutcome}
				if n := len(o.of(delivery.Trouble)); n == 0 {
					t.Error("nobody was told")
				}
				if slices.ContainsFunc(kinds, func(k delivery.EventKind) bool { return len(o.of(k)) > 0 }) {
					t.Error("an attempt was charged for what could not be recorded")
				}
				o.net.Close()
			})
		})
	}
}
