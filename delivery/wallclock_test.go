package delivery_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// wall is a wall clock that is set by the test; a machine that sleeps is one whose wall
// clock moves while the monotonic one stands still.
type wall struct{ off atomic.Int64 }

func (w *wall) now() time.Time           { return time.Now().Add(time.Duration(w.off.Load())) }
func (w *wall) move(by time.Duration)    { w.off.Add(int64(by)) }
func (w *wall) of(o *office) *office     { o.agent.SetWall(w.now); return o }
func (w *wall) since(t time.Time) string { return w.now().Sub(t).Round(time.Second).String() }

// arrived is when the queue says that a message came.
func (o *office) arrived(id string) time.Time {
	o.t.Helper()
	e, err := queue.Show(o.t.Context(), o.queue, id)
	if err != nil {
		o.t.Fatal(err)
	}
	return e.Message.Arrived
}

const aDay = 24 * time.Hour

func jumps(list []delivery.Event) (by []time.Duration) {
	for _, e := range list {
		if j, ok := errors.AsType[*delivery.ClockJump](e.Err); ok {
			by = append(by, j.By)
		}
	}
	return by
}

// later is a host that takes nothing yet.
func later() *smtptest.Host {
	return &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: "451 4.3.2 later"}}}
}

func toHost(host *smtptest.Host) *smtptest.Internet {
	return &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}}
}

// TestWallClock is an agent on a machine that sleeps, or whose wall clock is set.
func TestWallClock(t *testing.T) {
	t.Run("QUE-9 a step of NTP is followed and is no jump", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := new(wall)
			o := w.of(newOffice(t, toHost(later()))).start()
			for range 100 {
				pass(time.Minute)
				w.move(20 * time.Second)
			}
			if at := o.arrived(o.submit(message("u@e.test"))); !at.Equal(w.now()) {
				t.Errorf("mail is dated %v ago", w.since(at))
			}
			if got := o.of(delivery.Trouble); len(got) != 0 {
				t.Errorf("told: %+v", got)
			}
		})
	})
	t.Run("QUE-9 after six days asleep retries are due, and nothing is late or expired", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, host := new(wall), later()
			o := w.of(newOffice(t, toHost(host)))
			o.agent.Settings.Schedule = delivery.Delays{2 * time.Hour}
			o.start()
			id := o.submit(message("u@e.test"))
			pass(time.Minute)
			w.move(6 * aDay)
			pass(time.Minute)
			if n := len(o.of(delivery.Deferred)); n != 2 {
				t.Errorf("%d attempts, want one before the sleep and one after it", n)
			}
			if got := jumps(o.of(delivery.Trouble)); len(got) != 1 || got[0] != 6*aDay {
				t.Errorf("jumps told: %v", got)
			}
			if at := o.arrived(o.submit(message("v@e.test"))); !at.Equal(w.now()) {
				t.Errorf("new mail is dated %v ago", w.since(at))
			}
			pass(3 * time.Hour)
			if n := len(o.of(delivery.Delayed)) + len(o.of(delivery.Expired)); n != 0 {
				t.Error("the time asleep was counted")
			}
			pass(5*aDay - 4*time.Hour)
			if n := len(o.of(delivery.Expired)); n != 0 {
				t.Errorf("%d expired within the five days awake", n)
			}
			pass(2 * time.Hour)
			got := o.of(delivery.Expired)
			if len(got) != 2 || got[0].ID != id {
				t.Errorf("after five days awake: %+v", got)
			}
		})
	})
	t.Run("QUE-9 what is put into the queue after a jump lives for its time through a restart", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, q := new(wall), new(memory.Queue)
			w.move(-6 * aDay) // a machine without a clock of its own
			o := w.of(newOffice(t, toHost(later())))
			o.queue, o.agent.Queue = q, q
			o.start()
			pass(time.Minute)
			w.move(6 * aDay) // and NTP
			pass(time.Minute)
			o.submit(message("u@e.test"))
			pass(time.Second)
			o.stop()
			next := w.of(o.again(q)).start()
			pass(aDay)
			if len(next.of(delivery.Expired)) != 0 || len(next.of(delivery.Deferred)) == 0 {
				t.Errorf("after a restart %d have expired", len(next.of(delivery.Expired)))
			}
		})
	})
	t.Run("QUE-9 mail for a time goes out at that time by the wall clock", func(t *testing.T) {
		for _, by := range []time.Duration{8 * time.Hour, -8 * time.Hour} {
			synctest.Test(t, func(t *testing.T) {
				w := new(wall)
				host := &smtptest.Host{Extensions: full()}
				o := w.of(newOffice(t, toHost(host))).start()
				pass(time.Minute)
				w.move(by)
				pass(time.Minute)
				m := message("u@e.test")
				m.NotBefore = w.now().Add(time.Hour)
				o.submit(m)
				pass(59 * time.Minute)
				if len(host.Messages()) != 0 {
					t.Error("it went out early")
				}
				pass(2 * time.Minute)
				if len(host.Messages()) != 1 {
					t.Error("it did not go out")
				}
			})
		}
	})
	t.Run("QUE-9 a clock that is put back keeps no mail, makes none due at once and expires none", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := new(wall)
			o := w.of(newOffice(t, toHost(later())))
			o.agent.Settings.Schedule = delivery.Delays{time.Hour}
			o.start()
			o.submit(message("u@e.test"))
			pass(time.Minute)
			w.move(-365 * aDay)
			pass(30 * time.Minute)
			if n := len(o.of(delivery.Deferred)); n != 1 {
				t.Errorf("%d attempts half an hour later", n)
			}
			pass(time.Hour)
			got := o.of(delivery.Deferred)
			if len(got) != 2 {
				t.Fatalf("%d attempts an hour later, want 2", len(got))
			}
			if next := got[1].Next.Sub(w.now()); next > time.Hour || next < 0 {
				t.Errorf("the next attempt is said to be in %v", next)
			}
			pass(5*aDay - 3*time.Hour)
			if n := len(o.of(delivery.Expired)); n != 0 {
				t.Errorf("%d expired early", n)
			}
			pass(4 * time.Hour)
			if n := len(o.of(delivery.Expired)); n != 1 {
				t.Errorf("%d expired, want the one whose time is over, a year before it was dated", n)
			}
		})
	})
	t.Run("QUE-9 a jump by mistake that is put right leaves mail its time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := new(wall)
			o := w.of(newOffice(t, toHost(later()))).start()
			o.submit(message("u@e.test"))
			pass(time.Hour)
			w.move(365 * aDay)
			pass(time.Hour)
			w.move(-365 * aDay)
			pass(5*aDay - 3*time.Hour)
			if n := len(o.of(delivery.Expired)); n != 0 {
				t.Errorf("%d expired early", n)
			}
			pass(2 * time.Hour)
			if n := len(o.of(delivery.Expired)); n != 1 {
				t.Errorf("%d expired in time, want 1", n)
			}
			if got := jumps(o.of(delivery.Trouble)); len(got) != 2 || got[0] != 365*aDay || got[1] != -365*aDay {
				t.Errorf("jumps told: %v", got)
			}
		})
	})
	t.Run("QUE-11 a site that is down is asked once after a sleep, however much waits for it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := new(wall)
			in := toHost(&smtptest.Host{Extensions: full()})
			o := w.of(newOffice(t, in))
			in.Cut("mx1.e.test")
			o.start()
			for i := range 300 {
				o.submit(numbered(i, queue.AtLeastOnce, "u@e.test"))
			}
			pass(3 * time.Hour)
			before := len(in.Network().Dials())
			w.move(8 * time.Hour)
			pass(4 * time.Minute)
			if n := len(in.Network().Dials()) - before; n < 1 || n > 2 {
				t.Errorf("%d connections were tried, want one for all", n)
			}
		})
	})
}

