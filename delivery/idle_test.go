package delivery_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// TestRunUntilIdle ends once nothing is due: what was is sent, with the reports it causes,
// and what waits for a time stays.
func TestRunUntilIdle(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(o *office)
		send   func(o *office)
		took   time.Duration // at most
		left   int
		got    int // messages of the host
	}{
		{"an empty queue", func(*office) {}, func(*office) {}, time.Second, 0, 0},
		{"many messages", func(*office) {}, func(o *office) {
			for range 300 {
				o.submit(message("u@e.test"))
			}
		}, time.Minute, 0, 300},
		{"a refusal and its report", func(*office) {}, func(o *office) { o.submit(message("nobody@e.test", "u@e.test")) }, time.Minute, 0, 2},
		{"one that is deferred", func(*office) {}, func(o *office) { o.submit(message("later@e.test", "u@e.test")) }, time.Minute, 1, 1},
		{"one that is to be sent later", func(*office) {}, func(o *office) {
			m := message("u@e.test")
			m.NotBefore = time.Now().Add(time.Hour)
			o.submit(m)
		}, time.Minute, 1, 0},
		{"one on hold", func(*office) {}, func(o *office) {
			if err := o.agent.Hold(o.t.Context(), o.submit(message("u@e.test"))); err != nil {
				o.t.Fatal(err)
			}
		}, time.Minute, 1, 0},
		{"what a rate keeps back for a moment", func(o *office) { o.agent.Settings.Limits.Rate = 1 }, func(o *office) {
			for range 20 {
				o.submit(message("u@e.test"))
			}
		}, time.Minute, 0, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{
					{At: smtptest.Rcpt, Address: "nobody@e.test", Reply: "550 5.1.1 who"}, {At: smtptest.Rcpt, Address: "later@e.test", Reply: "451 4.2.0 later"},
				}}
				o := newOffice(t, &smtptest.Internet{
					Zone:  "$TTL 60\n@ SOA ns.test. h.test. 1 2 3 4 60\ne.test. MX 10 mx.e.test.\nfrom.test. MX 10 mx.e.test.\nmx.e.test. A 192.0.2.1\n",
					Hosts: map[string]*smtptest.Host{"mx.e.test": host},
				})
				defer o.net.Close()
				c.change(o)
				c.send(o)
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
				defer cancel()
				if err := o.agent.RunUntilIdle(ctx); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > c.took {
					t.Errorf("it took %v, want %v at most", took, c.took)
				}
				if got := len(host.Messages()); got != c.got || o.left() != c.left {
					t.Errorf("%d messages arrived, %d deliveries are left, want %d and %d", got, o.left(), c.got, c.left)
				}
			})
		})
	}
}

// TestNotIdleYet: mail that is due and that something keeps back for a while is waited for,
// also where claims find nothing meanwhile.
func TestNotIdleYet(t *testing.T) {
	for _, c := range []struct {
		name string
		host *smtptest.Host
		work func(o *office, q *faultyQueue) // before the run, with what goes on beside it
		took time.Duration                   // at least, and not much more
		left int
	}{
		{"another agent has it, and ends", new(smtptest.Host), func(o *office, q *faultyQueue) {
			o.submit(message("u@e.test"))
			if c, err := q.Queue.Claim(o.t.Context(), time.Now(), queue.ClaimOptions{Lease: 5 * time.Minute}); err != nil || len(c.Deliveries) != 1 {
				o.t.Error(c, err)
			}
		}, 5 * time.Minute, 0},
		{"a host takes long, and other mail comes that is not due", slowHost(3 * time.Minute), func(o *office, _ *faultyQueue) {
			o.submit(message("u@e.test"))
			go func() {
				pass(time.Minute)
				m := message("u@e.test")
				m.NotBefore = time.Now().Add(time.Hour)
				o.submit(m)
			}()
		}, 3 * time.Minute, 1},
		{"the queue hands nothing out once the first is sent", slowHost(time.Second), func(o *office, q *faultyQueue) {
			o.submit(message("u@e.test"))
			began := time.Now()
			q.claim = func() error {
				if took := time.Since(began); took > time.Millisecond && took < 5*time.Minute {
					return errors.New("no line to the queue")
				}
				return nil
			}
			go func() {
				pass(time.Minute)
				o.submit(message("v@e.test"))
			}()
		}, 5 * time.Minute, 0},
	} {
		t.Run("QUE-10 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.host.Extensions = full()
				o := newOffice(t, toHost(c.host))
				defer o.net.Close()
				q := &faultyQueue{Queue: new(memory.Queue)}
				o.queue, o.agent.Queue = q, q
				c.work(o, q)
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
				defer cancel()
				if err := o.agent.RunUntilIdle(ctx); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took < c.took || took > c.took+time.Minute {
					t.Errorf("it took %v, want %v", took, c.took)
				}
				if n := o.left(); n != c.left || len(o.of(delivery.Deferred)) != 0 {
					t.Errorf("%d deliveries are left, want %d; deferred %+v", n, c.left, o.of(delivery.Deferred))
				}
			})
		})
	}
}
