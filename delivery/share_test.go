package delivery_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

func (h *handle) ShareLimits(ctx context.Context, now time.Time, list ...queue.LimitRequest) ([]queue.LimitShare, error) {
	return through(h, func() ([]queue.LimitShare, error) { return h.Queue.ShareLimits(ctx, now, list...) })
}

// silentQueue is a queue that does not answer claims and requests for shares once it is so.
type silentQueue struct {
	*handle
	now atomic.Bool
}

func (m *silentQueue) Claim(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
	if m.now.Load() {
		return queue.Claimed{}, errLine
	}
	return m.handle.Claim(ctx, now, want)
}

func (m *silentQueue) ShareLimits(ctx context.Context, now time.Time, list ...queue.LimitRequest) ([]queue.LimitShare, error) {
	if m.now.Load() {
		return nil, errLine
	}
	return m.handle.ShareLimits(ctx, now, list...)
}

// cannotShare is a queue that shares no limits.
type cannotShare struct{ queue.Queue }

// ofProvider has limits in common with the other agents for all hosts of a provider,
// site by site or for them together.
func ofProvider(connections int, rate float64, group bool) delivery.Settings {
	s := delivery.Settings{Jitter: -1, Rules: []delivery.Rule{
		{Match: delivery.Match{MX: "provider.test"}, Connections: connections, Rate: rate, Shared: true},
	}}
	if group {
		s.Rules[0] = delivery.Rule{Match: delivery.Match{MX: "provider.test"}, Group: "provider"}
		s.Groups = map[string]delivery.Group{"provider": {Connections: connections, Rate: rate, Shared: true}}
	}
	return s
}

// sharing is a team of agents that share limits of the hosts of customers, which take a
// second for each message, and mail for them.
func sharing(t *testing.T, n, domains, messages int, faults bool, s delivery.Settings) ([]*office, []*handle) {
	t.Helper()
	world := customers(domains)
	for _, h := range world.Hosts {
		h.Script = slowHost(time.Second).Script
	}
	agents, handles := team(t, n, world, faults)
	for i := range messages {
		if _, err := agents[0].queue.Put(t.Context(), time.Now(), numbered(i, 0, fmt.Sprintf("u@c%d.test", i%domains))); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range agents {
		o.agent.Settings = s
		o.agent.Lease = 30 * time.Second
	}
	return agents, handles
}

// Agents on one queue have limits in common, whatever the way to the queue is like, and
// each of them gets its part.
func TestAgentsShareLimits(t *testing.T) {
	for _, c := range []struct {
		name        string
		agents      int
		domains     int
		connections int
		rate        float64
		group       bool
		faults      bool
	}{
		{"the connections of a site", 3, 1, 6, 0, false, false},
		{"the connections of a site, over a line that delays and fails", 3, 1, 6, 0, false, true},
		{"fewer connections than agents", 3, 1, 2, 0, false, false},
		{"one connection", 2, 1, 1, 0, false, true},
		{"the rate of a site", 3, 1, 20, 4, false, false},
		{"the connections of a group of sites", 3, 4, 6, 0, true, false},
		{"the rate of a group of sites", 2, 4, 0, 3, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const messages = 1200
				agents, _ := sharing(t, c.agents, c.domains, messages, c.faults, ofProvider(c.connections, c.rate, c.group))
				defer agents[0].net.Close()
				for _, o := range agents {
					o.start()
				}
				pass(4 * time.Minute)
				for i, o := range agents {
					if n := len(o.of(delivery.Delivered)); n < 20 {
						t.Errorf("agent %d has delivered %d in 4 minutes", i, n)
					}
				}
				pass(30 * time.Minute)
				times := agents[0].times()
				if len(times) < messages {
					t.Errorf("%d of %d messages arrived in 34 minutes", len(times), messages)
				}
				if most := agents[0].together("192.0.2."); c.connections > 0 && most > c.connections {
					t.Errorf("%d connections at once, want at most %d", most, c.connections)
				}
				if c.rate > 0 {
					wantRate(t, times, c.rate, c.agents)
				}
			})
		})
	}
}

// wantRate wants no more messages in any ten seconds than a rate allows, and one for each
// agent, since the time between two is each agent's own.
func wantRate(t *testing.T, times []time.Time, rate float64, agents int) {
	t.Helper()
	const span = 10 * time.Second
	from := 0
	for i := range times {
		for times[i].Sub(times[from]) >= span {
			from++
		}
		if n := i - from + 1; n > int(math.Ceil(rate*span.Seconds()))+2*agents {
			t.Fatalf("%d messages in %v, want at most %v a second", n, span, rate)
		}
	}
}

// What a dead agent had of a limit the others have within half a minute, and not before.
func TestShareOfADeadAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agents, handles := sharing(t, 2, 1, 2000, false, ofProvider(4, 0, false))
		defer agents[0].net.Close()
		agents[0].start()
		pass(20 * time.Second)
		handles[0].die()
		died := time.Now()
		agents[1].start()
		pass(90 * time.Second)
		at := func(after time.Duration) (n int) {
			for _, when := range agents[1].times() {
				if d := when.Sub(died) - after; d > 0 && d <= 2*time.Second {
					n++
				}
			}
			return n
		}
		if n := at(10 * time.Second); n > 0 {
			t.Errorf("%d messages in 2 s while the dead agent's share is kept, want none", n)
		}
		if n := at(40 * time.Second); n != 8 {
			t.Errorf("%d messages in 2 s after that, want 8", n)
		}
	})
}

