package bench

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
	"github.com/nexthop-mail/nexthop/queue/postgres/postgrestest"
)

const (
	callers = 100
	hosts   = 10
)

// figures are what one queue did.
type figures struct {
	name           string
	n              int
	put, delivered time.Duration
	p99            time.Duration // of a put
	puts, delivers spent
}

// spent is what a phase took of the machine.
type spent struct {
	client, server time.Duration // processor time
	wal            int64
}

func (s spent) of(f *figures) string {
	n := float64(f.n)
	return fmt.Sprintf("%4.0f + %4.0f µs, %5.1f KiB WAL", float64(s.client)/1e3/n, float64(s.server)/1e3/n, float64(s.wal)/1024/n)
}

func (f *figures) String() string {
	return fmt.Sprintf("%-22s %7.0f put/s, p99 %6.1f ms, %s; %7.0f delivered/s, %s", f.name,
		float64(f.n)/f.put.Seconds(), float64(f.p99)/1e6, f.puts.of(f), f.rate(), f.delivers.of(f))
}

func (f *figures) rate() float64 { return float64(f.n) / f.delivered.Seconds() }

// rig is a server, an internet in memory, and what is measured of them.
type rig struct {
	t    *testing.T
	pool *pgxpool.Pool
	net  *smtptest.Internet
}

func newRig(t *testing.T) *rig {
	t.Helper()
	server, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	config, err := pgxpool.ParseConfig(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 40
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	var zone strings.Builder
	in := &smtptest.Internet{Hosts: make(map[string]*smtptest.Host)}
	zone.WriteString("$TTL 3600\n")
	for i := range hosts {
		name := fmt.Sprintf("mx.d%d.test", i)
		fmt.Fprintf(&zone, "d%d.test. MX 10 %s.\n%s. A 198.51.100.%d\n", i, name, name, i+1)
		in.Hosts[name] = &smtptest.Host{Discard: true, Extensions: []string{"PIPELINING", "8BITMIME", "SIZE", "ENHANCEDSTATUSCODES"}}
	}
	in.Zone = zone.String()
	return &rig{t: t, pool: pool, net: in.Start(t)}
}

// sender is a Sender with connections of its own.
func (r *rig) sender() *delivery.Sender {
	return &delivery.Sender{Hello: "from.test", Resolver: r.net, Dial: r.net.DialContext, MaxIdle: callers}
}

func message(content []byte, i int) *queue.Message {
	return &queue.Message{
		From: "sender@from.test", Recipients: []queue.Recipient{{Address: fmt.Sprintf("u%d@d%d.test", i, i%hosts)}},
		Content: queue.String(string(content)),
	}
}

// contentOf is a message text of a size, which does not shrink, as most mail.
func contentOf(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	text := []byte("Subject: bench\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	line := make([]byte, 57)
	for len(text) < size {
		for i := range line {
			line[i] = byte(random.Uint32())
		}
		text = append(base64.StdEncoding.AppendEncode(text, line), '\r', '\n')
	}
	return text
}

// measure puts n messages by many callers, and has them delivered.
func (r *rig) measure(name string, n int, put func(ctx context.Context, i int) error, deliver func(ctx context.Context, done func())) *figures {
	r.t.Helper()
	ctx := r.t.Context()
	f := &figures{name: name, n: n}
	began := r.spent()
	times := make([]time.Duration, n)
	var next atomic.Int64
	var group sync.WaitGroup
	start := time.Now()
	for range callers {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				asked := time.Now()
				if err := put(ctx, i); err != nil {
					r.t.Error(err)
					return
				}
				times[i] = time.Since(asked)
			}
		})
	}
	group.Wait()
	f.put = time.Since(start)
	slices.Sort(times)
	f.p99 = times[n*99/100]
	middle := r.spent()
	f.puts = middle.since(began)

	ctx, stop := context.WithTimeout(ctx, 10*time.Minute)
	defer stop()
	var left atomic.Int64
	left.Store(int64(n))
	all := make(chan struct{})
	start = time.Now()
	var at time.Duration
	ran := make(chan struct{})
	running, end := context.WithCancel(ctx)
	go func() {
		defer close(ran)
		deliver(running, func() {
			if left.Add(-1) == 0 {
				at = time.Since(start)
				close(all)
			}
		})
	}()
	select {
	case <-all:
	case <-ctx.Done():
		r.t.Fatalf("%s: %d of %d messages are left", name, left.Load(), n)
	}
	end()
	<-ran
	f.delivered = at
	f.delivers = r.spent().since(middle)
	return f
}

