package postgres_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// deafable makes connections that hear nothing any more once they are deaf, as after a
// failover that nobody told them of.
type deafable struct {
	deaf  atomic.Bool
	dials chan struct{}
}

func (d *deafable) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	select {
	case d.dials <- struct{}{}:
	default:
	}
	return &deafConn{Conn: conn, d: d}, err
}

type deafConn struct {
	net.Conn
	d   *deafable
	was bool // deaf, and stays so
}

// Read never returns anything of a deaf connection.
func (c *deafConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if c.was = c.was || c.d.deaf.Load(); !c.was || err != nil {
			return n, err
		}
	}
}

// wakes waits until a put by one handle wakes another, and how long that took.
func wakes(t *testing.T, by, agent *postgres.Queue) time.Duration {
	t.Helper()
	ended := woken(t, agent)
	start := time.Now()
	if _, err := by.Put(t.Context(), time.Now(), mail("text", "a@one.example")); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("nobody was woken")
	}
	return time.Since(start)
}

// A connection that listens and is dead without a word is noticed within seconds, and
// another one listens; an agent that has begun to wait when nothing was wrong is woken.
func TestDeadListenerIsNoticed(t *testing.T) {
	p := pool(t, shared.server.URL())
	d := &deafable{dials: make(chan struct{}, 1)}
	config, err := pgx.ParseConfig(shared.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	config.DialFunc = d.dial
	by, o := open(t, p, postgres.Options{})
	o.Listen, o.PollEvery = config, time.Hour
	agent := another(t, p, o)
	wakes(t, by, agent)
	<-d.dials
	d.deaf.Store(true)
	ended := woken(t, agent) // while nothing seems wrong
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("nobody noticed")
	}
	d.deaf.Store(false)
	select {
	case <-d.dials:
	case <-time.After(patience):
		t.Fatal("no other connection was made")
	}
	wakes(t, by, agent)
}

// Without a connection that listens, Wait polls.
func TestPollingAlone(t *testing.T) {
	p := pool(t, shared.server.URL())
	by, o := open(t, p, postgres.Options{NoListen: true, PollEvery: 50 * time.Millisecond})
	agent := another(t, p, o)
	for range 3 {
		wakes(t, by, agent)
	}
}

// Nobody listens through a pooler: what a connection to the server hears then is of
// somebody who has it no more.
func TestNobodyListensThroughPgBouncer(t *testing.T) {
	b, err := shared.server.Bouncer(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	p := pool(t, b.URL())
	by, o := open(t, p, postgres.Options{PollEvery: 50 * time.Millisecond})
	agent := another(t, p, o)
	for range 3 {
		wakes(t, by, agent)
	}
	if strings.Contains(b.Log(), "WARNING") {
		t.Errorf("PgBouncer complains: %s", b.Log())
	}
	t.Run("but around it", func(t *testing.T) {
		o.PollEvery = time.Hour
		if o.Listen, err = pgx.ParseConfig(shared.server.URL()); err != nil {
			t.Fatal(err)
		}
		wakes(t, by, another(t, p, o))
	})
}
