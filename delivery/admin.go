package delivery

import (
	"context"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Hold keeps a message from being delivered until it is released. The error is
// that of queue.Hold.
func (a *Agent) Hold(ctx context.Context, id string) error {
	err := queue.Hold(ctx, a.Queue, id)
	if err == nil {
		a.events.add(Event{Time: time.Now(), Kind: Held, ID: id})
	}
	return err
}

// Release ends a hold. The error is that of queue.Release.
func (a *Agent) Release(ctx context.Context, id string) error {
	err := queue.Release(ctx, a.Queue, id)
	a.Wake()
	return err
}

// Drop removes a message; nobody is told but Events. A delivery of it that is
// under way may still be completed. The error is that of queue.Drop.
func (a *Agent) Drop(ctx context.Context, id string) error {
	err := queue.Drop(ctx, a.Queue, id)
	if err == nil {
		a.events.add(Event{Time: time.Now(), Kind: Dropped, ID: id})
	}
	return err
}
