package guide

import (
	"context"
	"errors"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

// SendAndLeave queues a message, makes an attempt for all mail that is due, and returns.
// What is left waits for the next call.
func SendAndLeave(ctx context.Context, dir string, sender *delivery.Sender, m *queue.Message) (err error) {
	spool, err := disk.Open(dir, disk.Options{Wait: 10 * time.Second}) // another call may have it open
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, spool.Close()) }()
	agent := &delivery.Agent{Queue: spool, Sender: sender}
	if _, err := agent.Submit(ctx, m); err != nil {
		return err
	}
	return agent.RunUntilIdle(ctx)
}
