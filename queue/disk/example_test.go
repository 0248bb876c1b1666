package disk_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

// What was put is there when the spool is opened again, whatever happened to the
// process in between.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	if err := fill(dir, now); err != nil {
		fmt.Println(err)
		return
	}

	spool, err := disk.Open(dir, disk.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer spool.Close()
	claimed, err := spool.Claim(context.Background(), now, queue.ClaimOptions{Max: 10, Lease: time.Minute})
	for _, d := range claimed.Deliveries {
		fmt.Println(d.Lease.Destination, d.Message.From, d.Message.Recipients[0].Address)
	}
	fmt.Println(len(claimed.Deliveries), "due", err)
	// Output:
	// example.com me@example.org one@example.com
	// 1 due <nil>
}

// fill puts a message into the spool in dir.
func fill(dir string, now time.Time) error {
	spool, err := disk.Open(dir, disk.Options{})
	if err != nil {
		return err
	}
	_, err = spool.Put(context.Background(), now, &queue.Message{
		From:       "me@example.org",
		Recipients: []queue.Recipient{{Address: "one@example.com"}},
		Content:    queue.String("Subject: hello\r\n\r\nHello.\r\n"),
	})
	if err != nil {
		spool.Close()
		return err
	}
	return spool.Close()
}
