package queue_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// Recipients are grouped by destination whatever way their domains are spelt.
func ExampleSplit() {
	parts, err := queue.Split(&queue.Message{
		Recipients: []queue.Recipient{
			{Address: "a@example.com"}, {Address: "b@example.net"}, {Address: "c@EXAMPLE.com"},
		},
		Content: queue.String("Subject: hello\r\n\r\nHello.\r\n"),
	})
	for _, p := range parts {
		fmt.Println(p.Destination, p.Recipients)
	}
	fmt.Println(err)
	// Output:
	// example.com [0 2]
	// example.net [1]
	// <nil>
}

// What can never be sent is refused at the door, with the status to answer.
func ExampleMessage_Validate() {
	m := &queue.Message{
		Recipients: []queue.Recipient{{Address: "a@example.com"}, {Address: "b@example.com>\r\nDATA"}},
		Content:    queue.String("Subject: hello\r\n\r\nHello.\r\n"),
	}
	var refused *queue.MessageError
	if errors.As(m.Validate(), &refused) {
		fmt.Println(refused.Field, refused.Index, refused.Enhanced)
	}
	// Output: Recipients 1 5.1.3
}

// A person's spelling of a domain names a destination once it is canonical.
func ExampleParseDestination() {
	fmt.Println(queue.ParseDestination("Bücher.Example."))
	// Output: xn--bcher-kva.example <nil>
}

// The destination of an address, as events, selections and suspensions name it.
func ExampleDestinationOf() {
	fmt.Println(queue.DestinationOf("bob@Bücher.Example"))
	_, err := queue.DestinationOf("Bob <bob@example.com>")
	fmt.Println(err)
	// Output:
	// xn--bcher-kva.example <nil>
	// queue: Recipients[0]: "Bob <bob@example.com>": has a display name; use net/mail.ParseAddress and its Address
}

// The list goes page by page, oldest first, and so does every other look at a
// queue that can be looked at.
func ExampleList() {
	ctx := context.Background()
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	var q queue.Queue = new(memory.Queue)
	for i := range 5 {
		_, err := q.Put(ctx, now, &queue.Message{
			Recipients: []queue.Recipient{{Address: fmt.Sprintf("r%d@example.com", i)}},
			Content:    queue.String("Subject: hello\r\n\r\nHello.\r\n"),
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	var want queue.ListOptions
	for want.Max = 2; ; {
		page, err := queue.List(ctx, q, want)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, e := range page.Entries {
			fmt.Println(e.Message.Recipients[0].Address)
		}
		if want.After = page.Next; page.Next == "" {
			return
		}
	}
	// Output:
	// r0@example.com
	// r1@example.com
	// r2@example.com
	// r3@example.com
	// r4@example.com
}

// A destination that is down is postponed as a whole: one attempt decides for
// all the mail that waits for it.
func ExamplePostpone() {
	ctx := context.Background()
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	var q queue.Queue = new(memory.Queue)
	for range 1000 {
		_, err := q.Put(ctx, now, &queue.Message{
			Recipients: []queue.Recipient{{Address: "a@down.example"}},
			Content:    queue.String("Subject: hello\r\n\r\nHello.\r\n"),
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	err := queue.Postpone(ctx, q, now, queue.Postponement{
		Destination: "down.example", Until: now.Add(time.Hour), Reason: "connection refused",
	})
	fmt.Println(err)
	claimed, err := q.Claim(ctx, now, queue.ClaimOptions{})
	fmt.Println(len(claimed.Deliveries), "due, next in", claimed.Next.Sub(now), err)
	// Output:
	// <nil>
	// 0 due, next in 1h0m0s <nil>
}

// A message is held for a day, and a domain is left alone until somebody says
// otherwise: both are stored, with the reason, for all who work on the queue.
func ExampleSuspend() {
	ctx := context.Background()
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	var q queue.Queue = new(memory.Queue)
	id, err := q.Put(ctx, now, &queue.Message{
		Recipients: []queue.Recipient{{Address: "r@example.com"}},
		Content:    queue.String("Subject: hello\r\n\r\nHello.\r\n"),
	})
	if err != nil {
		fmt.Println(err)
	}
	if err := queue.HoldUntil(ctx, q, now, id, queue.Terms{Until: now.Add(24 * time.Hour), Reason: "looks like spam"}); err != nil {
		fmt.Println(err)
	}
	domain := queue.Subject{Kind: queue.OfDestination, Name: "example.com"}
	if err := queue.Suspend(ctx, q, now, queue.Suspension{Subject: domain, Terms: queue.Terms{Reason: "they asked for it"}}); err != nil {
		fmt.Println(err)
	}

	list, err := queue.Suspensions(ctx, q, now)
	for _, s := range list {
		fmt.Println(s.Kind, s.Name, s.Reason, s.Until.IsZero(), err)
	}
	err = queue.Select(ctx, q, queue.Selection{Destination: "example.com"}, func(e *queue.Entry, named []int) error {
		fmt.Println(e.Message.Recipients[named[0]].Address, e.Held, e.Hold.Reason, e.Hold.Until.Sub(now))
		return nil
	}, nil)
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(queue.Resume(ctx, q, now, domain))
	// Output:
	// destination example.com they asked for it true <nil>
	// r@example.com true looks like spam 24h0m0s
	// 1 <nil>
}

// A program records how its mail ended together with the position up to which it has read.
// Whatever happens to the program, it goes on from there.
func ExampleOutcomes() {
	ctx := context.Background()
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	q := &memory.Queue{KeepOutcomes: 7 * 24 * time.Hour}
	for _, name := range []string{"ann", "bob", "carol"} {
		_, err := q.Put(ctx, now, &queue.Message{
			Key:        "confirm/" + name,
			Recipients: []queue.Recipient{{Address: name + "@example.com"}},
			Content:    queue.String("Subject: hello\r\n\r\nHello.\r\n"),
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	claimed, err := q.Claim(ctx, now, queue.ClaimOptions{Max: 2}) // as an agent does
	if err != nil {
		fmt.Println(err)
	}
	for i, d := range claimed.Deliveries {
		result := queue.Result{Outcome: queue.Delivered, Reply: queue.Reply{Code: 250, Text: "2.0.0 Ok"}}
		if i == 1 {
			result = queue.Result{Outcome: queue.Failed, Reply: queue.Reply{Code: 550, Text: "5.1.1 No such user"}}
		}
		if _, err := q.Settle(ctx, now, []queue.Settlement{{Lease: d.Lease, Results: []queue.Result{result}}}); err != nil {
			fmt.Println(err)
		}
	}

	position := "" // as the program has stored it
	for o, err := range queue.OutcomesAfter(ctx, q, position) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(o.Key, o.Outcome, o.Reply.Text)
		position = o.Position // stored with what was learned
	}
	fmt.Println("learned all:", position != "")
	// Output:
	// confirm/ann delivered 2.0.0 Ok
	// confirm/bob failed 5.1.1 No such user
	// learned all: true
}
