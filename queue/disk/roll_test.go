package disk

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// TestNewSegmentAfterASyncWithoutRoom has the device say that it is full when the log is
// saved because a segment begins: what was postponed before is there after a power cut, also
// when that segment has been given up again.
func TestNewSegmentAfterASyncWithoutRoom(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(20) {
		fs := crashfs.New(seed)
		s, err := openByHand(fs, small())
		must(t, err)
		mustPut(t, s)
		postponed(t, s, "slow.example")
		s.rollNow = true
		fs.Inject(crashfs.FailNth(crashfs.OpSync, 1, false, syscall.ENOSPC))
		mustPut(t, s)
		fs.Inject(nil)
		g := s.current
		s.rollNow = true
		mustPut(t, s)
		must(t, s.compact(ctx, g))
		must(t, s.save())
		fs = fs.Restart()
		must(t, withoutCheckpoints(fs))
		s, err = openByHand(fs, small())
		must(t, err)
		if until, _ := s.index.Postponed("slow.example"); until.IsZero() {
			t.Errorf("seed %d: slow.example is not postponed any more", seed)
		}
		if total, _ := s.Total(ctx); total.Messages != 3 || len(s.problems) > 0 {
			t.Errorf("seed %d: %d messages, problems %v", seed, total.Messages, s.problems)
		}
		must(t, s.Close())
	}
}

// TestKeyOfWhatACheckpointHalfKnows has a message leave one delivery after the other, and the
// segment with its record and the first end given up, while there is no room for the file of
// keys. Open finds the last end in the log, and the other delivery in the checkpoint alone:
// the key is remembered all the same.
func TestKeyOfWhatACheckpointHalfKnows(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	keyed := keyedMessage("key")
	keyed.Recipients = []queue.Recipient{{Address: "a@one.example"}, {Address: "a@two.example"}}
	id, err := s.Put(ctx, now, keyed)
	must(t, err)
	must(t, s.takeCheckpoint(ctx))
	fs.Inject(func(op crashfs.Op, name string) error {
		if op <= crashfs.OpRemove && strings.HasPrefix(name, keysPrefix) {
			return syscall.ENOSPC
		}
		return nil
	})
	for i, destination := range []string{"one.example", "two.example"} {
		s.rollNow = i > 0
		c, err := s.Claim(ctx, now, queue.ClaimOptions{Destinations: []string{destination}})
		must(t, err)
		must(t, settled(t, s, now, queue.Settlement{Lease: c.Deliveries[0].Lease, Results: []queue.Result{{Recipient: c.Deliveries[0].States[0].Index, Outcome: queue.Delivered}}})[0])
	}
	must(t, s.compact(ctx, s.segments.byNumber[1]))
	if len(s.segments.byNumber) != 1 || len(filesWith(t, fs, keysPrefix)) > 0 {
		t.Fatalf("%d segments are in use, and there are %q", len(s.segments.byNumber), filesWith(t, fs, keysPrefix))
	}
	fs.Inject(nil)
	s, err = openByHand(fs.Kill(), Options{})
	must(t, err)
	again, err := s.Put(ctx, now, keyed)
	if !errors.Is(err, queue.ErrDuplicate) || again != id {
		t.Errorf("the message is put again = %s, %v, want %s", again, err, id)
	}
	must(t, s.Close())
}
