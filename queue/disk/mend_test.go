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

// TestWhatIsWrittenAgainStandsElsewhere has a sync say that there is no room for what was
// written: a message, and behind it what nobody waits to be saved, a settlement, a
// postponement and a flush. These are written again first, so that they stand elsewhere.
func TestWhatIsWrittenAgainStandsElsewhere(t *testing.T) {
	ctx := context.Background()
	l := newLife(7, small())
	must(t, l.open())
	s := l.s
	put := func(to string, notBefore time.Time) string {
		m := textMessage("text")
		m.Recipients[0].Address, m.NotBefore = "a@"+to, notBefore
		id, err := s.Put(ctx, l.now, m)
		must(t, err)
		return id
	}
	deferred, later := put("deferred.example", time.Time{}), put("later.example", l.now.Add(time.Hour))
	c, err := s.Claim(ctx, l.now, queue.ClaimOptions{Destinations: []string{"deferred.example"}})
	must(t, err)
	syncs := 0
	l.fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpSync && strings.HasPrefix(name, segmentPrefix) {
			if syncs++; syncs == 2 {
				return syscall.ENOSPC
			}
		}
		return nil
	})
	behindASync(t, l.fs, s,
		func() { put("new.example", time.Time{}) },
		func() {
			_, err := s.Settle(ctx, l.now, []queue.Settlement{{Lease: c.Deliveries[0].Lease, NotBefore: l.now.Add(time.Hour),
				Results: []queue.Result{{Outcome: queue.Deferred}}}})
			must(t, err)
		},
		func() {
			must(t, s.Postpone(ctx, l.now, queue.Postponement{Destination: "slow.example", Until: l.now.Add(time.Hour)}))
		},
		func() {
			_, err := s.Flush(ctx, l.now, queue.Selection{Message: later})
			must(t, err)
		})
	l.fs.Inject(nil)
	if syncs < 3 {
		t.Fatalf("%d syncs: nothing was written again", syncs)
	}
	if e, err := s.Show(ctx, deferred); err != nil || e.Waiting[0].Attempts != 1 {
		t.Errorf("what was deferred is %+v, %v", e.Waiting, err)
	}
	must(t, l.reckonsTheSame())
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
