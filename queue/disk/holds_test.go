package disk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// heldSpool is a spool with so many messages on hold for an hour.
func heldSpool(t *testing.T, fs *crashfs.FS, n int) (s *Spool, ids []string, now time.Time) {
	t.Helper()
	s, err := openByHand(fs, small())
	if err != nil {
		t.Fatal(err)
	}
	now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		id, err := s.Put(t.Context(), now, &queue.Message{
			Recipients: []queue.Recipient{{Address: fmt.Sprintf("a@d%d.example", i)}}, Content: queue.String("text"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.HoldUntil(t.Context(), now, id, queue.Terms{Until: now.Add(time.Hour), Reason: "why"}); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return s, ids, now
}

// noRoom is a device that takes nothing more.
func noRoom(op crashfs.Op, _ string) error {
	if op == crashfs.OpWrite || op == crashfs.OpCreate {
		return syscall.ENOSPC
	}
	return nil
}

func claimAll(t *testing.T, s *Spool, now time.Time) (n int) {
	t.Helper()
	got, err := s.Claim(t.Context(), now, queue.ClaimOptions{Max: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	return len(got.Deliveries)
}

// TestHoldEndsAfterCheckpoint opens a spool by its checkpoint alone, which has the
// ends of holds, and by the log.
func TestHoldEndsAfterCheckpoint(t *testing.T) {
	for _, with := range []bool{true, false} {
		t.Run(fmt.Sprintf("checkpoint=%t", with), func(t *testing.T) {
			fs := crashfs.New(1)
			s, ids, now := heldSpool(t, fs, 600)
			if err := s.Release(t.Context(), ids[0]); err != nil {
				t.Fatal(err)
			}
			if err := s.takeCheckpoint(context.Background()); err != nil {
				t.Fatal(err)
			}
			if err := s.Drop(t.Context(), ids[1]); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if !with {
				if err := withoutCheckpoints(fs); err != nil {
					t.Fatal(err)
				}
			}
			s, err := openByHand(fs, small())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if n := claimAll(t, s, now.Add(time.Hour-time.Millisecond)); n != 1 {
				t.Errorf("before the end of the holds a claim returned %d deliveries, want the one released", n)
			}
			if n := claimAll(t, s, now.Add(time.Hour)); n != 598 {
				t.Errorf("at the end of the holds a claim returned %d deliveries, want 598", n)
			}
			if n := s.holdEnds.Len(); n != 0 {
				t.Errorf("%d holds are remembered that have ended", n)
			}
		})
	}
}

// TestHoldEndsWithoutRoom has no room for anything: what was held until a time is claimed
// then all the same.
func TestHoldEndsWithoutRoom(t *testing.T) {
	fs := crashfs.New(1)
	s, _, now := heldSpool(t, fs, 3)
	defer s.Close()
	fs.Inject(noRoom)
	if n := claimAll(t, s, now.Add(time.Hour)); n != 3 {
		t.Errorf("without room a claim returned %d deliveries whose holds have ended, want 3", n)
	}
	fs.Inject(nil)
}

// TestHoldEndsBeforeFlush flushes what is not due and was held until a time that has
// come, and opens the spool by the log.
func TestHoldEndsBeforeFlush(t *testing.T) {
	for _, later := range []time.Duration{0, time.Hour} { // than the end
		fs := crashfs.New(1)
		s, err := openByHand(fs, small())
		if err != nil {
			t.Fatal(err)
		}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		id, err := s.Put(t.Context(), now, &queue.Message{
			Recipients: []queue.Recipient{{Address: "a@one.example"}}, Content: queue.String("text"), NotBefore: now.Add(24 * time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.HoldUntil(t.Context(), now, id, queue.Terms{Until: now.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Flush(t.Context(), now.Add(time.Hour+later), queue.Selection{}); n != 1 || err != nil {
			t.Errorf("Flush = %d, %v, want the one whose hold is over", n, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = openByHand(fs, small()); err != nil {
			t.Fatal(err)
		}
		if n := claimAll(t, s, now.Add(time.Hour+later)); n != 1 {
			t.Errorf("after the restart a claim returned %d deliveries, want the one that was flushed", n)
		}
		must(t, s.Close())
	}
}

// TestHoldEndsDuringCheckpoint ends holds while a checkpoint is written, and opens the
// spool by that.
func TestHoldEndsDuringCheckpoint(t *testing.T) {
	fs := crashfs.New(1)
	s, _, now := heldSpool(t, fs, 50)
	later := now.Add(time.Hour)
	once := sync.OnceFunc(func() { claimAll(t, s, later) })
	fs.Meanwhile(once)
	if err := s.takeCheckpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	fs.Meanwhile(nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := openByHand(fs, small())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n := claimAll(t, s, later); n != 50 {
		t.Errorf("after the restart a claim returned %d deliveries, want 50", n)
	}
}

// TestHoldsEndBesideOthers ends many holds while others hold anew, release and compact.
func TestHoldsEndBesideOthers(t *testing.T) {
	fs := crashfs.New(1)
	s, ids, now := heldSpool(t, fs, 400)
	defer s.Close()
	later := now.Add(time.Hour)
	var others sync.WaitGroup
	others.Go(func() {
		for i, id := range ids {
			var err error
			switch i % 4 {
			case 0:
				err = s.HoldUntil(t.Context(), later, id, queue.Terms{Until: later.Add(time.Hour)})
			case 1:
				err = s.Hold(t.Context(), id)
			case 2:
				err = s.Release(t.Context(), id)
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	others.Go(func() {
		for range 5 {
			if err := s.maintain(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	for range 20 {
		claimAll(t, s, later)
	}
	others.Wait()
	claimAll(t, s, later.Add(time.Minute))
	for i, id := range ids {
		e, err := s.Show(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if want := i%4 < 2; e.Held != want {
			t.Errorf("the message %d of %d is on hold: %t, want %t", i, len(ids), e.Held, want)
		}
	}
}

// TestSuspendedFileDamaged finds the file of what is suspended damaged: the spool
// opens, says so, and goes on.
func TestSuspendedFileDamaged(t *testing.T) {
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	one := queue.Suspension{Subject: queue.Subject{Name: "one.example"}}
	two := queue.Suspension{Subject: queue.Subject{Name: "two.example"}}
	if err := s.Suspend(t.Context(), now, one, two); err != nil {
		t.Fatal(err)
	}
	name := fileName(suspendedPrefix, s.suspendedFile)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := fs.Open(name, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("xx"), 1024+40); err != nil {
		t.Fatal(err)
	}
	_ = f.Sync()
	_ = f.Close()
	if s, err = openByHand(fs, small()); err != nil {
		t.Fatalf("open with a damaged file = %v", err)
	}
	if len(s.problems) != 1 || s.problems[0].File != name {
		t.Errorf("the problems are %v, want one of %s", s.problems, name)
	}
	got, err := s.Suspensions(t.Context(), now)
	if err != nil || len(got) != 1 || got[0].Subject != two.Subject {
		t.Errorf("Suspensions = %v, %v, want what can be read, two.example", got, err)
	}
	if err := s.Suspend(t.Context(), now, one); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = openByHand(fs, small()); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, _ := s.Suspensions(t.Context(), now); len(got) != 2 || len(s.problems) != 0 {
		t.Errorf("after another Suspend %v is suspended and the problems are %v", got, s.problems)
	}
}

// TestSuspendWithoutRoom leaves what is suspended as it was where the file cannot be
// written.
func TestSuspendWithoutRoom(t *testing.T) {
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	many := make([]queue.Suspension, queue.MaxSuspensions)
	for i := range many {
		many[i].Name = fmt.Sprintf("d%d.example", i)
	}
	fs.Inject(noRoom)
	if err := s.Suspend(t.Context(), now, many...); !errors.Is(err, queue.ErrFull) {
		t.Errorf("Suspend without room = %v, want ErrFull", err)
	}
	if got, err := s.Suspensions(t.Context(), now); err != nil || len(got) != 0 {
		t.Errorf("Suspensions = %d of them, %v, want none", len(got), err)
	}
	fs.Inject(nil)
	if err := s.Suspend(t.Context(), now, many...); err != nil {
		t.Errorf("Suspend with room again = %v", err)
	}
}

// TestHoldEndsOfPart writes one delivery of a message anew after the end of a hold, and
// opens the spool by the log: the other's hold has ended too.
func TestHoldEndsOfPart(t *testing.T) {
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	id, err := s.Put(t.Context(), now, &queue.Message{
		Recipients: []queue.Recipient{{Address: "a@one.example"}, {Address: "a@two.example"}}, Content: queue.String("text"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.HoldUntil(t.Context(), now, id, queue.Terms{Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	later := now.Add(time.Hour)
	got, err := s.Claim(t.Context(), later, queue.ClaimOptions{Max: 1})
	if err != nil || len(got.Deliveries) != 1 {
		t.Fatalf("Claim = %+v, %v", got, err)
	}
	if _, err := s.Settle(t.Context(), later, []queue.Settlement{{Lease: got.Deliveries[0].Lease}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = openByHand(fs, small()); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n := claimAll(t, s, later); n != 2 {
		t.Errorf("after the restart a claim returned %d deliveries, want both", n)
	}
}

// TestHoldThatIsOverWakesNobody has holds end before their time: by a release, or
// because the message has left. No claim is told to come when they would have ended, now
// or after a restart, with a checkpoint from before that or without.
func TestHoldThatIsOverWakesNobody(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	due := now.Add(10 * time.Hour)
	for name, end := range map[string]func(*Spool, string, queue.Lease) error{
		"released": func(s *Spool, id string, _ queue.Lease) error { return s.Release(ctx, id) },
		"dropped":  func(s *Spool, id string, _ queue.Lease) error { return s.Drop(ctx, id) },
		"delivered": func(s *Spool, _ string, l queue.Lease) error {
			_, err := s.Settle(ctx, now, []queue.Settlement{{Lease: l, Results: []queue.Result{{Outcome: queue.Delivered}}}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs := crashfs.New(1)
			s, err := openByHand(fs, small())
			must(t, err)
			put := func(notBefore time.Time) string {
				id, err := s.Put(ctx, now, &queue.Message{NotBefore: notBefore, Content: queue.String("text"),
					Recipients: []queue.Recipient{{Address: "a@b.example"}}})
				must(t, err)
				return id
			}
			put(due)
			id := put(time.Time{})
			c, err := s.Claim(ctx, now, queue.ClaimOptions{Lease: 20 * time.Hour})
			must(t, err)
			must(t, s.HoldUntil(ctx, now, id, queue.Terms{Until: now.Add(time.Hour)}))
			must(t, s.takeCheckpoint(ctx))
			must(t, end(s, id, c.Deliveries[0].Lease))
			must(t, s.save())
			next := func(when string) {
				t.Helper()
				c, err := s.Claim(ctx, now, queue.ClaimOptions{Lease: 20 * time.Hour})
				must(t, err)
				if !c.Next.Equal(due) || s.holdEnds.Len() > 0 {
					t.Errorf("%s: a claim is to come again at %v, want %v; %d holds are to end", when, c.Next.UTC(), due.UTC(), s.holdEnds.Len())
				}
			}
			next("before a restart")
			fs = fs.Kill()
			s, err = openByHand(fs, small())
			must(t, err)
			next("with a checkpoint")
			must(t, s.Close())
			must(t, withoutCheckpoints(fs))
			s, err = openByHand(fs, small())
			must(t, err)
			next("without a checkpoint")
		})
	}
}
