package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// tried notes when settlements of messages were tried, and fails some of them.
type tried struct {
	mu  sync.Mutex
	at  map[string][]time.Time
	bad map[string]bool
}

func (s *tried) one(of *queue.Settlement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = make(map[string][]time.Time)
	}
	s.at[of.Lease.Message] = append(s.at[of.Lease.Message], time.Now())
	if s.bad[of.Lease.Message] {
		return queue.ErrDamaged
	}
	return nil
}

func (s *tried) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = nil
}

// badSettlements is an agent whose settlements of some messages the queue cannot store, which
// were tried for the first time at different times.
func badSettlements(t *testing.T) (o *office, s *tried, ids []string) {
	o = newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
	s = &tried{bad: make(map[string]bool)}
	q := &faultyQueue{Queue: new(memory.Queue), one: s.one}
	o.queue, o.agent.Queue = q, q
	o.start()
	for range 3 {
		m := message("u@e.test")
		m.NotBefore = time.Now().Add(time.Second)
		id := o.submit(m)
		s.mu.Lock()
		s.bad[id] = true
		s.mu.Unlock()
		ids = append(ids, id)
		pass(3*time.Second + 30*time.Millisecond)
	}
	return o, s, ids
}

// TestSettlementsThatWait: a settlement that cannot be stored while others can is tried
// after pauses of its own, which grow to a minute, whenever those of others are over; and
// nobody else's waits for it.
func TestSettlementsThatWait(t *testing.T) {
	t.Run("QUE-13 each has its own pauses", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, s, ids := badSettlements(t)
			pass(10 * time.Minute)
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, id := range ids {
				pause := 100 * time.Millisecond
				if len(s.at[id]) < 18 {
					t.Errorf("%s was tried %d times in ten minutes", id, len(s.at[id]))
				}
				for i := 1; i < len(s.at[id]); i++ {
					if got := s.at[id][i].Sub(s.at[id][i-1]); got != pause {
						t.Errorf("%s was tried again after %v, want %v", id, got, pause)
					}
					pause = min(2*pause, time.Minute)
				}
			}
		})
	})
	t.Run("QUE-13 at the end they are tried at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o, s, _ := badSettlements(t)
			pass(10 * time.Minute)
			s.mend()
			began := time.Now()
			o.stop()
			if took := time.Since(began); o.left() != 0 || took > time.Second {
				t.Errorf("%d deliveries are left after %v, want none at once", o.left(), took)
			}
		})
	})
	for name, world := range map[string]func(t *testing.T) *office{
		"beside nothing": func(t *testing.T) *office {
			return newOffice(t, toHost(&smtptest.Host{Extensions: full()})).start()
		},
		"beside some that cannot be stored": func(t *testing.T) *office {
			o, _, _ := badSettlements(t)
			return o
		},
	} {
		t.Run("QUE-13 others are told at once, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := world(t)
				pass(time.Minute)
				sent := make(map[string]time.Time)
				for i := range 20 {
					id := o.submit(numbered(i, queue.AtLeastOnce, "u@e.test"))
					sent[id] = time.Now()
					pass(10 * time.Millisecond)
				}
				got := 0
				for _, e := range o.of(delivery.Delivered) {
					if at, mine := sent[e.ID]; mine {
						if got++; e.Time.Sub(at) > 5*time.Millisecond {
							t.Errorf("%s was told after %v", e.ID, e.Time.Sub(at))
						}
					}
				}
				if got != len(sent) {
					t.Errorf("%d of %d were told", got, len(sent))
				}
				before := time.Now()
				if name == "beside nothing" {
					if o.stop(); time.Since(before) > 50*time.Millisecond {
						t.Errorf("Run ends after %v, with nothing to do", time.Since(before))
					}
				}
			})
		})
	}
}

