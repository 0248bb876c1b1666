package queue_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// bare is a queue that can do no more than it must.
type bare struct{ queue.Queue }

// calls are the functions for what queues need not be able to do.
func calls(ctx context.Context, q queue.Queue, id string) map[string]error {
	_, list := queue.List(ctx, q, queue.ListOptions{})
	_, show := queue.Show(ctx, q, id)
	_, flush := queue.Flush(ctx, q, time.Time{}, queue.Selection{})
	_, totals := queue.Total(ctx, q)
	_, survey := queue.Survey(ctx, q, "", 0)
	_, resume := queue.Resume(ctx, q, time.Time{})
	_, suspensions := queue.Suspensions(ctx, q, time.Time{})
	_, outcomes := queue.Outcomes(ctx, q, queue.OutcomeOptions{})
	_, take := queue.Take(ctx, q, time.Time{}, id, time.Minute)
	every := func(*queue.Entry, []int) error { return nil }
	return map[string]error{
		"Outcomes": outcomes,
		"Resume":   resume, "Suspensions": suspensions, "Take": take,
		"Suspend":   queue.Suspend(ctx, q, time.Time{}),
		"HoldUntil": queue.HoldUntil(ctx, q, time.Time{}, id, queue.Terms{}),
		"Select":    queue.Select(ctx, q, queue.Selection{Tenant: "t"}, every, nil),
		"List":      list, "Show": show, "Flush": flush, "Total": totals, "Survey": survey,
		"Hold":     queue.Hold(ctx, q, id),
		"Release":  queue.Release(ctx, q, id),
		"Postpone": queue.Postpone(ctx, q, time.Time{}, queue.Postponement{Destination: "example.com"}),
		"Drop":     queue.Drop(ctx, q, id),
	}
}

func TestAbilities(t *testing.T) {
	able := &memory.Queue{KeepOutcomes: time.Hour}
	id, err := able.Put(t.Context(), time.Unix(0, 0), messageTo("a@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range calls(t.Context(), bare{able}, id) {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s of a queue that cannot = %v, want errors.ErrUnsupported", name, err)
		}
	}
	if err := queue.Close(bare{able}); err != nil {
		t.Errorf("Close of a queue that cannot be closed = %v, want nil", err)
	}
	if _, err := able.Open(t.Context(), id); err != nil {
		t.Errorf("Open = %v: a queue that cannot do something did it", err)
	}
	for name, err := range calls(t.Context(), able, id) {
		if err != nil && !errors.Is(err, queue.ErrNotFound) { // what comes after Drop
			t.Errorf("%s = %v", name, err)
		}
	}
	if _, err := able.Open(t.Context(), id); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("Open after Drop = %v, want ErrNotFound", err)
	}
	if err := queue.Close(able); err != nil {
		t.Errorf("Close = %v", err)
	}
	if _, err := able.Open(t.Context(), id); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Open after Close = %v, want ErrClosed", err)
	}
}

func TestBounded(t *testing.T) {
	long := strings.Repeat("x", queue.MaxReplyText+1)
	want := queue.Reply{Host: "mx", Code: 450, Enhanced: "4.2.0", Text: long[1:]}
	got := queue.Reply{Host: "mx", Code: 450, Enhanced: "4.2.0", Text: long}.Bounded()
	if got != want {
		t.Errorf("Bounded kept %d bytes of text, want %d and the rest as it is", len(got.Text), queue.MaxReplyText)
	}
	if want.Bounded() != want {
		t.Error("Bounded changed a reply that is within the bound")
	}
}

func TestClaimDefaults(t *testing.T) {
	got := queue.ClaimOptions{PerTenant: 3}.WithDefaults()
	if got.Max != queue.DefaultMax || got.Lease != queue.DefaultLease || got.PerTenant != 3 {
		t.Errorf("WithDefaults = %+v", got)
	}
	set := queue.ClaimOptions{Max: 1, Lease: 2}
	if got := set.WithDefaults(); got.Max != 1 || got.Lease != 2 {
		t.Errorf("WithDefaults = %+v, want what was set", got)
	}
}
