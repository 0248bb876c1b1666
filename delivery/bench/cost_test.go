//go:build !race

package bench

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/metrics"
)

// TestCostOfObservers: to count and log the events of a message takes at most a twentieth
// of the processor time that its delivery takes.
func TestCostOfObservers(t *testing.T) {
	const messages, calls = 2000, 20_000
	addr := otherProcess(t)
	log := delivery.Log(slog.New(slog.NewJSONHandler(io.Discard, nil)), delivery.LogOptions{})
	hook := delivery.Hooks(new(metrics.Recorder).Record, log)
	var mu sync.Mutex
	var events []delivery.Event // of one message
	note := func(_ context.Context, e delivery.Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e)
	}
	agentMail(t, addr, 1, 1, note, func(f func()) { f() })
	if len(events) < 2 {
		t.Fatalf("a message has the events %v", events)
	}
	least := func(n int, f func()) time.Duration {
		var best time.Duration
		for i := range 3 {
			before := cpu()
			f()
			if used := (cpu() - before) / time.Duration(n); i == 0 || used < best {
				best = used
			}
		}
		return best
	}
	message := least(messages, func() {
		agentMail(t, addr, messages, 100, nil, func(f func()) { f() })
	})
	observed := least(calls, func() {
		for range calls {
			for _, e := range events {
				hook(t.Context(), e)
			}
		}
	})
	t.Logf("a message takes %v, and its observers %v, %.1f %%", message, observed, 100*observed.Seconds()/message.Seconds())
	if observed > message/20 {
		t.Errorf("counting and logging a message takes %v of the processor, more than a twentieth of the %v for its delivery", observed, message)
	}
}
