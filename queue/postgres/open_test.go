package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// counter counts the statements that read contents.
type counter struct{ n atomic.Int64 }

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if strings.Contains(data.SQL, "content_sum") {
		c.n.Add(1)
	}
	return ctx
}

func (*counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// Calls of Open that come together share round trips, and each gets what is its own.
func TestOpensThatComeTogether(t *testing.T) {
	p := pool(t, shared.server.URL())
	o := postgres.Options{Schema: shared.named(), NoListen: true}
	if err := postgres.Migrate(t.Context(), p, o); err != nil {
		t.Fatal(err)
	}
	config := p.Config()
	var count counter
	config.ConnConfig.Tracer = &count
	traced, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer traced.Close()
	q, err := postgres.Open(t.Context(), traced, o)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	const messages, each = 60, 5
	var ids []string
	for i := range messages {
		text := fmt.Sprint("content ", i)
		if i%10 == 0 {
			text = strings.Repeat(text, 10_000) // in pieces
		}
		id, err := q.Put(t.Context(), time.Now(), mail(text, "a@one.example"))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	gone := ids[messages-1]
	if err := q.Drop(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	before := count.n.Load()
	ended, end := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for range each {
		for i, id := range ids {
			group.Go(func() {
				c, err := q.Open(t.Context(), id)
				if id == gone {
					if !errors.Is(err, queue.ErrNotFound) {
						t.Errorf("Open of a message that is gone is %v", err)
					}
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				if got := string(queue.BytesOf(c)); i%10 != 0 && got != fmt.Sprint("content ", i) {
					t.Errorf("content %d is %.20q", i, got)
				} else if i%10 == 0 && c.Size() != int64(10_000*len(fmt.Sprint("content ", i))) {
					t.Errorf("content %d has %d bytes", i, c.Size())
				}
			})
			group.Go(func() {
				if _, err := q.Open(ended, id); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, queue.ErrNotFound) {
					t.Errorf("Open whose context ends is %v", err)
				}
			})
		}
	}
	end()
	group.Wait()
	if n := count.n.Load() - before; n > messages*each/2 {
		t.Errorf("%d statements for %d calls", n, 2*messages*each)
	}
}

// Calls of Open end when the queue is closed.
func TestCloseDuringOpens(t *testing.T) {
	p := pool(t, shared.server.URL())
	for range 20 {
		q, _ := open(t, p, postgres.Options{NoListen: true})
		id, err := q.Put(t.Context(), time.Now(), mail("text", "a@one.example"))
		if err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				for {
					if _, err := q.Open(t.Context(), id); err != nil {
						if !errors.Is(err, queue.ErrClosed) {
							t.Errorf("Open is %v", err)
						}
						return
					}
				}
			})
		}
		q.Close()
		group.Wait()
	}
}