// TestEndWhileTheQueueFails: once an agent is to end, it tries for ten seconds to record
// what it has, if it has the time, and records it if the queue works again meanwhile.
func TestEndWhileTheQueueFails(t *testing.T) {
	for _, c := range []struct {
		name       string
		drain      time.Duration
		mended     time.Duration // after the end has begun; zero is never
		least, end time.Duration
		left       int
	}{
		{"for good", 0, 0, 10 * time.Second, 11 * time.Second, 1},
		{"for good, and there is less time", time.Second, 0, 3 * time.Second, 4 * time.Second, 1},
		{"and works after five seconds", 0, 5 * time.Second, 5 * time.Second, 6 * time.Second, 0},
	} {
		for _, one := range []bool{false, true} {
			t.Run(fmt.Sprintf("QUE-10 %s, one of them: %t", c.name, one), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
					q := &faultyQueue{Queue: new(memory.Queue)}
					if one {
						q.one = func(*queue.Settlement) error { return errStorage }
					} else {
						q.settle = func([]queue.Settlement) error { return errStorage }
					}
					o.queue, o.agent.Queue = q, q
					o.agent.Drain = c.drain
					o.start()
					o.submit(message("u@e.test"))
					pass(time.Minute)
					if c.mended > 0 {
						time.AfterFunc(c.mended, func() {
							q.set(func() { q.settle = nil; q.one = func(*queue.Settlement) error { return nil } })
						})
					}
					began := time.Now()
					o.stop()
					if took := time.Since(began); took < c.least || took > c.end {
						t.Errorf("Run ended after %v, want %v to %v", took, c.least, c.end)
					}
					if n := o.left(); n != c.left {
						t.Errorf("%d deliveries are left, want %d", n, c.left)
					}
				})
			})
		}
	}
}

// TestQueueEndsInFlight: a queue that is closed, or has failed for good, is not asked to
// store again what it does not store any more, and Run returns.
func TestQueueEndsInFlight(t *testing.T) {
	for _, end := range []error{queue.ErrClosed, fmt.Errorf("%w: no device", queue.ErrFailed)} {
		for _, failed := range []bool{false, true} {
			t.Run(fmt.Sprintf("QUE-10 %v, and it had not stored anything before: %t", end, failed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := newOffice(t, toHost(slowHost(10*time.Second)))
					defer o.net.Close()
					q := &silentlyEnding{faultyQueue{Queue: new(memory.Queue)}}
					o.agent.Queue = q
					o.submit(message("u@e.test"))
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					result := make(chan error, 1)
					go func() { result <- o.agent.Run(ctx) }()
					pass(5 * time.Second)
					calls := 0
					ends := func() {
						q.settle = func([]queue.Settlement) error { calls++; return end }
						q.claim = func() error { return end }
					}
					if failed {
						q.set(func() { q.settle = func([]queue.Settlement) error { return errStorage } })
						pass(10 * time.Second)
					}
					q.set(ends)
					began := time.Now()
					select {
					case err := <-result:
						if !errors.Is(err, end) || time.Since(began) > 6*time.Second {
							t.Errorf("Run = %v after %v, want %v", err, time.Since(began), end)
						}
					case <-time.After(time.Hour):
						t.Error("Run goes on")
						cancel()
						<-result
					}
					if calls != 1 {
						t.Errorf("the settlement was tried %d times, want once", calls)
					}
				})
			})
		}
	}
}

// silentlyEnding is a queue that does not say that anything has changed.
type silentlyEnding struct{ faultyQueue }

