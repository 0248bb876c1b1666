package disk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// TestWhatIsWrittenAgainStandsElsewhere has a sync say, once or several times, that there is
// no room for what was written: a message, and behind it what nobody waits to be saved, two
// settlements and a postponement, and a flush. These are written again first, so that they
// stand elsewhere.
func TestWhatIsWrittenAgainStandsElsewhere(t *testing.T) {
	for fails := 1; fails <= 3; fails++ {
		standsElsewhere(t, fails)
	}
}

func standsElsewhere(t *testing.T, fails int) {
	ctx := context.Background()
	l := newLife(7, small())
	must(t, l.open())
	s := l.s
	put := func(to string, notBefore time.Time) (string, error) {
		m := textMessage("text")
		m.Recipients[0].Address, m.NotBefore = "a@"+to, notBefore
		return s.Put(ctx, l.now, m)
	}
	deferred, err := put("deferred.example", time.Time{})
	must(t, err)
	later, err := put("later.example", l.now.Add(time.Hour))
	must(t, err)
	_, err = put("ended.example", time.Time{})
	must(t, err)
	settle := func(to string, o queue.Outcome) func() {
		c, err := s.Claim(ctx, l.now, queue.ClaimOptions{Destinations: []string{to}})
		must(t, err)
		return func() {
			done, err := s.Settle(ctx, l.now, []queue.Settlement{{Lease: c.Deliveries[0].Lease, NotBefore: l.now.Add(time.Hour),
				Results: []queue.Result{{Outcome: o}}}})
			must(t, err)
			must(t, done[0].Err)
		}
	}
	syncs := 0
	l.fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpSync && strings.HasPrefix(name, segmentPrefix) {
			if syncs++; syncs >= 2 && syncs < 2+fails {
				return syscall.ENOSPC
			}
		}
		return nil
	})
	behindASync(t, l.fs, s,
		func() {
			if _, err := put("new.example", time.Time{}); !errors.Is(err, queue.ErrFull) {
				must(t, err)
			}
		},
		settle("deferred.example", queue.Deferred),
		settle("ended.example", queue.Delivered),
		func() {
			must(t, s.Postpone(ctx, l.now, queue.Postponement{Destination: "slow.example", Until: l.now.Add(time.Hour)}))
		},
		func() {
			if _, err := s.Flush(ctx, l.now, queue.Selection{Message: later}); !errors.Is(err, queue.ErrFull) {
				must(t, err)
			}
		})
	l.fs.Inject(nil)
	if syncs < 2+fails {
		t.Fatalf("%d syncs: nothing was written again", syncs)
	}
	if e, err := s.Show(ctx, deferred); err != nil || e.Waiting[0].Attempts != 1 {
		t.Errorf("what was deferred is %+v, %v", e.Waiting, err)
	}
	if err := l.reckonsTheSame(); err != nil {
		t.Errorf("after %d syncs that failed: %v", fails, err)
	}
}

// TestWrittenAgainIsSaved has one sync after the other say that there is no room: what was
// written again for one is saved, and the next does not take it back.
func TestWrittenAgainIsSaved(t *testing.T) {
	fs, s := openSmall(t)
	mustPut(t, s)
	var ids []string
	syncs := 0
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpSync && strings.HasPrefix(name, segmentPrefix) {
			if syncs++; syncs%2 == 1 {
				return syscall.ENOSPC
			}
		}
		return nil
	})
	for range 3 {
		ids = append(ids, mustPut(t, s))
	}
	fs.Inject(nil)
	if s.mends != 3 {
		t.Fatalf("%d times something was written again", s.mends)
	}
	s, err := openByHand(fs.Restart(), Options{})
	must(t, err)
	for i, id := range ids {
		if _, err := s.Show(context.Background(), id); err != nil {
			t.Errorf("message %d: %v", i, err)
		}
	}
}

// TestNothingIsWrittenAgainAfterAFailure has a sync say that there is no room, and the
// device fail elsewhere meanwhile: nothing is stored any more.
func TestNothingIsWrittenAgainAfterAFailure(t *testing.T) {
	w := &watchedReads{FS: crashfs.New(1)}
	s, err := openByHand(w, Options{})
	must(t, err)
	mustPut(t, s)
	w.sync = func(string) error {
		w.sync = nil
		_ = s.fail(syscall.EIO)
		return syscall.ENOSPC
	}
	if _, err := s.Put(context.Background(), time.Unix(1e9, 0), textMessage("text")); !errors.Is(err, ErrFailed) {
		t.Errorf("Put = %v, want ErrFailed", err)
	}
}

