package disk

import (
	"context"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// TestChurn puts and settles many times what stays, and looks at what the
// directory holds when it has settled down.
func TestChurn(t *testing.T) {
	if os.Getenv(scaleJob) != "" {
		return
	}
	n, size, o := 40_000, 4<<10, Options{SegmentSize: 1 << 20}
	if long() {
		n, o = 1_000_000, Options{SegmentSize: DefaultSegmentSize}
	}
	dir := t.TempDir()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := w; i < n; i += 64 {
				churn(t, s, i, size)
			}
		})
	}
	wg.Wait()
	must(t, s.maintain(context.Background())) // which may still be about what was written last
	total, err := s.Total(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	live, held := int64(total.Messages)*int64(size), dirSize(t, dir)
	t.Logf("%d messages put, %d stay with %d MiB, the directory has %d MiB: %.2f times as much",
		n, total.Messages, live>>20, held>>20, float64(held)/float64(live))
	if held > 3*live+o.SegmentSize {
		t.Error("want at most 3 times the live bytes, and a segment")
	}
	if problems, err := Check(dir); err != nil || len(problems) > 0 {
		t.Errorf("Check = %v, %v", problems, err)
	}
}

// churn puts a message and claims another, which is delivered nineteen times
// out of twenty and else deferred for long.
func churn(t *testing.T, s *Spool, i, size int) {
	ctx := context.Background()
	_, err := s.Put(ctx, scaleNow, &queue.Message{Content: queue.Bytes(make([]byte, size)),
		Recipients: []queue.Recipient{{Address: "someone@d" + strconv.Itoa(i%100) + ".example"}}})
	if err != nil {
		t.Error(err)
		return
	}
	c, err := s.Claim(ctx, scaleNow, queue.ClaimOptions{Max: 1})
	if err != nil {
		t.Error(err)
		return
	}
	for _, d := range c.Deliveries {
		r := queue.Result{Outcome: queue.Delivered}
		if i%20 == 0 {
			r.Outcome = queue.Deferred
		}
		done, err := s.Settle(ctx, scaleNow, []queue.Settlement{{Lease: d.Lease,
			NotBefore: scaleNow.Add(time.Hour), Results: []queue.Result{r}}})
		if err != nil || done[0].Err != nil {
			t.Error(err, done)
		}
	}
}
