package queue_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

func put(t *testing.T, q queue.Queue, now time.Time, m *queue.Message) string {
	t.Helper()
	id, err := q.Put(t.Context(), now, m)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func letter(text string, to ...string) *queue.Message {
	m := &queue.Message{From: "sender@example.org", Content: queue.String(text), Metadata: map[string]string{"text": text}}
	for _, address := range to {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: address})
	}
	return m
}

// entries are all messages of a queue, by what their metadata says.
func entries(t *testing.T, q queue.Queue) map[string]queue.Entry {
	t.Helper()
	found := make(map[string]queue.Entry)
	err := queue.Select(t.Context(), q, queue.Selection{}, func(e *queue.Entry, _ []int) error {
		found[e.Message.Metadata["text"]] = *e
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestCopyTakesAlongWhatIsKnown(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	from, to := new(memory.Queue), new(memory.Queue)
	o := queue.CopyOptions{Now: func() time.Time { return now }}

	tried := put(t, from, now, letter("tried", "a@one.example", "b@one.example", "c@two.example"))
	reply := queue.Reply{Host: "mx.one.example", Code: 450, Enhanced: "4.7.1", Text: "later"}
	for n := range 3 {
		got, err := queue.Take(t.Context(), from, now, tried, time.Hour, "one.example")
		if err != nil {
			t.Fatal(err)
		}
		s := queue.Settlement{
			Lease: got.Deliveries[0].Lease, NotBefore: now.Add(time.Hour), Warned: true, Reason: "greylisted",
			Results: []queue.Result{{Recipient: 1, Outcome: queue.Unknown, Reply: reply}},
		}
		if n == 0 {
			s.Results = append(s.Results, queue.Result{Recipient: 0, Outcome: queue.Deferred, Reply: reply})
		}
		if _, err := from.Settle(t.Context(), now, []queue.Settlement{s}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Minute)
	}
	put(t, from, now, letter("fresh", "a@one.example"))
	late := letter("late", "a@one.example")
	late.NotBefore, late.Key, late.Tenant, late.Priority = now.Add(2*time.Hour), "key", "tenant", 5
	put(t, from, now, late)
	terms := queue.Terms{Until: now.Add(time.Hour), Reason: "looked into"}
	if err := queue.HoldUntil(t.Context(), from, now, put(t, from, now, letter("held", "a@one.example")), terms); err != nil {
		t.Fatal(err)
	}
	before := entries(t, from)

	n, err := queue.Copy(t.Context(), to, from, o)
	if want := (queue.Copied{Messages: 4}); err != nil || n != want {
		t.Fatalf("Copy = %+v, %v, want %+v", n, err, want)
	}
	if left := entries(t, from); len(left) > 0 {
		t.Errorf("%d messages are left, want none", len(left))
	}
	after := entries(t, to)
	for text, was := range before {
		is := after[text]
		if is.Held != was.Held || is.Hold != was.Hold || is.Size != was.Size || len(is.Waiting) != len(was.Waiting) ||
			!is.Message.Arrived.Equal(was.Message.Arrived) || is.Message.Tenant != was.Message.Tenant {
			t.Errorf("%s is %+v, was %+v", text, is, was)
			continue
		}
		for i := range is.Waiting {
			if is.Waiting[i] != was.Waiting[i] {
				t.Errorf("%s: recipient %d is %+v, was %+v", text, i, is.Waiting[i], was.Waiting[i])
			}
		}
	}
	got, err := queue.Take(t.Context(), to, now, after["tried"].Message.ID, time.Minute, "one.example")
	if err != nil || !got.Deliveries[0].Warned {
		t.Errorf("Take = %+v, %v, want a delivery of which the sender was warned", got, err)
	}
	if _, err := from.Put(t.Context(), now, late); !errors.Is(err, queue.ErrDuplicate) {
		t.Errorf("Put of a key whose message has moved = %v, want ErrDuplicate", err)
	}
}

func TestCopyLeavesWhatOthersHaveInHand(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	from, to := new(memory.Queue), new(memory.Queue)
	o := queue.CopyOptions{Now: func() time.Time { return now }}
	sure := letter("marked", "a@one.example")
	sure.Guarantee = queue.AtMostOnce
	put(t, from, now, sure)
	put(t, from, now, letter("leased", "a@one.example", "b@two.example"))
	claimed, err := from.Claim(t.Context(), now, queue.ClaimOptions{Lease: time.Minute, Destinations: []string{"one.example"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := from.Mark(t.Context(), []queue.Lease{claimed.Deliveries[0].Lease}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []queue.Copied{{Busy: 2}, {Messages: 1, Busy: 1}} {
		n, err := queue.Copy(t.Context(), to, from, o)
		if err != nil || n != want {
			t.Errorf("Copy = %+v, %v, want %+v", n, err, want)
		}
		for text, e := range entries(t, from) {
			if e.Held {
				t.Errorf("%s stays on hold: %+v", text, e.Hold)
			}
		}
		now = now.Add(time.Minute) // the leases have ended
	}
	got, err := from.Claim(t.Context(), now, queue.ClaimOptions{})
	if err != nil || len(got.Deliveries) != 1 || !got.Deliveries[0].Interrupted {
		t.Errorf("Claim = %+v, %v, want what may have been sent, and that it was interrupted", got.Deliveries, err)
	}
}

// ending is a queue at which a process ends with the n-th settlement.
type ending struct {
	queue.Queue
	after int
}

var errEnd = errors.New("the process has ended")

func (e *ending) Settle(ctx context.Context, now time.Time, batch []queue.Settlement) ([]queue.Settled, error) {
	if e.after--; e.after < 0 {
		return nil, errEnd
	}
	return e.Queue.Settle(ctx, now, batch)
}

func (e *ending) Unwrap() queue.Queue { return e.Queue }

func TestCopyGoesOnWhereItEnded(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	from, to := new(memory.Queue), new(memory.Queue)
	o := queue.CopyOptions{Now: func() time.Time { return now }}
	for _, text := range []string{"one", "two", "three"} {
		put(t, from, now, letter(text, "a@one.example", "b@two.example"))
	}
	if _, err := queue.Copy(t.Context(), to, &ending{Queue: from, after: 1}, o); !errors.Is(err, errEnd) {
		t.Fatalf("Copy = %v, want the end of the process", err)
	}
	got, err := from.Claim(t.Context(), now.Add(time.Hour), queue.ClaimOptions{Max: 1000})
	if err != nil || len(got.Deliveries) != 2 || got.Deliveries[0].Message.Metadata["text"] != "three" {
		t.Errorf("Claim = %+v, %v, want only what had not begun to move", got.Deliveries, err)
	}
	now = now.Add(2 * time.Hour)
	if n, err := queue.Copy(t.Context(), to, from, o); err != nil || n.Messages != 2 {
		t.Errorf("Copy = %+v, %v, want two messages", n, err)
	}
	if got := len(entries(t, to)); got != 3 || len(entries(t, from)) != 0 {
		t.Errorf("%d messages have moved and %d are left, want 3 and none", got, len(entries(t, from)))
	}
}

// unsure is a queue that puts what it is given and then says that it failed.
type unsure struct{ queue.Queue }

func (u *unsure) Put(ctx context.Context, now time.Time, m *queue.Message) (string, error) {
	if _, err := u.Queue.Put(ctx, now, m); err != nil {
		return "", err
	}
	return "", errEnd
}

func (u *unsure) Unwrap() queue.Queue { return u.Queue }

// What may have arrived in the other queue is claimed from this one no more, and what was
// refused there is.
func TestCopyOfWhatMayHaveArrived(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	o := queue.CopyOptions{Now: func() time.Time { return now }}
	for _, c := range []struct {
		name          string
		to            func(*memory.Queue) queue.Queue
		there, remain int
	}{
		{"the answer was lost", func(q *memory.Queue) queue.Queue { return &unsure{q} }, 1, 0},
		{"there was no room", func(q *memory.Queue) queue.Queue { q.MaxBytes = 1; return q }, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, to := new(memory.Queue), new(memory.Queue)
			put(t, from, now, letter("text", "a@one.example"))
			if n, err := queue.Copy(t.Context(), c.to(to), from, o); err == nil {
				t.Fatalf("Copy = %+v, want an error", n)
			}
			for _, side := range []struct {
				q    *memory.Queue
				want int
			}{{from, c.remain}, {to, c.there}} {
				got, err := side.q.Claim(t.Context(), now.Add(time.Hour), queue.ClaimOptions{})
				if err != nil || len(got.Deliveries) != side.want {
					t.Errorf("Claim = %d deliveries, %v, want %d", len(got.Deliveries), err, side.want)
				}
			}
		})
	}
}

// Of queues that keep outcomes, the one that a message has left says that it has moved, and
// the other how the mail ended, under the same key.
func TestCopyIsNoDelivery(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	from, to := &memory.Queue{KeepOutcomes: time.Hour}, &memory.Queue{KeepOutcomes: time.Hour}
	m := letter("text", "a@one.example", "b@two.example")
	m.Key = "key"
	put(t, from, now, m)
	if n, err := queue.Copy(t.Context(), to, from, queue.CopyOptions{Now: func() time.Time { return now }}); err != nil || n.Messages != 1 {
		t.Fatalf("Copy = %+v, %v", n, err)
	}
	moved, err := queue.Outcomes(t.Context(), from, queue.OutcomeOptions{})
	if err != nil || len(moved.Outcomes) != 2 {
		t.Fatalf("Outcomes = %+v, %v, want two", moved, err)
	}
	for _, o := range moved.Outcomes {
		if o.Reply.Text != queue.CopyReply || o.Key != "key" {
			t.Errorf("the outcome of what has moved is %+v, want the key and the reply %q", o, queue.CopyReply)
		}
	}
	if page, err := queue.Outcomes(t.Context(), to, queue.OutcomeOptions{}); err != nil || len(page.Outcomes) > 0 {
		t.Errorf("the other queue has the outcomes %+v, %v, want none yet", page.Outcomes, err)
	}
	got, err := to.Claim(t.Context(), now, queue.ClaimOptions{})
	if err != nil || len(got.Deliveries) != 2 {
		t.Fatalf("Claim = %+v, %v", got, err)
	}
	for _, d := range got.Deliveries {
		if _, err := to.Settle(t.Context(), now, []queue.Settlement{{Lease: d.Lease, Results: []queue.Result{{Recipient: d.States[0].Index, Outcome: queue.Failed}}}}); err != nil {
			t.Fatal(err)
		}
	}
	ended, err := queue.Outcomes(t.Context(), to, queue.OutcomeOptions{})
	if err != nil || len(ended.Outcomes) != 2 {
		t.Fatalf("Outcomes = %+v, %v, want two", ended, err)
	}
	for _, o := range ended.Outcomes {
		if o.Outcome != queue.Failed || o.Key != "key" {
			t.Errorf("the outcome is %+v, want failed, with the key", o)
		}
	}
}
