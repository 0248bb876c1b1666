package delivery_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest/clienttest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// agentUnderTest is an Agent as smtptest sees a mail client: it answers with
// what becomes of a message at its first attempt.
type agentUnderTest struct {
	agent  *delivery.Agent
	events chan delivery.Event
	stop   context.CancelFunc
	ended  chan error
}

func newAgentUnderTest(s clienttest.Setup) clienttest.Client {
	u := &agentUnderTest{events: make(chan delivery.Event, 4096), ended: make(chan error, 1)}
	u.agent = &delivery.Agent{
		Queue: &memory.Queue{},
		Sender: &delivery.Sender{
			Hello: s.Hello, Self: s.Self, Resolver: s.Internet, Dial: s.Internet.DialContext,
		},
		// A second attempt is not what a scenario is about, nor is a report.
		Settings: delivery.Settings{Schedule: delivery.Delays{1000 * time.Hour}, Warn: -1},
		Events:   func(_ context.Context, e delivery.Event) { u.events <- e },
	}
	ctx, stop := context.WithCancel(context.Background())
	u.stop = stop
	go func() { u.ended <- u.agent.Run(ctx) }()
	return u
}

func (u *agentUnderTest) Deliver(ctx context.Context, m *queue.Message) []queue.Outcome {
	outcomes := make([]queue.Outcome, len(m.Recipients))
	quiet := *m
	quiet.Recipients = nil
	for _, r := range m.Recipients {
		if r.Notify == 0 {
			r.Notify = queue.NotifyNever
		}
		quiet.Recipients = append(quiet.Recipients, r)
	}
	id, err := u.agent.Submit(ctx, &quiet)
	if err != nil {
		if e, ok := errors.AsType[*delivery.Error](err); ok && !e.Temporary() {
			for i := range outcomes { // refused at the door, for all
				outcomes[i] = queue.Failed
			}
		}
		return outcomes
	}
	for left := len(outcomes); left > 0; {
		select {
		case <-ctx.Done():
			return outcomes
		case e := <-u.events:
			outcome, settled := outcomeOf(e.Kind)
			if e.ID != id || !settled {
				continue
			}
			for i := range m.Recipients {
				if m.Recipients[i].Address == e.Recipient {
					outcomes[i] = outcome
				}
			}
			left--
		}
	}
	return outcomes
}

func outcomeOf(k delivery.EventKind) (o queue.Outcome, settled bool) {
	switch k {
	case delivery.Delivered:
		return queue.Delivered, true
	case delivery.Failed:
		return queue.Failed, true
	case delivery.Deferred:
		return queue.Deferred, true
	case delivery.UnknownOutcome:
		return queue.Unknown, true
	default:
		return queue.Deferred, false
	}
}

func (u *agentUnderTest) Close() error {
	u.stop()
	return <-u.ended
}

// TestAgentScenarios: an Agent gets right what a Sender does.
func TestAgentScenarios(t *testing.T) {
	for _, s := range clienttest.Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := s.Try(t.Context(), newAgentUnderTest); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
