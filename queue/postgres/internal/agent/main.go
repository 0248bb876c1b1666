// Command agent works on a queue in PostgreSQL, for tests of an upgrade: it is built of the
// version before, too, and so uses nothing that is new. It puts mail, delivers what it
// claims to nobody, and prints a line for each, until its standard input ends.
//
//	agent URL SCHEMA
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	if err := work(ctx, os.Args[1], os.Args[2]); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

func work(ctx context.Context, url, schema string) error {
	last := context.WithoutCancel(ctx)
	pool, err := pgxpool.New(last, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	q, err := postgres.Open(last, pool, postgres.Options{Schema: schema})
	if err != nil {
		return err
	}
	defer q.Close()
	var all sync.WaitGroup
	all.Go(func() { put(ctx, q) })
	for ctx.Err() == nil {
		if err := deliver(ctx, q); err != nil {
			fmt.Println("error", err)
		}
	}
	all.Wait()
	return nil
}

// put puts a message every few milliseconds.
func put(ctx context.Context, q *postgres.Queue) {
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		m := &queue.Message{
			From: "alice@example.org", Content: queue.String("Subject: one\r\n\r\ntext\r\n"),
			Recipients: []queue.Recipient{{Address: fmt.Sprintf("b@d%d.example", i%20)}},
		}
		id, err := q.Put(context.WithoutCancel(ctx), time.Now(), m)
		if err != nil {
			fmt.Println("error", err)
		} else {
			fmt.Println("put", id)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// deliver claims and settles once. Every third delivery is deferred at first.
func deliver(ctx context.Context, q *postgres.Queue) error {
	last, now := context.WithoutCancel(ctx), time.Now()
	got, err := q.Claim(last, now, queue.ClaimOptions{Max: 5})
	if err != nil {
		return err
	}
	if len(got.Deliveries) == 0 {
		waiting, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		_ = queue.Wait(waiting, q, got.Seen)
		return nil
	}
	var (
		batch []queue.Settlement
		words []string
	)
	for i, d := range got.Deliveries {
		s := queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Recipient: d.States[0].Index, Outcome: queue.Delivered}}}
		word := "delivered"
		if d.States[0].Attempts == 0 && i%3 == 0 {
			s.Results[0].Outcome, s.NotBefore, word = queue.Deferred, now.Add(50*time.Millisecond), "deferred"
		}
		batch, words = append(batch, s), append(words, word)
	}
	settled, err := q.Settle(last, now, batch)
	if err != nil {
		return err
	}
	for i, s := range settled {
		if s.Err != nil {
			return s.Err
		}
		fmt.Println(words[i], batch[i].Lease.Message)
	}
	return nil
}
