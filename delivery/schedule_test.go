package delivery_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// waits are the times between the attempts for one message that is refused for
// now each time.
func waits(t *testing.T, reply string, settings delivery.Settings, during time.Duration) (list []time.Duration) {
	t.Helper()
	correspond(t, refuse(reply), func(t *testing.T, c *correspondence) {
		c.agent.Settings = settings
		c.agent.Panic = nil
		c.start()
		c.submit(message("u@e.test"))
		pass(during)
		last := c.began
		for i, e := range c.of(delivery.Deferred) {
			if i > 0 {
				list = append(list, e.Time.Sub(last).Round(time.Millisecond))
			}
			if i > 0 && e.Time.Before(last) {
				t.Errorf("attempt %d before its time", i+1)
			}
			last = e.Time
		}
	})
	return list
}

func TestSchedule(t *testing.T) {
	const m, h = time.Minute, time.Hour
	for _, c := range []struct {
		name, reply string
		schedule    delivery.Schedule
		want        []time.Duration
	}{
		{"QUE-7 the published one", "450 4.2.1 busy", nil, []time.Duration{5 * m, 15 * m, 30 * m, h, 2 * h, 4 * h, 4 * h, 4 * h}},
		{"QUE-10 greylisting is followed up", "451 4.7.1 x", nil, []time.Duration{5 * m, 5 * m, 10 * m, 15 * m, 30 * m, 4 * h, 4 * h, 4 * h}},
		{"QUE-10 greylisting without a status", "451 x", nil, []time.Duration{5 * m, 5 * m, 10 * m, 15 * m, 30 * m, 4 * h, 4 * h, 4 * h}},
		{"QUE-10 a text makes no difference", "452 4.7.1 greylisted", nil, []time.Duration{5 * m, 15 * m, 30 * m, h, 2 * h, 4 * h, 4 * h, 4 * h}},
		{"QUE-7 one's own", "450 4.2.1 busy", delivery.Delays{h, 3 * h}, []time.Duration{h, 3 * h, 3 * h, 3 * h, 3 * h}},
		{"QUE-7 one that panics gives way", "450 4.2.1 busy", panicking{}, []time.Duration{5 * m, 15 * m, 30 * m, h, 2 * h, 4 * h, 4 * h, 4 * h}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := waits(t, c.reply, delivery.Settings{Schedule: c.schedule, Jitter: -1}, 16*h-time.Second)
			if !slices.Equal(got, c.want) {
				t.Errorf("waits %v, want %v", got, c.want)
			}
		})
	}
	t.Run("QUE-10 a host that greylists for five minutes takes the first retry", func(t *testing.T) {
		correspond(t, []smtptest.Cue{{At: smtptest.Rcpt, Times: 1, Reply: "451 4.7.1 greylisted"}}, func(t *testing.T, c *correspondence) {
			c.start()
			c.submit(message("u@e.test"))
			pass(6 * time.Minute)
			got := c.of(delivery.Delivered)
			if len(got) != 1 || got[0].Attempt != 2 || got[0].Time.Sub(c.began) < 5*time.Minute {
				t.Errorf("delivered %+v", got)
			}
		})
	})
	t.Run("QUE-7 one that answers nothing makes no loop", func(t *testing.T) {
		got := waits(t, "450 4.2.1 busy", delivery.Settings{Schedule: nothing{}, Jitter: -1}, 950*time.Millisecond)
		if len(got) != 9 {
			t.Errorf("%d more attempts in 0.95 s, want 9", len(got))
		}
	})
}

type panicking struct{}

func (panicking) Delay(delivery.Retry) time.Duration { panic("schedule") }

type nothing struct{}

func (nothing) Delay(delivery.Retry) time.Duration { return -time.Hour }

func TestJitter(t *testing.T) {
	t.Run("QUE-9 what failed together is spread, and nothing comes early", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const n = 1000
			o := newOffice(t, &smtptest.Internet{Zone: zone, Hosts: map[string]*smtptest.Host{
				"mx1.e.test": {Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: "450 4.2.1 busy"}}},
			}})
			o.agent.Settings = delivery.Settings{Schedule: delivery.Delays{time.Hour}, Jitter: 0.2}
			o.agent.Queue = o.queue
			for i := range n {
				o.submit(message(fmt.Sprintf("u%d@e.test", i)))
			}
			o.start()
			pass(30 * time.Minute)
			first := o.of(delivery.Deferred)
			if len(first) != n {
				t.Fatalf("%d attempts, want %d", len(first), n)
			}
			var tenths [10]int
			for _, e := range first {
				wait := e.Next.Sub(e.Time)
				if wait < 60*time.Minute-time.Second || wait > 72*time.Minute {
					t.Fatalf("next after %v, want 60 to 72 minutes", wait)
				}
				tenths[min(9, max(0, int((wait-60*time.Minute)/(72*time.Second))))]++
			}
			for i, have := range tenths {
				if have < n/20 || have > n/5 {
					t.Errorf("tenth %d has %d of %d", i, have, n)
				}
			}
		})
	})
}

func TestDelays(t *testing.T) {
	for _, c := range []struct {
		name     string
		delays   delivery.Delays
		attempts int
		want     time.Duration
	}{
		{"the first", delivery.Delays{1, 2, 3}, 1, 1},
		{"the last", delivery.Delays{1, 2, 3}, 3, 3},
		{"the last repeats", delivery.Delays{1, 2, 3}, 99, 3},
		{"no attempt counts as one", delivery.Delays{1, 2, 3}, 0, 1},
		{"an empty list", nil, 3, 30 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.delays.Delay(delivery.Retry{Attempts: c.attempts, Outcome: queue.Deferred}); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
