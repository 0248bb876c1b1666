package disk

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// putWide puts a message to many destinations.
func putWide(t *testing.T, s *Spool, destinations int) string {
	t.Helper()
	m := &queue.Message{Content: queue.String("text")}
	for n := range destinations {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("a@d%d.example", n)})
	}
	id, err := s.Put(context.Background(), time.Unix(1e9, 0), m)
	must(t, err)
	return id
}

// TestTurnBesideABusyMessage has many callers settle the deliveries of one message
// to many destinations, each time with a message that must be saved, so that some
// are being settled at every moment. Whoever needs all of them gets through before
// the others have had every delivery twice.
func TestTurnBesideABusyMessage(t *testing.T) {
	const destinations, callers = 1000, 16
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for name, call := range map[string]func(*Spool, string, *segment) error{
		"Hold": func(s *Spool, id string, _ *segment) error { return s.Hold(ctx, id) },
		"Drop": func(s *Spool, id string, _ *segment) error { return s.Drop(ctx, id) },
		"Flush": func(s *Spool, id string, _ *segment) error {
			_, err := s.Flush(ctx, now, queue.Selection{Message: id})
			return err
		},
		"a compaction": func(s *Spool, _ string, g *segment) error { return s.compact(ctx, g) },
		"a checkpoint": func(s *Spool, _ string, _ *segment) error { return s.takeCheckpoint(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			_, s := openSmall(t)
			id := putWide(t, s, destinations)
			first := s.current
			s.rollNow = true
			mustPut(t, s)
			var (
				group   sync.WaitGroup
				settled atomic.Int64
				through atomic.Bool
			)
			more := func() bool { return !through.Load() && settled.Load() < 2*destinations+callers }
			for caller := range callers {
				group.Go(func() {
					for n := 0; more(); n++ {
						c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 1})
						if err != nil || len(c.Deliveries) == 0 {
							runtime.Gosched()
							settled.Add(1)
							continue
						}
						d := &c.Deliveries[0]
						_, err = s.Settle(ctx, now, []queue.Settlement{{Lease: d.Lease,
							Results: []queue.Result{{Recipient: d.States[0].Index}},
							Create: []*queue.Message{{Key: fmt.Sprint(caller, " ", n), Content: queue.String("delayed"),
								NotBefore: now.Add(time.Hour), Recipients: []queue.Recipient{{Address: "a@sender.example"}}}},
						}})
						if err != nil {
							t.Error(err)
						}
						settled.Add(1)
					}
				})
			}
			for settled.Load() < callers {
				runtime.Gosched()
			}
			must(t, call(s, id, first))
			if n := settled.Load(); n >= 2*destinations {
				t.Errorf("it got through only when the others had settled %d times", n)
			}
			through.Store(true)
			group.Wait()
			if len(s.reserved) > 0 {
				t.Errorf("%d deliveries are still reserved", len(s.reserved))
			}
			must(t, s.Close())
		})
	}
}

// TestTurnsInOrder hands a delivery on in the order in which callers came, and
// forgets one that has given up.
func TestTurnsInOrder(t *testing.T) {
	_, s := openSmall(t)
	ctx := context.Background()
	must(t, s.acquire(ctx, []index.Slot{1, 2}))
	waiting := func(slot index.Slot) (n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for w := s.reserved[slot]; w != nil; w = w.next {
			n++
		}
		return n
	}
	var (
		group sync.WaitGroup
		order = make(chan int, 3)
	)
	join := func(ctx context.Context, who int, slots ...index.Slot) {
		before := waiting(1)
		group.Go(func() {
			if err := s.acquire(ctx, slots); err != nil {
				order <- -who
				return
			}
			order <- who
			s.release(slots)
		})
		for waiting(1) == before {
			runtime.Gosched()
		}
	}
	short, cancel := context.WithCancel(ctx)
	join(ctx, 1, 3, 1)
	join(short, 2, 1)
	join(ctx, 3, 1)
	cancel()
	if got := <-order; got != -2 {
		t.Errorf("the first that ended was %d, want the one that gave up", got)
	}
	s.release([]index.Slot{1, 2})
	if a, b := <-order, <-order; a != 1 || b != 3 {
		t.Errorf("delivery 1 went to %d and then to %d", a, b)
	}
	group.Wait()
	if len(s.reserved) > 0 {
		t.Errorf("%d deliveries are still reserved", len(s.reserved))
	}
}