// spent is what the machine has spent so far.
func (r *rig) spent() spent {
	r.t.Helper()
	client, server := processorTime(r.t)
	return spent{client, server, r.wal()}
}

func (s spent) since(o spent) spent {
	return spent{s.client - o.client, s.server - o.server, s.wal - o.wal}
}

// wal is how much the server has written to its log.
func (r *rig) wal() (n int64) {
	r.t.Helper()
	if err := r.pool.QueryRow(r.t.Context(), "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint").Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

// processorTime is that of this process, and that of all that it started.
func processorTime(t *testing.T) (own, others time.Duration) {
	t.Helper()
	parents, ticks := make(map[int]int), make(map[int]int64)
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		parents[pid], _ = strconv.Atoi(fields[1])
		for _, i := range []int{11, 12, 13, 14} {
			n, _ := strconv.ParseInt(fields[i], 10, 64)
			ticks[pid] += n
		}
	}
	const tick = 10 * time.Millisecond
	for pid, n := range ticks {
		for at := parents[pid]; at > 1; at = parents[at] {
			if at == os.Getpid() {
				others += time.Duration(n) * tick
				break
			}
		}
	}
	return time.Duration(ticks[os.Getpid()]) * tick, others
}

// ours is the queue of this library with an Agent.
func (r *rig) ours(name string, n int, content []byte, o postgres.Options) *figures {
	r.t.Helper()
	o.Schema = name
	if err := postgres.Migrate(r.t.Context(), r.pool, o); err != nil {
		r.t.Fatal(err)
	}
	q, err := postgres.Open(r.t.Context(), r.pool, o)
	if err != nil {
		r.t.Fatal(err)
	}
	defer q.Close()
	return r.measure(name, n, func(ctx context.Context, i int) error {
		_, err := q.Put(ctx, time.Now(), message(content, i))
		return err
	}, func(ctx context.Context, done func()) {
		a := &delivery.Agent{
			Queue: q, Sender: r.sender(), Settings: delivery.Settings{Limits: delivery.Limits{Connections: callers, PerSite: callers / hosts}},
			Events: func(_ context.Context, e delivery.Event) {
				if e.Kind == delivery.Delivered {
					done()
				}
			},
		}
		if err := a.Run(ctx); err != nil {
			r.t.Error(err)
		}
	})
}

// Args are a message as a job has it.
type Args struct {
	To      string `json:"to"`
	Content []byte `json:"content"`
}

// Kind names the job.
func (Args) Kind() string { return "mail" }

// worker delivers jobs.
type worker struct {
	river.WorkerDefaults[Args]
	sender *delivery.Sender
	done   func()
}

func (w *worker) Work(ctx context.Context, job *river.Job[Args]) error {
	m := &queue.Message{
		From: "sender@from.test", Recipients: []queue.Recipient{{Address: job.Args.To}}, Content: queue.String(string(job.Args.Content)),
	}
	report, err := w.sender.Send(ctx, m)
	if err != nil {
		return err
	}
	for i := range report.Recipients {
		if err := report.Recipients[i].Err; err != nil {
			return err
		}
	}
	w.done()
	return nil
}

