package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Submit puts a message into the queue and returns the id it is given once the
// queue has it for good. A running agent delivers it at once. Before Run and
// after it the message waits.
//
// A message that can never be delivered is refused with an *Error whose Verdict
// is Refused: its envelope or its content is wrong. ErrDuplicate and ErrFull of
// package queue are returned as they are, the former with the id of the message
// that is there.
func (a *Agent) Submit(ctx context.Context, m *queue.Message) (string, error) {
	if err := CheckEnvelope(m); err != nil {
		return "", err
	}
	if err := a.events.wait(ctx); err != nil {
		return "", err
	}
	id, err := a.Queue.Put(ctx, a.clock.now(), m)
	var bad *queue.MessageError
	if errors.As(err, &bad) {
		e := &Error{Stage: StageMessage, Verdict: NotNow, Enhanced: bad.Enhanced, Err: err}
		if class(int(bad.Enhanced[0]-'0')*100) == "5" {
			e.Verdict = Refused
		}
		return "", e
	}
	if err != nil {
		return id, err
	}
	a.Wake()
	a.events.add(Event{
		Time: time.Now(), Kind: Queued, ID: id, From: m.From, Tenant: m.Tenant, Metadata: m.Metadata,
	})
	return id, nil
}