func (q *silentlyEnding) Wait(ctx context.Context, _ uint64) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestNothingBeginsThatCannotBeStored: while the queue stores no settlements no other mail
// is sent.
func TestNothingBeginsThatCannotBeStored(t *testing.T) {
	t.Run("QUE-13", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const n = 200
			host := slowHost(4 * time.Second)
			o := newOffice(t, toHost(host))
			o.agent.Settings.Limits.PerSite = 2
			q := &faultyQueue{Queue: new(memory.Queue)}
			o.queue, o.agent.Queue = q, q
			for i := range n {
				o.submit(numbered(i, queue.AtLeastOnce, "u@e.test"))
			}
			o.start()
			pass(time.Second)
			q.set(func() { q.settle = func([]queue.Settlement) error { return errStorage } })
			pass(time.Minute)
			before := len(host.Messages())
			if before == 0 || before > 4 {
				t.Errorf("%d messages were sent, want those that were in flight", before)
			}
			pass(10 * time.Minute)
			if got := len(host.Messages()); got != before {
				t.Errorf("%d messages were sent that could not be recorded", got-before)
			}
			q.set(func() { q.settle = nil })
			pass(20 * time.Minute)
			if got, twice := contents(host); got != n || twice > 0 {
				t.Errorf("%d of %d arrived, %d of them twice", got, n, twice)
			}
		})
	})
}

// lazyQueue takes its time to lift what keeps mail back, and does not say that anything has
// changed. It is called for nothing never.
type lazyQueue struct {
	*memory.Queue
	t *testing.T
}

func (q *lazyQueue) Wait(ctx context.Context, _ uint64) error {
	<-ctx.Done()
	return ctx.Err()
}

func (q *lazyQueue) Settle(ctx context.Context, now time.Time, list []queue.Settlement) ([]queue.Settled, error) {
	if len(list) == 0 {
		q.t.Error("Settle is called with nothing to settle")
	}
	return q.Queue.Settle(ctx, now, list)
}

func (q *lazyQueue) Postpone(ctx context.Context, now time.Time, list ...queue.Postponement) error {
	if len(list) == 0 {
		q.t.Error("Postpone is called with nothing to postpone")
	}
	for _, p := range list {
		if p.Until.IsZero() && ctx.Err() == nil {
			pass(2 * time.Second)
			break
		}
	}
	return q.Queue.Postpone(ctx, now, list...)
}

func (q *lazyQueue) Flush(ctx context.Context, now time.Time, what ...queue.Selection) (int, error) {
	if len(what) == 0 {
		q.t.Error("Flush is called with nothing to flush")
	}
	pass(2 * time.Second)
	return q.Queue.Flush(ctx, now, what...)
}

// dependingOnSender is a router whose routes depend on the sender.
type dependingOnSender struct{ delivery.Router }

func (r dependingOnSender) Route(ctx context.Context, from, domain string) (mx.Route, error) {
	route, err := r.Router.Route(ctx, from, domain)
	route.BySender = true
	return route, err
}

// TestMailGoesWhenItsSiteWorks: mail that waits in the queue for a site that was down is
// sent as soon as the queue has lifted what keeps it back, whether it waits with the whole
// destination or each message by itself.
func TestMailGoesWhenItsSiteWorks(t *testing.T) {
	for _, each := range []bool{false, true} {
		t.Run(fmt.Sprintf("QUE-7 each by itself: %t", each), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, toHost(slowHost(30*time.Second)))
				q := &lazyQueue{Queue: new(memory.Queue), t: t}
				o.queue, o.agent.Queue = q, q
				o.agent.Settings.Limits.PerSite = 2
				if each {
					o.agent.Sender.Router = dependingOnSender{delivery.ByMX(&mx.Router{Resolver: o.net})}
				}
				dials, dial := 0, o.agent.Sender.Dial
				o.agent.Sender.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					if dials++; dials == 2 {
						return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
					}
					return dial(ctx, network, address)
				}
				o.start()
				o.submit(message("first@e.test"))
				pass(5 * time.Second)
				o.agent.Wake() // for the queue does not tell
				o.submit(message("second@e.test"))
				o.agent.Wake()
				pass(5 * time.Second)
				if n := len(o.of(delivery.Deferred)); n != 1 {
					t.Fatalf("%d deferred, want the one whose connection was refused", n)
				}
				o.submit(message("third@e.test"))
				o.agent.Wake()
				pass(10 * time.Second)
				if n := o.agent.Stats().Claimed; n != 1 {
					t.Fatalf("%d deliveries are claimed, want the first", n)
				}
				pass(50 * time.Second)
				got := make(map[string]bool)
				for _, e := range o.of(delivery.Delivered) {
					got[e.Recipient] = true
				}
				if !got["first@e.test"] || !got["third@e.test"] {
					t.Errorf("delivered 70 s after the first was sent: %v", got)
				}
			})
		})
	}
}

