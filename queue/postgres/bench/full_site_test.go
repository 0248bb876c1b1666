package bench

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
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

// counted is a handle of an agent, and what the agent did with it.
type counted struct {
	*postgres.Queue
	calls                     atomic.Int64 // of Claim
	rows, settled, back, kept atomic.Int64 // kept: postponements for every claimer, which are stored
	parked                    atomic.Int64 // and those for this agent alone, which are not
}

func (c *counted) Claim(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
	found, err := c.Queue.Claim(ctx, now, want)
	c.calls.Add(1)
	c.rows.Add(int64(len(found.Deliveries)))
	return found, err
}

func (c *counted) Settle(ctx context.Context, now time.Time, batch []queue.Settlement) ([]queue.Settled, error) {
	for i := range batch {
		if c.settled.Add(1); len(batch[i].Results) == 0 {
			c.back.Add(1)
		}
	}
	return c.Queue.Settle(ctx, now, batch)
}

func (c *counted) Postpone(ctx context.Context, now time.Time, list ...queue.Postponement) error {
	for _, p := range list {
		switch {
		case p.Owner == "":
			c.kept.Add(1)
		case !p.Until.IsZero():
			c.parked.Add(1)
		}
	}
	return c.Queue.Postpone(ctx, now, list...)
}

// workDone is what several agents did.
type workDone struct{ calls, rows, settled, back, kept, parked, delivered int64 }

func (c workDone) since(o workDone) workDone {
	return workDone{
		c.calls - o.calls, c.rows - o.rows, c.settled - o.settled, c.back - o.back, c.kept - o.kept, c.parked - o.parked, c.delivered - o.delivered,
	}
}

func (c workDone) String() string {
	return fmt.Sprintf("%d delivered; %d calls of Claim for %d deliveries; %d settlements, %d of which give back; %d postponements, and %d of an agent's own",
		c.delivered, c.calls, c.rows, c.settled, c.back, c.kept, c.parked)
}

// besideFull is a run of two agents on one database, with mail for so many destinations on a
// site that is slow and full, and with mail for others.
type besideFull struct {
	t            *testing.T
	url, schema  string
	watch        time.Duration // how long at least, from when others' mail is put
	handles      []*counted
	delivered    atomic.Int64
	slow, others atomic.Int64
}

func (b *besideFull) counts() (c workDone) {
	for _, h := range b.handles {
		c.calls += h.calls.Load()
		c.rows += h.rows.Load()
		c.settled += h.settled.Load()
		c.back += h.back.Load()
		c.kept += h.kept.Load()
		c.parked += h.parked.Load()
	}
	c.delivered = b.delivered.Load()
	return c
}

// open opens a handle with a pool of its own.
func (b *besideFull) open() *counted {
	b.t.Helper()
	pool, err := pgxpool.New(b.t.Context(), b.url)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(pool.Close)
	if err := postgres.Migrate(b.t.Context(), pool, postgres.Options{Schema: b.schema}); err != nil {
		b.t.Fatal(err)
	}
	q, err := postgres.Open(b.t.Context(), pool, postgres.Options{Schema: b.schema})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = q.Close() })
	return &counted{Queue: q}
}

