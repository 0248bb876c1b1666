package disk

import (
	"context"
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
