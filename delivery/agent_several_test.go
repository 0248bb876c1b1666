package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// handle is one agent's way to a queue that others have in common with it: over a
// network that may be slow and fail, and only as long as the agent lives.
type handle struct {
	*memory.Queue
	faults *rand.Rand // nil: none

	mu       sync.Mutex
	dead     bool
	extends  int
	extended int
	open     map[net.Conn]bool
}

var (
	errDead = errors.New("this process is dead")
	errLine = errors.New("no connection to the queue")
)

// ask is what happens on the way there, and back where done.
func (h *handle) ask(done bool) error {
	h.mu.Lock()
	var wait time.Duration
	var err error
	if h.faults != nil {
		wait = time.Duration(h.faults.IntN(50)) * time.Millisecond
		if h.faults.IntN(100) < 5 {
			err = errLine
		}
	}
	if h.dead {
		err = errDead
	}
	h.mu.Unlock()
	if !done {
		time.Sleep(wait)
	}
	return err
}

// through makes a call: it may fail before it is made, and after.
func through[T any](h *handle, call func() (T, error)) (none T, err error) {
	if err := h.ask(false); err != nil {
		return none, err
	}
	list, err := call()
	if err != nil {
		return none, err
	}
	if err := h.ask(true); err != nil {
		return none, err
	}
	return list, nil
}

func (h *handle) Claim(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
	return through(h, func() (queue.Claimed, error) { return h.Queue.Claim(ctx, now, want) })
}

func (h *handle) Settle(ctx context.Context, now time.Time, batch []queue.Settlement) ([]queue.Settled, error) {
	return through(h, func() ([]queue.Settled, error) { return h.Queue.Settle(ctx, now, batch) })
}

func (h *handle) Extend(ctx context.Context, now time.Time, leases []queue.Lease, d time.Duration) ([]queue.Extended, error) {
	h.mu.Lock()
	h.extends++
	h.extended += len(leases)
	h.mu.Unlock()
	return through(h, func() ([]queue.Extended, error) { return h.Queue.Extend(ctx, now, leases, d) })
}

func (h *handle) Open(ctx context.Context, id string) (queue.Content, error) {
	return through(h, func() (queue.Content, error) { return h.Queue.Open(ctx, id) })
}

func (h *handle) Mark(ctx context.Context, leases []queue.Lease) error {
	_, err := through(h, func() (int, error) { return 0, h.Queue.Mark(ctx, leases) })
	return err
}

func (h *handle) Postpone(ctx context.Context, now time.Time, list ...queue.Postponement) error {
	_, err := through(h, func() (int, error) { return 0, h.Queue.Postpone(ctx, now, list...) })
	return err
}

func (h *handle) Flush(ctx context.Context, now time.Time, what ...queue.Selection) (int, error) {
	return through(h, func() (int, error) { return h.Queue.Flush(ctx, now, what...) })
}

// dialer is the agent's network, which ends with it.
func (h *handle) dialer(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if h.ask(true) != nil && h.faults == nil {
			return nil, errDead
		}
		c, err := dial(ctx, network, address)
		if err == nil {
			h.mu.Lock()
			if h.open == nil {
				h.open = make(map[net.Conn]bool)
			}
			h.open[c] = true
			h.mu.Unlock()
		}
		return c, err
	}
}

// die ends the agent without a word.
func (h *handle) die() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dead = true
	for c := range h.open {
		_ = c.Close()
	}
}

// team is several agents on one queue.
func team(t *testing.T, n int, net *smtptest.Internet, faults bool) (agents []*office, handles []*handle) {
	t.Helper()
	q := new(memory.Queue)
	for i := range n {
		var o *office
		if i == 0 {
			o = newOffice(t, net)
		} else {
			o = newOfficeIn(t, agents[0].net)
		}
		h := &handle{Queue: q}
		if faults {
			h.faults = rand.New(rand.NewPCG(uint64(i), uint64(n)))
		}
		o.queue, o.agent.Queue = q, h
		o.agent.Sender.Dial = h.dialer(net.DialContext)
		agents, handles = append(agents, o), append(handles, h)
	}
	return agents, handles
}

// spreadOut is a world of n domains with a host each that takes so long.
func spreadOut(n int, wait func(i int) time.Duration) (*smtptest.Internet, []*smtptest.Host) {
	world, hosts := many(n)
	for i, h := range hosts {
		h.Script = []smtptest.Cue{{At: smtptest.Final, Delay: wait(i)}}
		h.Allow = smtptest.Rules()
	}
	return world, hosts
}