// TestPausesOfAQueueThatStoresNothing: while the queue stores nothing it is asked again after
// pauses that grow to five seconds, and again after short ones when it fails anew.
func TestPausesOfAQueueThatStoresNothing(t *testing.T) {
	t.Run("QUE-13", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
			q := &faultyQueue{Queue: new(memory.Queue)}
			o.queue, o.agent.Queue = q, q
			o.start()
			for range 2 {
				var last time.Time
				var pauses []time.Duration
				q.set(func() {
					q.settle = func([]queue.Settlement) error {
						if now := time.Now(); !last.IsZero() {
							pauses = append(pauses, now.Sub(last))
						}
						last = time.Now()
						return errStorage
					}
				})
				o.submit(message("u@e.test"))
				pass(time.Minute)
				q.set(func() { q.settle = nil })
				pass(6 * time.Second)
				want := 100 * time.Millisecond
				for i, got := range pauses {
					if got != want {
						t.Errorf("pause %d: %v, want %v", i, got, want)
					}
					want = min(2*want, 5*time.Second)
				}
				if len(pauses) < 15 || o.left() != 0 {
					t.Errorf("%d pauses in a minute, %d deliveries left after it", len(pauses), o.left())
				}
			}
		})
	})
}

// TestToldOnceOfADelay: the sender of mail that has waited for a site that is down is told
// once that it is late, though that cannot be stored at first.
func TestToldOnceOfADelay(t *testing.T) {
	t.Run("DSN-5 QUE-13", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{}})
			o.agent.Settings.Schedule = delivery.Delays{24 * time.Hour}
			tries, told := 0, 0
			q := &faultyQueue{Queue: new(memory.Queue), one: func(s *queue.Settlement) error {
				if !s.Warned {
					return nil
				}
				if tries++; tries <= 3 {
					return queue.ErrDamaged
				}
				told += len(s.Create)
				return nil
			}}
			o.queue, o.agent.Queue = q, q
			o.start()
			m := message("u@e.test")
			m.From = ""
			o.submit(m)
			pass(time.Minute)
			o.submit(message("v@e.test")) // which is not tried itself
			pass(23 * time.Hour)
			if n := len(o.of(delivery.Delayed)); n != 1 || tries != 4 || told != 1 {
				t.Errorf("told %d times, with %d reports stored after %d tries, want one after four", n, told, tries)
			}
		})
	})
}

// TestSettlementsThatAreWrong: a queue that says that something is wrong with a settlement that
// creates nothing is not asked again and again.
func TestSettlementsThatAreWrong(t *testing.T) {
	for _, c := range []struct {
		name        string
		err         error
		least, most int64 // calls in a minute
	}{
		{"its recipients", &queue.ResultError{}, 1, 1},
		{"a message, of which there is none", &queue.MessageError{}, 5, 20},
	} {
		t.Run("QUE-13 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
				var calls atomic.Int64
				q := &faultyQueue{Queue: new(memory.Queue), one: func(*queue.Settlement) error {
					if calls.Add(1) > 100 {
						return nil
					}
					return c.err
				}}
				o.queue, o.agent.Queue = q, q
				o.start()
				o.submit(message("u@e.test"))
				pass(time.Minute)
				if n := calls.Load(); n < c.least || n > c.most {
					t.Errorf("Settle was called %d times in a minute, want %d to %d", n, c.least, c.most)
				}
			})
		})
	}
}
