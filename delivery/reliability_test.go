package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// use gives a correspondence a queue with faults.
func (c *correspondence) use(q *faultyQueue) *faultyQueue {
	m := &memory.Queue{}
	q.Queue = m
	c.queue, c.agent.Queue = m, q
	return q
}

var errStorage = errors.New("storage failed")

func TestSettleFails(t *testing.T) {
	t.Run("QUE-3 QUE-5 a settlement whose answer is lost makes no second report", func(t *testing.T) {
		correspond(t, refuse("550 no"), func(t *testing.T, c *correspondence) {
			lost := 0
			q := c.use(&faultyQueue{})
			q.settled = func() error {
				if lost++; lost%2 == 1 {
					return errStorage
				}
				return nil
			}
			c.start()
			for i := range 20 {
				c.submit(message(fmt.Sprintf("u%d@e.test", i), "v@x.test"))
			}
			pass(time.Hour)
			if n := len(c.reports()); n != 40 || c.left() != 0 || lost == 0 {
				t.Errorf("%d reports, want 40; %d deliveries left, %d answers lost", n, c.left(), lost)
			}
		})
	})
	t.Run("QUE-3 QUE-5 a settlement that cannot be stored is made later, and nothing is sent again", func(t *testing.T) {
		correspond(t, nil, func(t *testing.T, c *correspondence) {
			q := c.use(&faultyQueue{})
			q.settle = func([]queue.Settlement) error {
				if time.Since(c.began) < 10*time.Minute {
					return errStorage // no space left on the device, say
				}
				return nil
			}
			c.start()
			c.submit(message("u@e.test"))
			pass(20 * time.Minute)
			host := c.net.Hosts["mx1.e.test"]
			if n := len(host.Received()); n != 1 || c.left() != 0 || len(c.of(delivery.Delivered)) != 1 {
				t.Errorf("sent %d times, %d left, events %+v", n, c.left(), c.events)
			}
		})
	})
	t.Run("QUE-3 a report that no queue takes keeps nothing from being settled", func(t *testing.T) {
		correspond(t, refuse("550 no"), func(t *testing.T, c *correspondence) {
			q := c.use(&faultyQueue{})
			q.settle = func(batch []queue.Settlement) error {
				for i := range batch {
					for _, m := range batch[i].Create {
						m.Tenant = strings.Repeat("x", queue.MaxTenant+1)
					}
				}
				return nil
			}
			c.start()
			c.submit(message("u@e.test"))
			pass(time.Minute)
			failed := c.of(delivery.Failed)
			if c.left() != 0 || len(failed) != 1 || len(c.of(delivery.Bounced)) != 0 {
				t.Errorf("%d left, events %+v", c.left(), c.events)
			}
		})
	})
}

func TestPutFails(t *testing.T) {
	t.Run("a full queue refuses, and takes mail again", func(t *testing.T) {
		correspond(t, nil, func(t *testing.T, c *correspondence) {
			full := true
			q := c.use(&faultyQueue{})
			q.put = func(*queue.Message) error {
				if full {
					return queue.ErrFull
				}
				return nil
			}
			c.start()
			if _, err := c.agent.Submit(t.Context(), message("u@e.test")); !errors.Is(err, queue.ErrFull) {
				t.Errorf("%v, want ErrFull", err)
			}
			full = false
			c.submit(message("u@e.test"))
			pass(time.Minute)
			if len(c.of(delivery.Queued)) != 1 || len(c.of(delivery.Delivered)) != 1 {
				t.Errorf("events %+v", c.events)
			}
		})
	})
}

// crowd is a message to n recipients at one destination.
func crowd(n int) *queue.Message {
	m := message()
	for i := range n {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("u%d@e.test", i)})
	}
	return m
}