// TestSeveralAgents: agents on one queue send everything once, also where the way to it
// is slow and calls fail, before they are made or after.
func TestSeveralAgents(t *testing.T) {
	const messages, domains = 900, 6
	for n := 2; n <= 3; n++ {
		for _, c := range []struct {
			name   string
			faults bool
		}{{"in memory", false}, {"that delays and fails", true}} {
			t.Run(fmt.Sprintf("QUE-3 %d on one queue %s", n, c.name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					world, hosts := spreadOut(domains, func(i int) time.Duration { return time.Duration(i*i) * 20 * time.Millisecond })
					agents, _ := team(t, n, world, c.faults)
					for i := range messages {
						m := numbered(i, queue.Guarantee(i%2), fmt.Sprintf("u@d%d.test", i%domains))
						if _, err := agents[0].queue.Put(t.Context(), time.Now(), m); err != nil {
							t.Fatal(err)
						}
					}
					for _, o := range agents {
						o.agent.Lease = 30 * time.Second
						o.agent.Settings.Limits.PerSite = 4
						o.start()
					}
					pass(10 * time.Minute)
					if got, twice := contents(hosts...); got != messages || twice > 0 {
						t.Errorf("%d messages arrived, %d of them twice; want %d", got, twice, messages)
					}
					if left := agents[0].left(); left > 0 {
						t.Errorf("%d deliveries are left", left)
					}
					delivered := 0
					for _, o := range agents {
						delivered += len(o.of(delivery.Delivered))
						for _, kind := range []delivery.EventKind{delivery.Failed, delivery.UnknownOutcome, delivery.Deferred} {
							for _, e := range o.of(kind) {
								t.Fatalf("%v: %v", kind, e.Err)
							}
						}
					}
					if delivered != messages && !c.faults {
						t.Errorf("%d were told to be delivered", delivered)
					}
				})
			})
		}
	}
}

// TestAgentDies: what an agent had claimed when it died others send when its leases have
// ended, and of that only what was in flight may have gone twice.
func TestAgentDies(t *testing.T) {
	for _, lease := range []time.Duration{30 * time.Second, 0, time.Hour} {
		t.Run(fmt.Sprintf("QUE-3 with leases of %v", lease), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world, hosts := spreadOut(3, func(int) time.Duration { return 5 * time.Second })
				agents, handles := team(t, 2, world, false)
				const messages = 300
				for i := range messages {
					agents[0].submit(numbered(i, queue.AtLeastOnce, fmt.Sprintf("u@d%d.test", i%3)))
				}
				for _, o := range agents {
					o.agent.Lease = lease
					o.agent.Drain = time.Second
				}
				agents[0].agent.Settings.Limits.PerSite = 2
				agents[0].start()
				pass(17 * time.Second)
				begun, _ := contents(hosts...)
				handles[0].die()
				agents[1].start()
				if lease == 0 {
					lease = queue.DefaultLease
				}
				claimed := agents[0].agent.Stats().Claimed
				if claimed < 6 {
					t.Fatalf("it had claimed %d", claimed)
				}
				pass(lease - 20*time.Second)
				before, _ := contents(hosts...)
				if missing := messages - before; lease > time.Minute && missing == 0 {
					t.Errorf("nothing is missing, though %d were claimed", claimed)
				}
				pass(2 * time.Minute)
				got, twice := contents(hosts...)
				if got != messages || twice > 6 {
					t.Errorf("%d of %d arrived within the lease and two minutes, %d of them twice; %d had at the death", got, messages, twice, begun)
				}
			})
		})
	}
}

// TestLeasesAreExtendedTogether: what is claimed is extended in few calls, however much
// it is, and nobody else is given it.
func TestLeasesAreExtendedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world, hosts := spreadOut(100, func(int) time.Duration { return 3 * time.Hour })
		agents, handles := team(t, 2, world, false)
		const messages = 2000
		for i := range messages {
			agents[0].submit(numbered(i, queue.AtLeastOnce, fmt.Sprintf("u@d%d.test", i%100)))
		}
		agents[0].agent.Lease = time.Minute
		agents[0].start()
		pass(10 * time.Minute)
		held := agents[0].agent.Stats().Claimed
		if held < 100 {
			t.Fatalf("%d are claimed", held)
		}
		if n := handles[0].extends; n == 0 || handles[0].extended < 100*n {
			t.Errorf("%d leases of a minute were extended in %d calls in ten minutes, %d in all; want more than 100 in each", held, n, handles[0].extended)
		}
		agents[1].start()
		pass(10 * time.Minute)
		if _, twice := contents(hosts...); twice > 0 {
			t.Errorf("%d were sent twice", twice)
		}
	})
}