// TestClockJumpsInFlight: a jump of the wall clock makes no lease end. Nothing is sent
// twice where agents share a queue, unless what is in flight could not be kept.
func TestClockJumpsInFlight(t *testing.T) {
	for _, lead := range []time.Duration{0, 5 * time.Second} { // either may look at the clock first
		t.Run(fmt.Sprintf("QUE-9 two agents on one queue, %v", lead), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, q, host := new(wall), new(memory.Queue), slowHost(3*time.Minute)
				o := w.of(newOffice(t, toHost(host)))
				o.queue, o.agent.Queue = q, q
				for i := range 40 {
					o.submit(numbered(i, queue.AtLeastOnce, "u@e.test"))
				}
				o.start()
				pass(7 * time.Second)
				other := w.of(o.again(q)).start()
				pass(lead)
				for range 10 {
					pass(time.Minute)
					w.move(time.Hour)
				}
				pass(3 * time.Hour)
				if n, twice := contents(host); n != 40 || twice > 0 {
					t.Errorf("%d messages arrived, %d of them twice", n, twice)
				}
				if len(o.of(delivery.Deferred))+len(other.of(delivery.Deferred)) != 0 {
					t.Error("an attempt was charged")
				}
			})
		})
	}
	t.Run("QUE-3 without the lease no final dot", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := new(wall)
			host := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Rcpt, Delay: time.Minute}}}
			o := w.of(newOffice(t, toHost(host)))
			q := &faultyQueue{Queue: new(memory.Queue)}
			q.extend = func() error { return fmt.Errorf("no connection to the database") }
			o.queue, o.agent.Queue = q, q
			o.start()
			o.submit(message("u@e.test"))
			pass(10 * time.Second)
			w.move(aDay) // to another machine the lease is over
			pass(2 * time.Minute)
			if n := len(host.Messages()); n != 0 {
				t.Error("the message was sent without a lease")
			}
			q.set(func() { q.extend = nil })
			pass(time.Hour)
			if n := len(host.Messages()); n != 1 {
				t.Errorf("%d messages arrived once the leases can be extended", n)
			}
		})
	})
}

// contents is how many messages a host has, and how many of them twice.
func contents(hosts ...*smtptest.Host) (messages, twice int) {
	seen := make(map[string]int)
	for _, host := range hosts {
		for _, m := range host.Messages() {
			if seen[string(m.Content)]++; seen[string(m.Content)] == 2 {
				twice++
			}
		}
	}
	return len(seen), twice
}
