package disk

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// TestNothingIsSavedAfterAFailedSync has a sync fail while others wait for the next:
// what a device says of later ones means nothing. A content whose message has left
// by a record that is lost with that sync is not deleted.
func TestNothingIsSavedAfterAFailedSync(t *testing.T) {
	back := 0
	for seed := range uint64(20) {
		if failedSync(t, seed) {
			back++
		}
	}
	if back == 0 {
		t.Error("the end of the message was never lost")
	}
}

// failedSync reports whether the message is back after a power cut.
func failedSync(t *testing.T, seed uint64) (back bool) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs := crashfs.New(seed)
	o := Options{LargeContent: 1000}
	s, err := openByHand(fs, o)
	must(t, err)
	text := strings.Repeat("text ", 1000)
	id, err := s.Put(ctx, now, &queue.Message{Recipients: []queue.Recipient{{Address: "a@one.example"}}, Content: queue.String(text)})
	must(t, err)

	var failing sync.Once
	waiting, syncs := make(chan struct{}), 0
	fs.Inject(func(op crashfs.Op, name string) (err error) {
		if op != crashfs.OpSync || !strings.HasPrefix(name, segmentPrefix) {
			return nil
		}
		syncs++
		failing.Do(func() {
			close(waiting)
			for inLine(s) == 0 {
				runtime.Gosched()
			}
			err = syscall.EIO
		})
		return err
	})
	c, err := s.Claim(ctx, now, queue.ClaimOptions{})
	must(t, err)
	done, err := s.Settle(ctx, now, []queue.Settlement{{Lease: c.Deliveries[0].Lease, Results: []queue.Result{{Outcome: queue.Delivered}}}})
	if err != nil || done[0].Err != nil {
		t.Fatal(err, done)
	}
	put := func() {
		if _, err := putSize(s, "two.example", 10); !errors.Is(err, ErrFailed) {
			t.Errorf("Put when the device failed = %v, want ErrFailed", err)
		}
	}
	var group sync.WaitGroup
	group.Go(put)
	<-waiting
	group.Go(put)
	group.Wait()
	if syncs != 1 {
		t.Errorf("the log was synced %d times, want once", syncs)
	}
	_ = s.Close()
	s, err = openByHand(fs.Restart(), o)
	must(t, err)
	defer s.Close()
	got, err := readContent(s, id)
	if errors.Is(err, queue.ErrNotFound) {
		return false
	}
	if err != nil || got != text {
		t.Errorf("the content of the message whose end was lost: %d bytes, %v", len(got), err)
	}
	return true
}