// theirs is River, with what c says of its fetches.
func (r *rig) theirs(name string, n int, content []byte, c river.Config) *figures {
	r.t.Helper()
	driver := riverpgxv5.New(r.pool)
	schema := strings.NewReplacer(" ", "_", ",", "").Replace(name)
	c.Schema, c.Logger, c.Workers = schema, slog.New(slog.DiscardHandler), river.NewWorkers()
	c.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: callers}}
	if _, err := r.pool.Exec(r.t.Context(), "CREATE SCHEMA "+pgx.Identifier{schema}.Sanitize()); err != nil {
		r.t.Fatal(err)
	}
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Schema: schema})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := migrator.Migrate(r.t.Context(), rivermigrate.DirectionUp, nil); err != nil {
		r.t.Fatal(err)
	}
	w := &worker{sender: r.sender()}
	defer w.sender.Close()
	river.AddWorker(c.Workers, w)
	client, err := river.NewClient(driver, &c)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.measure(name, n, func(ctx context.Context, i int) error {
		_, err := client.Insert(ctx, args(content, i), nil)
		return err
	}, func(ctx context.Context, done func()) {
		w.done = done
		if err := client.Start(context.WithoutCancel(ctx)); err != nil {
			r.t.Error(err)
			return
		}
		<-ctx.Done()
		if err := client.Stop(context.WithoutCancel(ctx)); err != nil {
			r.t.Error(err)
		}
	})
}

func args(content []byte, i int) Args {
	return Args{To: fmt.Sprintf("u%d@d%d.test", i, i%hosts), Content: content}
}

// insertMany measures River's call for many jobs at a time, by one caller.
func (r *rig) insertMany(schema string, n int, content []byte) string {
	r.t.Helper()
	const many = 100
	client, err := river.NewClient(riverpgxv5.New(r.pool), &river.Config{Schema: schema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		r.t.Fatal(err)
	}
	began, start := r.spent(), time.Now()
	for i := 0; i < n; i += many {
		var list []river.InsertManyParams
		for k := i; k < min(i+many, n); k++ {
			list = append(list, river.InsertManyParams{Args: args(content, k)})
		}
		if _, err := client.InsertMany(r.t.Context(), list); err != nil {
			r.t.Fatal(err)
		}
	}
	f := &figures{n: n, put: time.Since(start)}
	return fmt.Sprintf("%-22s %7.0f put/s, %s", "River, InsertMany", float64(n)/f.put.Seconds(), r.spent().since(began).of(f))
}

// alone is the Sender without a queue: no queue delivers more with it on this machine.
func (r *rig) alone(n int, content []byte) *figures {
	r.t.Helper()
	s := r.sender()
	defer s.Close()
	return r.measure("no queue", n, func(context.Context, int) error { return nil }, func(ctx context.Context, done func()) {
		var next atomic.Int64
		var group sync.WaitGroup
		for range callers {
			group.Go(func() {
				for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
					report, err := s.Send(context.WithoutCancel(ctx), message(content, i))
					if err != nil || report.Recipients[0].Err != nil {
						r.t.Errorf("Send = %+v, %v", report, err)
						return
					}
					done()
				}
			})
		}
		group.Wait()
	})
}

// Beside River: at least three times as many messages delivered a second, and five times
// as many of those with long contents, whether River fetches as often as it does if nothing
// is set, or as often as it can.
func TestBesideRiver(t *testing.T) {
	long := os.Getenv("NEXTHOP_LONG") != ""
	for _, c := range []struct {
		size, n int
		times   float64
	}{{4 << 10, 20_000, 3}, {40 << 10, 5_000, 5}} {
		t.Run(fmt.Sprintf("%d KiB", c.size>>10), func(t *testing.T) {
			n := c.n
			if !long {
				n = 300 // which shows that it works
			}
			r := newRig(t)
			content := contentOf(c.size)
			ours := r.ours("ours", n, content, postgres.Options{})
			separate := r.ours("ours, separate puts", n, content, postgres.Options{SeparatePuts: true})
			tuned := r.theirs("River, tuned", n, content, river.Config{FetchCooldown: time.Millisecond, FetchPollInterval: 100 * time.Millisecond})
			plain := r.theirs("River, defaults", n, content, river.Config{})
			many := r.insertMany("River_defaults", n, content)
			t.Logf("%d messages of %d KiB; processor time of the program and of the server, and WAL, are of a message\n%v\n%v\n%v\n%v\n%v\n%v",
				n, c.size>>10, ours, separate, tuned, plain, many, r.alone(n, content))
			for _, theirs := range []*figures{plain, tuned} {
				times := ours.rate() / theirs.rate()
				t.Logf("%.1f times as many delivered as by %s", times, theirs.name)
				if long && times < c.times {
					t.Errorf("%.1f times as many messages are delivered as by %s, want %v times", times, theirs.name, c.times)
				}
			}
		})
	}
}
