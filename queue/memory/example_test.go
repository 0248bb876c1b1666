package memory_test

import (
	"context"
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// A message goes through a queue: put, claimed by destination, settled.
func ExampleQueue() {
	ctx := context.Background()
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	q := &memory.Queue{MaxMessages: 1000}

	_, err := q.Put(ctx, now, &queue.Message{
		From:       "me@example.org",
		Recipients: []queue.Recipient{{Address: "one@example.com"}, {Address: "two@example.net"}},
		Content:    queue.String("Subject: hello\r\n\r\nHello.\r\n"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	claimed, err := q.Claim(ctx, now, queue.ClaimOptions{Max: 10, Lease: time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range claimed.Deliveries {
		fmt.Println(d.Lease.Destination, d.Message.Recipients[0].Address)
		_, err := q.Settle(ctx, now, []queue.Settlement{{
			Lease:     d.Lease,
			Results:   []queue.Result{{Recipient: d.States[0].Index, Outcome: queue.Deferred}},
			NotBefore: now.Add(5 * time.Minute),
		}})
		if err != nil {
			fmt.Println(err)
		}
	}

	claimed, err = q.Claim(ctx, now, queue.ClaimOptions{})
	fmt.Println(len(claimed.Deliveries), "due, next in", claimed.Next.Sub(now), err)
	// Output:
	// example.com one@example.com
	// example.net two@example.net
	// 0 due, next in 5m0s <nil>
}