// TestReadWhileTheEndIsInPieces reads messages while there is no room to write the end of
// the log again: those that stand before it, or in another segment, can be read.
func TestReadWhileTheEndIsInPieces(t *testing.T) {
	ctx := context.Background()
	fs, s := openSmall(t)
	var ids []string
	for range 5 { // so that the first segment is longer than the second
		ids = append(ids, mustPut(t, s))
	}
	s.rollNow = true
	for range 2 {
		ids = append(ids, mustPut(t, s))
	}
	must(t, settleOne(s, queue.Deferred, nil)) // of all; the first is in pieces
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpSync && strings.HasPrefix(name, segmentPrefix) {
			return syscall.ENOSPC
		}
		return nil
	})
	if err := s.save(); !errors.Is(err, queue.ErrFull) || !s.torn {
		t.Fatalf("saving: %v", err)
	}
	read := 0
	for _, id := range ids {
		switch _, err := s.Show(ctx, id); {
		case err == nil:
			read++
		case !errors.Is(err, queue.ErrFull):
			t.Error(err)
		}
	}
	if read != len(ids)-1 {
		t.Errorf("%d messages can be read, want %d", read, len(ids)-1)
	}
	fs.Inject(nil)
	for _, id := range ids {
		if _, err := s.Show(ctx, id); err != nil {
			t.Errorf("when there is room: %v", err)
		}
	}
}

// TestWritingAgainThatFails has a sync say that there is no room, and then one of the calls
// fail that write once more what was written: the message is stored as a whole or refused,
// and what was answered before is as it was. If it is not for lack of room, the spool has
// failed.
func TestWritingAgainThatFails(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, op := range []crashfs.Op{crashfs.OpTruncate, crashfs.OpWrite, crashfs.OpSync} {
		for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
			for _, always := range []bool{false, true} {
				what := fmt.Sprintf("%v: %v, always %v", op, cause, always)
				fs, s := openSmall(t)
				id := mustPut(t, s)
				must(t, settleOne(s, queue.Deferred, nil))
				full, hit := false, 0
				fs.Inject(func(o crashfs.Op, name string) error {
					switch {
					case !strings.HasPrefix(name, segmentPrefix):
					case o == crashfs.OpSync && !full:
						full = true
						return syscall.ENOSPC
					case full && o == op && (always || hit == 0):
						hit++
						return cause
					}
					return nil
				})
				put, err := s.Put(ctx, now, textMessage("text"))
				if hit == 0 {
					t.Fatalf("%s: nothing failed", what)
				}
				fails := cause == syscall.EIO || op == crashfs.OpTruncate
				if errors.Is(err, ErrFailed) != fails || !fails && err != nil && !errors.Is(err, queue.ErrFull) || !fails && always && err == nil {
					t.Errorf("%s: Put = %v", what, err)
				}
				if always && !fails { // there is no room still
					if err := s.save(); !errors.Is(err, queue.ErrFull) {
						t.Errorf("%s: what was answered is said to be saved: %v", what, err)
					}
					if _, err := s.Show(ctx, id); !errors.Is(err, queue.ErrFull) {
						t.Errorf("%s: what cannot be written is shown: %v", what, err)
					}
					if err := s.Hold(ctx, id); !errors.Is(err, queue.ErrFull) {
						t.Errorf("%s: Hold = %v", what, err)
					}
				}
				fs.Inject(nil)
				if errors.Is(s.failed(), ErrFailed) != fails {
					t.Errorf("%s: the spool has failed: %v", what, s.failed())
				}
				ids := []string{id}
				if err == nil {
					ids = append(ids, put)
				}
				if !fails {
					if e, err := s.Show(ctx, id); err != nil || e.Waiting[0].Attempts != 1 {
						t.Errorf("%s: what was deferred is %+v, %v", what, e.Waiting, err)
					}
					ids = append(ids, mustPut(t, s))
				}
				s, err = openByHand(fs.Restart(), Options{})
				must(t, err)
				for i, id := range ids {
					e, err := s.Show(ctx, id)
					must(t, err)
					if !fails && i == 0 && e.Waiting[0].Attempts != 1 {
						t.Errorf("%s: after a power cut %d attempts are counted", what, e.Waiting[0].Attempts)
					}
				}
				if len(s.problems) > 0 || !fails && s.index.Messages() != len(ids) {
					t.Errorf("%s: %d messages are there, want %d; problems %v", what, s.index.Messages(), len(ids), s.problems)
				}
			}
		}
	}
}
