package disk

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{SegmentSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ctx := context.Background()
	for i := range 1000 {
		_, err := s.Put(ctx, now, &queue.Message{From: "a@example.org", Recipients: []queue.Recipient{{Address: fmt.Sprintf("u@d%d.example", i%7)}}, Content: queue.String("hello world")})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		c, err := s.Claim(ctx, now, queue.ClaimOptions{})
		if err != nil || len(c.Deliveries) != 100 {
			t.Fatal(err, len(c.Deliveries), c.Unreadable)
		}
		var b []queue.Settlement
		for _, d := range c.Deliveries {
			b = append(b, queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Recipient: 0, Outcome: queue.Delivered}}})
		}
		r, err := s.Settle(ctx, now, b)
		if err != nil || r[0].Err != nil {
			t.Fatal(err, r[0])
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	total, _ := s.Total(ctx)
	if total.Messages != 500 {
		t.Fatal(total, s.problems)
	}
	p, err := s.List(ctx, queue.ListOptions{})
	if err != nil || len(p.Entries) != 100 || len(p.Unreadable) > 0 {
		t.Fatal(err, len(p.Entries), p.Unreadable)
	}
}