func TestEvents(t *testing.T) {
	t.Run("a slow hook holds mail up and misses nothing, and the order is kept", func(t *testing.T) {
		correspond(t, nil, func(t *testing.T, c *correspondence) {
			const n = 70
			release := make(chan struct{})
			var told atomic.Int64
			c.agent.Events = func(_ context.Context, e delivery.Event) {
				<-release
				told.Add(1)
				c.note(e)
			}
			c.start()
			var taken atomic.Int64
			go func() {
				for range n {
					if _, err := c.agent.Submit(context.Background(), crowd(100)); err == nil {
						taken.Add(1)
					}
				}
			}()
			pass(50 * time.Second)
			if got := taken.Load(); got < 10 || got > 41 {
				t.Errorf("%d messages were taken while nobody heard of any", got)
			}
			if got := c.agent.Stats().Events; got < 4096 || got > 8200 {
				t.Errorf("%d events wait", got)
			}
			close(release)
			pass(time.Hour)
			if told.Load() != 200*n || len(c.of(delivery.Delivered)) != 100*n {
				t.Errorf("%d events, want %d", told.Load(), 200*n)
			}
			seen := make(map[string]bool)
			for _, e := range c.events {
				if key := e.ID + e.Recipient; (e.Kind == delivery.Delivered) == seen[key] {
					seen[key] = true
				} else {
					t.Fatalf("%v of %s out of order", e.Kind, e.ID)
				}
			}
		})
	})
	t.Run("Submit gives up waiting with its context", func(t *testing.T) {
		correspond(t, nil, func(t *testing.T, c *correspondence) {
			release := make(chan struct{})
			c.agent.Events = func(context.Context, delivery.Event) { <-release }
			c.start()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
			defer cancel()
			var err error
			for err == nil {
				_, err = c.agent.Submit(ctx, crowd(100))
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			_, err = c.agent.Submit(t.Context(), crowd(100))
			if e, ok := errors.AsType[*delivery.Error](err); !ok || !e.Temporary() || !strings.Contains(e.Error(), "the Events hook") {
				t.Errorf("while the hook does not return: %v", err)
			}
			close(release)
			pass(time.Hour)
		})
	})
}

type hookKey struct{} // of a value that a hook's context carries

// TestSubmitInEvents: a hook that submits, under load, however slow it is.
func TestSubmitInEvents(t *testing.T) {
	for _, c := range []struct {
		name   string
		ctx    func(context.Context) context.Context
		misses bool // the reports that it submits are refused while there is no room
	}{
		{"with the context of the hook", func(ctx context.Context) context.Context { return ctx }, false},
		{"with one made from it", func(ctx context.Context) context.Context { return context.WithValue(ctx, hookKey{}, 1) }, false},
		{"with another", func(context.Context) context.Context { return context.Background() }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			correspond(t, []smtptest.Cue{{At: smtptest.Rcpt, Address: "gone@e.test", Reply: "550 5.1.1 gone"}}, func(t *testing.T, o *correspondence) {
				const messages = 4500
				var reports, refused atomic.Int64
				o.agent.Events = func(ctx context.Context, e delivery.Event) {
					o.note(e)
					if e.Kind != delivery.Failed {
						return
					}
					<-time.After(10 * time.Millisecond)
					if _, err := o.agent.Submit(c.ctx(ctx), message("reports@e.test")); err == nil {
						reports.Add(1)
					} else {
						refused.Add(1)
					}
				}
				o.agent.Bounce = func(delivery.Event) bool { return false }
				o.start()
				for range messages / 100 {
					m := crowd(100)
					for i := range m.Recipients {
						m.Recipients[i].Address = "gone@e.test"
					}
					if _, err := o.agent.Submit(t.Context(), m); err != nil {
						t.Fatal(err)
					}
				}
				pass(100 * time.Hour)
				if failed := len(o.of(delivery.Failed)); failed != messages || reports.Load()+refused.Load() != messages {
					t.Errorf("%d failed, %d reports, %d refused", failed, reports.Load(), refused.Load())
				}
				if (refused.Load() > 0) != c.misses {
					t.Errorf("%d reports were refused", refused.Load())
				}
			})
		})
	}
}

func TestHooksPanic(t *testing.T) {
	boom := func(n *atomic.Int64) func(any) { return func(any) { n.Add(1) } }
	for _, h := range []struct {
		name string
		set  func(a *delivery.Agent)
		fail bool // the message is refused by its host
	}{
		{"Events", func(a *delivery.Agent) {
			note := a.Events
			a.Events = func(ctx context.Context, e delivery.Event) { note(ctx, e); panic("events") }
		}, false},
		{"Schedule", func(a *delivery.Agent) { a.Settings.Schedule = panicking{} }, false},
		{"Bounce", func(a *delivery.Agent) { a.Bounce = func(delivery.Event) bool { panic("bounce") } }, true},
		{"Sign, for a report", func(a *delivery.Agent) {
			a.Sign = func(_ context.Context, m *queue.Message) (queue.Content, error) {
				if m.From == "" {
					panic("sign")
				}
				return m.Content, nil
			}
		}, true},
		{"Panic itself", func(a *delivery.Agent) {
			told := a.Panic
			a.Panic = func(v any) { told(v); panic("panic") }
			a.Bounce = func(delivery.Event) bool { panic("bounce") }
		}, true},
	} {
		t.Run(h.name+" costs no mail", func(t *testing.T) {
			script := []smtptest.Cue{{At: smtptest.Rcpt, Times: 1, Reply: "450 4.2.1 busy"}}
			if h.fail {
				script = refuse("550 no")
			}
			correspond(t, script, func(t *testing.T, c *correspondence) {
				var panics atomic.Int64
				c.agent.Panic = boom(&panics)
				h.set(c.agent)
				c.start()
				c.submit(message("u@e.test"))
				pass(time.Hour)
				if panics.Load() == 0 || c.left() != 0 {
					t.Errorf("%d panics told, %d deliveries left", panics.Load(), c.left())
				}
				want, kind := 1, delivery.Delivered
				if h.fail {
					kind = delivery.Failed
					if len(c.reports()) != 1 {
						t.Errorf("%d reports", len(c.reports()))
					}
				}
				if got := len(c.of(kind)); got != want {
					t.Errorf("%d %v, want %d", got, kind, want)
				}
			})
		})
	}
}

