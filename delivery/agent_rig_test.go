package delivery_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// office is an agent at work in an internet of its own, in virtual time.
type office struct {
	t     *testing.T
	net   *smtptest.Internet
	queue queue.Queue
	agent *delivery.Agent
	began time.Time

	mu     sync.Mutex
	events []delivery.Event
	stop   func()
}

// newOffice makes one; change its agent before start.
func newOffice(t *testing.T, net *smtptest.Internet) *office {
	t.Helper()
	return newOfficeIn(t, net.Start(t))
}

// newOfficeIn makes one more in an internet that is at work.
func newOfficeIn(t *testing.T, net *smtptest.Internet) *office {
	t.Helper()
	o := &office{t: t, net: net, queue: &memory.Queue{}, began: time.Now()}
	o.agent = &delivery.Agent{
		Queue:    o.queue,
		Sender:   &delivery.Sender{Hello: "from.test", Resolver: net, Dial: net.DialContext},
		Settings: delivery.Settings{Jitter: -1},
		Events:   func(_ context.Context, e delivery.Event) { o.note(e) },
		Panic:    func(v any) { t.Errorf("a hook panicked: %v", v) },
	}
	return o
}

func (o *office) note(e delivery.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
}

// start runs the agent until the test ends, or stop.
func (o *office) start() *office {
	o.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- o.agent.Run(ctx) }()
	o.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			o.t.Errorf("Run: %v", err)
		}
	})
	o.t.Cleanup(func() { o.stop(); o.net.Close() })
	return o
}

// submit hands the agent a message.
func (o *office) submit(m *queue.Message) string {
	o.t.Helper()
	id, err := o.agent.Submit(o.t.Context(), m)
	if err != nil {
		o.t.Fatalf("Submit: %v", err)
	}
	return id
}

// of are the events of one kind so far.
func (o *office) of(kind delivery.EventKind) (list []delivery.Event) {
	synctest.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.events {
		if e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

// left is how many deliveries the queue has.
func (o *office) left() int {
	o.t.Helper()
	total, err := queue.Total(o.t.Context(), o.queue)
	if err != nil {
		o.t.Fatal(err)
	}
	return total.Deliveries
}
