package disk

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// TestKeysOutliveTheLog: keys of messages that have left are known when the
// segments that spoke of them are gone, after a power cut, and without a checkpoint.
func TestKeysOutliveTheLog(t *testing.T) {
	now := time.Unix(1e9, 0)
	fs := crashfs.New(1)
	o := small()
	s, err := openByHand(fs, o)
	must(t, err)
	keyed := func(i int) *queue.Message {
		return &queue.Message{
			Key: fmt.Sprint("key ", i), Content: queue.String("text"),
			Recipients: []queue.Recipient{{Address: "a@b.example"}},
		}
	}
	known := func(when string, ids []string) {
		t.Helper()
		for i, want := range ids {
			if id, err := s.Put(t.Context(), now, keyed(i)); !errors.Is(err, queue.ErrDuplicate) || id != want {
				t.Fatalf("%s: Put of key %d = %q, %v, want %q and ErrDuplicate", when, i, id, err, want)
			}
		}
	}
	var ids []string
	for round := range 4 {
		for range 150 {
			id, err := s.Put(t.Context(), now, keyed(len(ids)))
			must(t, err)
			ids = append(ids, id)
			c, err := s.Claim(t.Context(), now, queue.ClaimOptions{})
			must(t, err)
			for _, d := range c.Deliveries {
				_, err := s.Settle(t.Context(), now, []queue.Settlement{{Lease: d.Lease, Results: []queue.Result{
					{Recipient: d.States[0].Index, Outcome: queue.Delivered},
				}}})
				must(t, err)
			}
		}
		must(t, s.save())
		s.mu.Lock()
		before := len(s.segments.byNumber)
		s.mu.Unlock()
		must(t, s.maintain(t.Context()))
		s.mu.Lock()
		after := len(s.segments.byNumber)
		s.mu.Unlock()
		if after >= before {
			t.Fatalf("%d segments of %d are left: the test means to have them go", after, before)
		}
		if round%2 == 0 {
			fs = fs.Restart()
			_ = s.Close() // its disk is gone
		} else {
			must(t, s.Close())
			must(t, withoutCheckpoints(fs))
		}
		s, err = openByHand(fs, o)
		must(t, err)
		known(fmt.Sprint("round ", round), ids)
	}
	if n, err := s.CountKeys(t.Context()); err != nil || n.Remembered != len(ids) {
		t.Errorf("CountKeys = %+v, %v, want each of %d once", n, err, len(ids))
	}
	must(t, s.Close())
}
