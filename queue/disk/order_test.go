package disk

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// behindASync runs the calls one after the other into one batch: each is in line
// before the next begins, and the device is busy until all are.
func behindASync(t *testing.T, fs *crashfs.FS, s *Spool, calls ...func()) {
	t.Helper()
	saving, goOn := make(chan struct{}), make(chan struct{})
	var busy atomic.Bool
	fs.Meanwhile(func() {
		if busy.CompareAndSwap(false, true) {
			close(saving)
			<-goOn
		}
	})
	var group sync.WaitGroup
	group.Go(func() { mustPut(t, s) })
	<-saving
	for i, call := range calls {
		group.Go(call)
		for inLine(s) <= i {
			runtime.Gosched()
		}
	}
	close(goOn)
	group.Wait()
}

func openSmall(t *testing.T) (*crashfs.FS, *Spool) {
	t.Helper()
	fs := crashfs.New(1)
	s, err := openByHand(fs, Options{})
	must(t, err)
	return fs, s
}

// TestFlushOfWhatIsBeingHeld has a message put on hold and flushed in one batch:
// it is due at once when the hold ends.
func TestFlushOfWhatIsBeingHeld(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	m := &queue.Message{NotBefore: now.Add(time.Hour), Content: queue.String("text"),
		Recipients: []queue.Recipient{{Address: "a@later.example"}}}
	id, err := s.Put(ctx, now, m)
	must(t, err)
	behindASync(t, fs, s,
		func() { must(t, s.Hold(ctx, id)) },
		func() {
			if n, err := s.Flush(ctx, now, queue.Selection{Message: id}); err != nil {
				t.Errorf("Flush = %d, %v", n, err)
			}
		})
	must(t, s.Release(ctx, id))
	c, err := s.Claim(ctx, now, queue.ClaimOptions{Destinations: []string{"later.example"}})
	must(t, err)
	if len(c.Deliveries) != 1 {
		t.Errorf("%d deliveries due after the flush, want 1; the next is due %v", len(c.Deliveries), c.Next)
	}
	must(t, s.Close())
}

// TestPostponeWhileItsSegmentIsGivenUp has a destination postponed anew, before
// and after what its old record says is moved: the new one counts, and does so
// after a restart too.
func TestPostponeWhileItsSegmentIsGivenUp(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	const name = "slow.example"
	for _, first := range []bool{true, false} {
		fs, s := openSmall(t)
		m := &queue.Message{Content: queue.String("text"), Recipients: []queue.Recipient{{Address: "a@" + name}}}
		_, err := s.Put(ctx, now, m)
		must(t, err)
		must(t, s.Postpone(ctx, now, queue.Postponement{Destination: name, Until: now.Add(time.Hour)}))
		old := s.current
		s.rollNow = true
		mustPut(t, s)
		must(t, s.takeCheckpoint(ctx)) // or compact would begin with it
		postpone := func() {
			must(t, s.Postpone(ctx, now, queue.Postponement{Destination: name, Until: now.Add(2 * time.Hour)}))
		}
		compact := func() { must(t, s.compact(ctx, old)) }
		if first {
			behindASync(t, fs, s, postpone, compact)
		} else {
			behindASync(t, fs, s, compact, postpone)
		}
		until := func(s *Spool) time.Time {
			c, err := s.Claim(ctx, now, queue.ClaimOptions{Destinations: []string{name}})
			must(t, err)
			return c.Next
		}
		if got := until(s); !got.Equal(now.Add(2 * time.Hour)) {
			t.Errorf("postponed first %v: postponed until %v, want %v", first, got, now.Add(2*time.Hour))
		}
		must(t, s.Close())
		must(t, withoutCheckpoints(fs))
		s, err = openByHand(fs, Options{})
		must(t, err)
		if got := until(s); !got.Equal(now.Add(2 * time.Hour)) {
			t.Errorf("postponed first %v: postponed until %v after a restart, want %v", first, got, now.Add(2*time.Hour))
		}
		must(t, s.Close())
	}
}
