package disk_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, now := context.Background(), time.Now()

	q, err := disk.Open(dir, disk.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := q.Put(ctx, now, &queue.Message{
		From:       "alice@example.org",
		Recipients: []queue.Recipient{{Address: "bob@example.com"}},
		Content:    queue.String("Subject: hello\r\n\r\nStill here after a power cut.\r\n"),
	}); err != nil {
		log.Fatal(err)
	}
	if err := q.Close(); err != nil {
		log.Fatal(err)
	}

	if q, err = disk.Open(dir, disk.Options{}); err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	claimed, err := q.Claim(ctx, now, queue.ClaimOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range claimed.Deliveries {
		fmt.Println(d.Message.Recipients[0].Address, "waits at", d.Lease.Destination)
	}
	// Output: bob@example.com waits at example.com
}

func ExampleCheck() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	problems, err := disk.Check(dir)
	fmt.Println(len(problems), err)
	// Output: 0 <nil>
}