// An agent that the queue does not answer begins nothing after 20 s, and those that can have
// its share 10 s later; there are never more connections than the limit allows.
func TestShareOfAnAgentThatIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agents, handles := sharing(t, 2, 1, 4000, false, ofProvider(4, 0, false))
		defer agents[0].net.Close()
		q := &silentQueue{handle: handles[0]}
		agents[0].agent.Queue = q
		agents[0].start()
		pass(20 * time.Second)
		q.now.Store(true)
		cut := time.Now()
		pass(14 * time.Second)
		if last := last(agents[0].times()); time.Since(last) > 8*time.Second {
			t.Errorf("the last message arrived %v ago: it has a share, and mail that it had claimed", time.Since(last))
		}
		pass(5 * time.Second)
		pass(5 * time.Second)
		if late := last(agents[0].times()).Sub(cut); late > 22*time.Second {
			t.Errorf("a message arrived %v after the agent was cut off from the queue", late)
		}
		agents[1].start()
		pass(20 * time.Second)
		if first := last(agents[0].times()); time.Since(first) > 3*time.Second {
			t.Error("the other agent has no share 40 s after the first was cut off")
		}
		pass(time.Minute)
		if most := agents[0].together("192.0.2."); most > 4 {
			t.Errorf("%d connections at once, want at most 4", most)
		}
	})
}

func last(list []time.Time) time.Time {
	if len(list) == 0 {
		return time.Time{}
	}
	return list[len(list)-1]
}

// An agent that ends gives its share back at once, and one on a queue that can share
// nothing has the whole limit.
func TestShareThatNobodyElseNeeds(t *testing.T) {
	t.Run("of an agent that has ended", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			agents, _ := sharing(t, 2, 1, 400, false, ofProvider(4, 0, false))
			defer agents[0].net.Close()
			agents[0].start()
			pass(20 * time.Second)
			agents[0].stop()
			before := len(agents[1].times())
			agents[1].start()
			pass(4 * time.Second)
			if n := len(agents[1].times()) - before; n < 8 {
				t.Errorf("%d messages in the first 4 s, want 8 at least", n)
			}
		})
	})
	t.Run("of a queue that cannot share", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			agents, handles := sharing(t, 1, 1, 400, false, ofProvider(4, 0, false))
			defer agents[0].net.Close()
			agents[0].agent.Queue = cannotShare{handles[0].Queue}
			agents[0].start()
			pass(20 * time.Second)
			if n := len(agents[0].times()); n < 60 {
				t.Errorf("%d messages in 20 s on four connections, want about 80", n)
			}
			if most := agents[0].together("192.0.2."); most > 4 {
				t.Errorf("%d connections at once, want at most 4", most)
			}
		})
	})
	t.Run("limits that nobody shares", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := ofProvider(4, 0, false)
			s.Rules[0].Shared = false
			agents, _ := sharing(t, 2, 1, 800, false, s)
			defer agents[0].net.Close()
			agents[0].start()
			agents[1].start()
			pass(time.Minute)
			if most := agents[0].together("192.0.2."); most != 8 {
				t.Errorf("%d connections at once of two agents with 4 each, want 8", most)
			}
		})
	})
}

// A share that the queue gives with a claim is used at once by mail that has waited for it.
func TestShareThatComesWithAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, customers(2))
		var asked atomic.Int64
		q := &claimedFrom{Queue: new(memory.Queue)}
		q.claim = func(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
			asked.Add(int64(len(want.Limits)))
			return q.Queue.Claim(ctx, now, want)
		}
		o.queue, o.agent.Queue = q, q
		o.agent.Settings = ofProvider(4, 0, false)
		o.start()
		pass(time.Minute)
		began := time.Now()
		o.submit(message("u@c0.test"))
		for i := 0; i < 20 && asked.Load() == 0; i++ {
			pass(20 * time.Millisecond)
			m := message("u@elsewhere.test") // so that there is a claim
			m.NotBefore = time.Now().Add(time.Hour)
			o.submit(m)
		}
		pass(10 * time.Second)
		if asked.Load() == 0 {
			t.Fatal("no claim asked for a share")
		}
		got := o.of(delivery.Delivered)
		if len(got) != 1 || got[0].Time.Sub(began) > 1200*time.Millisecond {
			t.Errorf("delivered %+v, want one, which takes a second, from %v on", got, began)
		}
	})
}

// Explain tells of limits that agents have in common.
func TestExplainSharedLimits(t *testing.T) {
	o := newOffice(t, customers(1))
	defer o.net.Close()
	o.agent.Settings = ofProvider(4, 2, false)
	e, err := o.agent.Explain(t.Context(), "", "c0.test")
	if err != nil || !e.Limits[0].Shared || !strings.Contains(e.String(), "4 connections, 2 messages a second, 100 recipients a transaction, shared") {
		t.Errorf("Explain = %v, %v", e, err)
	}
}

// Sites of a group whose limit agents share are sent their mail one after the other, as
// those of a group that is one agent's own.
func TestSharedGroupOfManySites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 40
		zone, hosts := "$TTL 300\n", map[string]*smtptest.Host{}
		for i := range n {
			name := fmt.Sprintf("mx%d.provider.test", i)
			zone += fmt.Sprintf("c%d.test. MX 10 %[2]s.\n%[2]s. A 192.0.2.%[3]d\n", i, name, i+1)
			hosts[name] = &smtptest.Host{Extensions: full()}
		}
		o := newOffice(t, &smtptest.Internet{Zone: zone, Hosts: hosts})
		o.agent.Settings = ofProvider(2, 0, true)
		for i := range n {
			o.submit(message(fmt.Sprintf("u@c%d.test", i)))
		}
		o.start()
		pass(3 * time.Second)
		if got := len(o.of(delivery.Delivered)); got != n {
			t.Errorf("%d of %d were delivered within 3 s", got, n)
		}
	})
}