func TestManyRecipients(t *testing.T) {
	const n = 50_000
	t.Run("QUE-3 QUE-4 DSN-7 50,000 recipients, some refused, some later", func(t *testing.T) {
		correspond(t, []smtptest.Cue{
			{At: smtptest.Rcpt, Address: "u7@e.test", Reply: "550 no"},
			{At: smtptest.Rcpt, Address: "u49999@e.test", Reply: "550 no"},
			{At: smtptest.Rcpt, Address: "u9@e.test", Times: 1, Reply: "450 4.2.1 busy"},
		}, func(t *testing.T, c *correspondence) {
			c.start()
			c.submit(crowd(n))
			pass(time.Hour)
			got := make(map[string]int)
			for _, msg := range c.net.Hosts["mx1.e.test"].Received() {
				for _, to := range msg.To() {
					got[to]++
				}
			}
			for to, times := range got {
				if times != 1 {
					t.Errorf("%s has it %d times", to, times)
				}
			}
			if len(got) != n-2 || len(c.one().Recipients) != 2 || c.left() != 0 {
				t.Errorf("%d have it, %d are reported, %d left", len(got), len(c.one().Recipients), c.left())
			}
		})
	})
}

// TestConservation is the one rule over all: whatever hosts and the queue do,
// each recipient ends once, as delivered or as failed, and its sender is told of
// a failure exactly once.
func TestConservation(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("QUE-3 QUE-4 nothing vanishes and nothing ends twice, seed %d", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			correspond(t, randomScript(rnd), func(t *testing.T, c *correspondence) {
				q := c.use(&faultyQueue{})
				var broken atomic.Bool
				q.settle = func([]queue.Settlement) error { return someTimes(&broken, rnd) }
				q.settled = func() error { return someTimes(&broken, rnd) }
				c.agent.Settings.Warn = -1
				broken.Store(true)
				c.start()
				const n = 60
				for i := range n {
					m := message(fmt.Sprintf("a%d@e.test", i), fmt.Sprintf("b%d@e.test", i), fmt.Sprintf("c%d@x.test", i))
					m.EnvelopeID = fmt.Sprint(i)
					c.submit(m)
				}
				pass(6 * 24 * time.Hour)
				if left := c.left(); left != 0 {
					t.Fatalf("%d deliveries are left", left)
				}
				conserved(t, c, n)
			})
		})
	}
}

// someTimes is an error one time in three.
func someTimes(on *atomic.Bool, rnd *rand.Rand) error {
	if on.Load() && rnd.IntN(3) == 0 {
		return errStorage
	}
	return nil
}

// randomScript is a host with all kinds of trouble.
func randomScript(rnd *rand.Rand) (script []smtptest.Cue) {
	replies := []string{"450 4.2.1 busy", "451 4.7.1 later", "550 5.1.1 no", "421 4.3.2 bye", "552 5.2.2 full"}
	stages := []smtptest.Stage{smtptest.Banner, smtptest.Hello, smtptest.Mail, smtptest.Rcpt, smtptest.Rcpt, smtptest.Data, smtptest.Final}
	for range 60 {
		c := smtptest.Cue{At: stages[rnd.IntN(len(stages))], Times: 1 + rnd.IntN(3), Reply: replies[rnd.IntN(len(replies))]}
		if rnd.IntN(4) == 0 {
			c.Reply, c.Then = "", smtptest.Reset
		}
		script = append(script, c)
	}
	return script
}

// conserved compares what hosts have with what was told.
func conserved(t *testing.T, c *correspondence, messages int) {
	t.Helper()
	arrived := make(map[string]bool)
	for _, name := range []string{"mx1.e.test", "mx.x.test"} {
		for _, m := range c.net.Hosts[name].Received() {
			for _, to := range m.To() {
				arrived[to] = true
			}
		}
	}
	reported := make(map[string]int)
	for _, r := range c.reports() {
		for _, f := range r.Recipients {
			reported[strings.TrimPrefix(f.Get("Final-Recipient"), "rfc822; ")]++
		}
	}
	for i := range messages {
		for _, to := range []string{fmt.Sprintf("a%d@e.test", i), fmt.Sprintf("b%d@e.test", i), fmt.Sprintf("c%d@x.test", i)} {
			if n := reported[to]; n > 1 || n == 0 && !arrived[to] {
				t.Errorf("%s: arrived %t, reported %d times", to, arrived[to], n)
			}
		}
	}
}