// put puts a message to each of the addresses.
func (b *besideFull) put(n int, to func(int) string) {
	b.t.Helper()
	var all sync.WaitGroup
	const callers = 32
	for c := range callers {
		all.Go(func() {
			for i := c; i < n; i += callers {
				m := &queue.Message{
					From: "sender@from.example", Recipients: []queue.Recipient{{Address: to(i)}},
					Content: queue.String("Subject: hello\r\n\r\ntext\r\n"),
				}
				if _, err := b.handles[i%2].Put(b.t.Context(), time.Now(), m); err != nil {
					b.t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// wait waits until a condition holds.
func (b *besideFull) wait(what string, cond func() bool) {
	b.t.Helper()
	for end := time.Now().Add(5 * time.Minute); !cond(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%s: not in five minutes; %v", what, b.counts())
		}
	}
}

// run puts mail for so many destinations of the slow site, has the agents come by all of
// it, and then puts others' mail. It returns how long the others' takes, and what the agents
// did before and meanwhile.
func (b *besideFull) run(full, others int) (took time.Duration, before, during workDone) {
	t := b.t
	b.handles = []*counted{b.open(), b.open()}
	net := (&smtptest.Internet{
		Zone: `
			$ORIGIN example.
			*.full    MX 10 mx.slow
			*.other   MX 10 mx.fast
			mx.slow   A  192.0.2.1
			mx.fast   A  192.0.2.2`,
		Hosts: map[string]*smtptest.Host{
			"mx.slow.example": {Discard: true, Script: []smtptest.Cue{{At: smtptest.Mail, Delay: 400 * time.Millisecond}}},
			"mx.fast.example": {Discard: true, Extensions: []string{"PIPELINING", "CHUNKING"}},
		},
	}).Start(t)
	b.put(full, func(i int) string { return "a@d" + strconv.Itoa(i) + ".full.example" })
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer func() { stop(); all.Wait() }()
	for _, h := range b.handles {
		agent := &delivery.Agent{
			Queue: h, Sender: &delivery.Sender{Hello: "from.example", Resolver: net, Dial: net.DialContext}, Drain: time.Second,
			Settings: delivery.Settings{Jitter: -1, Limits: delivery.Limits{PerSite: 4}},
			Events: func(_ context.Context, e delivery.Event) {
				switch e.Kind {
				case delivery.Delivered:
					b.delivered.Add(1)
					if strings.HasSuffix(e.Recipient, ".other.example") {
						b.others.Add(1)
					} else {
						b.slow.Add(1)
					}
				case delivery.Deferred, delivery.Failed:
					t.Errorf("%v", e)
				}
			},
		}
		all.Go(func() {
			if err := agent.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	// Each agent has come by all of it when claims find nothing else for a while.
	quiet, since := b.counts().rows, time.Now()
	b.wait("the agents come by what is for the full site", func() bool {
		if rows := b.counts().rows; rows > quiet+20 {
			quiet, since = rows, time.Now()
		}
		return (full == 0 || b.slow.Load() > 0) && time.Since(since) > 500*time.Millisecond
	})
	before = b.counts()
	began := time.Now()
	b.put(others, func(i int) string { return "a@d" + strconv.Itoa(i%50) + ".other.example" })
	b.wait("mail for others", func() bool { return b.others.Load() == int64(others) })
	took = time.Since(began)
	<-time.After(b.watch - took) // long enough for a loop to show
	return took, before, b.counts().since(before)
}

// Mail for very many destinations that are on one site, which is slow and at its limit of
// connections, holds others' mail up by a bounded part of its time, and is not claimed to be given back over and over:
// each agent claims each destination once, which is how it learns where that is, and then as
// much as there is room for.
func TestManyDestinationsOnAFullSite(t *testing.T) {
	full, others, watch := 1000, 1000, time.Second
	if os.Getenv("NEXTHOP_LONG") != "" {
		full, others, watch = 10_000, 10_000, time.Minute
	}
	server, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	alone, _, _ := (&besideFull{t: t, url: server.URL(), schema: "alone"}).run(0, others)
	b := &besideFull{t: t, url: server.URL(), schema: "beside", watch: watch}
	beside, before, during := b.run(full, others)
	again, _, _ := (&besideFull{t: t, url: server.URL(), schema: "again"}).run(0, others)
	alone = max(alone, again) // the machine may have been busy
	t.Logf("%d messages for others: %v alone, %v beside %d destinations on a full site", others, alone, beside, full)
	t.Logf("before: %v", before)
	t.Logf("meanwhile: %v; %d by the full site in all", during, b.slow.Load())

	const spare = 100 // what has been claimed and not begun
	if beside > 3*alone+time.Second {
		t.Errorf("mail for others takes %v beside the full site, and %v without it", beside, alone)
	}
	// A destination may come back once more if others of its site have left room meanwhile.
	if most := 2*int64(full) + int64(full)/4 + before.delivered + spare; before.rows > most || before.settled > most {
		t.Errorf("two agents come by %d destinations with %d deliveries claimed and %d settled, want %d at most", full, before.rows, before.settled, most)
	}
	if most := during.delivered*11/10 + spare; during.rows > most || during.settled > most {
		t.Errorf("%d deliveries claimed and %d settled for %d messages delivered, want %d at most", during.rows, during.settled, during.delivered, most)
	}
	if kept := before.kept + during.kept; kept > 0 {
		t.Errorf("%d postponements are stored for a limit of the agents' own", kept)
	}
}
