package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
	"github.com/nexthop-mail/nexthop/queue/postgres/postgrestest"
)

// line is an agent's way to its queue, which may be cut.
type line struct {
	*postgres.Queue
	cut atomic.Bool
}

var errCut = errors.New("the line is cut")

func (l *line) Claim(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
	if l.cut.Load() {
		return queue.Claimed{}, errCut
	}
	return l.Queue.Claim(ctx, now, want)
}

func (l *line) ShareLimits(ctx context.Context, now time.Time, list ...queue.LimitRequest) ([]queue.LimitShare, error) {
	if l.cut.Load() {
		return nil, errCut
	}
	return l.Queue.ShareLimits(ctx, now, list...)
}

// arrivals are the times at which agents had messages delivered.
type arrivals struct {
	mu   sync.Mutex
	list [2][]time.Time
}

func (a *arrivals) add(agent int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list[agent] = append(a.list[agent], time.Now())
}

// between counts those of an agent in a time.
func (a *arrivals) between(agent int, from, to time.Time) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.list[agent] {
		if !t.Before(from) && t.Before(to) {
			n++
		}
	}
	return n
}

// most is the most of both agents in any time of a length.
func (a *arrivals) most(length time.Duration) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := slices.Concat(a.list[0], a.list[1])
	slices.SortFunc(all, time.Time.Compare)
	from := 0
	for i, t := range all {
		for t.Sub(all[from]) >= length {
			from++
		}
		n = max(n, i-from+1)
	}
	return n
}

// Two agents on one database keep to the rate of a group of sites together, and each has a
// part of it. One that loses its way to the database begins nothing after 20 s, and the
// other has the whole rate 10 s later.
func TestAgentsKeepToOneRate(t *testing.T) {
	const rate = 20
	watch, least := 8*time.Second, rate/2 // shares are exchanged every five seconds
	long := os.Getenv("NEXTHOP_LONG") != ""
	if long {
		watch, least = 20*time.Second, rate*20/10
	}
	server, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	net := (&smtptest.Internet{
		Zone: `
			$ORIGIN example.
			*.one     MX 10 mx1.provider
			*.two     MX 10 mx2.provider
			mx1.provider A 192.0.2.1
			mx2.provider A 192.0.2.2`,
		Hosts: map[string]*smtptest.Host{
			"mx1.provider.example": {Discard: true, Extensions: []string{"PIPELINING", "CHUNKING"}},
			"mx2.provider.example": {Discard: true, Extensions: []string{"PIPELINING", "CHUNKING"}},
		},
	}).Start(t)
	var (
		came  arrivals
		lines [2]*line
		all   sync.WaitGroup
	)
	ctx, stop := context.WithCancel(context.Background())
	defer func() { stop(); all.Wait() }()
	for i := range lines {
		pool, err := pgxpool.New(t.Context(), server.URL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		if err := postgres.Migrate(t.Context(), pool, postgres.Options{}); err != nil {
			t.Fatal(err)
		}
		q, err := postgres.Open(t.Context(), pool, postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = q.Close() })
		lines[i] = &line{Queue: q}
	}
	messages := rate * int((watch+2*time.Second)/time.Second)
	if long {
		messages += rate * 70
	}
	for i := range messages {
		m := &queue.Message{
			From: "sender@from.example", Recipients: []queue.Recipient{{Address: fmt.Sprintf("a@d%d.%s.example", i%10, []string{"one", "two"}[i%2])}},
			Content: queue.String("Subject: hello\r\n\r\ntext\r\n"),
		}
		if _, err := lines[0].Put(t.Context(), time.Now(), m); err != nil {
			t.Fatal(err)
		}
	}
	for i, l := range lines {
		agent := &delivery.Agent{
			Queue: l, Sender: &delivery.Sender{Hello: "from.example", Resolver: net, Dial: net.DialContext}, Drain: time.Second,
			Settings: delivery.Settings{
				Jitter: -1,
				Rules:  []delivery.Rule{{Match: delivery.Match{MX: "provider.example"}, Group: "provider"}},
				Groups: map[string]delivery.Group{"provider": {Rate: rate, Shared: true}},
			},
			Events: func(_ context.Context, e delivery.Event) {
				if e.Kind == delivery.Delivered {
					came.add(i)
				}
			},
		}
		all.Go(func() { _ = agent.Run(ctx) }) // that of the line that is cut may fail
	}
	began := time.Now()
	<-time.After(watch)
	for i := range lines {
		if n := came.between(i, began, time.Now()); n < least {
			t.Errorf("agent %d has delivered %d messages in %v", i, n, watch)
		}
	}
	if long {
		lines[0].cut.Store(true)
		cut := time.Now()
		<-time.After(50 * time.Second)
		if n := came.between(0, cut.Add(22*time.Second), time.Now()); n > 0 {
			t.Errorf("%d messages of the agent whose line was cut 22 s before", n)
		}
		if n := came.between(1, cut.Add(35*time.Second), cut.Add(45*time.Second)); n < rate*10*8/10 {
			t.Errorf("the other delivers %d messages in 10 s, want its rate of %d a second", n, rate)
		}
	}
	// Each agent may send one at the same moment, and events are a little late.
	const span = 2 * time.Second
	n := came.most(span)
	t.Logf("%d and %d messages, %d in %v at most", len(came.list[0]), len(came.list[1]), n, span)
	if most := rate*int(span/time.Second) + 2*len(lines) + rate/4; n > most {
		t.Errorf("%d messages in %v, want %d at most", n, span, most)
	}
}
