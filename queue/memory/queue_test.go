package memory_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
	"github.com/nexthop-mail/nexthop/queue/queuetest"
)

func open() (*queuetest.Instance, error) {
	q := new(memory.Queue)
	return &queuetest.Instance{Queue: q, Share: func() (queue.Queue, func(), error) { return q, func() {}, nil }}, nil
}

func TestContract(t *testing.T) {
	queuetest.Run(t, queuetest.Implementation{
		Open:     open,
		KeepKeys: memory.DefaultKeepKeys,
		OpenFewKeys: func() (*queuetest.Instance, error) {
			return &queuetest.Instance{Queue: &memory.Queue{MaxKeys: 64}}, nil
		},
		OpenBounded: func() (*queuetest.Instance, error) {
			return &queuetest.Instance{Queue: &memory.Queue{MaxBytes: 10_000}}, nil
		},
	})
}

func TestBounds(t *testing.T) {
	put := func(t *testing.T, q *memory.Queue, size int) error {
		t.Helper()
		_, err := q.Put(t.Context(), time.Unix(0, 0), &queue.Message{
			Recipients: []queue.Recipient{{Address: "rcpt@example.com"}},
			Content:    queue.String(fmt.Sprintf("%0*d", size, 0)),
		})
		return err
	}
	t.Run("messages", func(t *testing.T) {
		q := &memory.Queue{MaxMessages: 2}
		for i, want := range []error{nil, nil, queue.ErrFull} {
			if err := put(t, q, 1); !errors.Is(err, want) {
				t.Errorf("Put %d = %v, want %v", i, err, want)
			}
		}
	})
	t.Run("bytes", func(t *testing.T) {
		q := &memory.Queue{MaxBytes: 100}
		for _, c := range []struct {
			size int
			want error
		}{{101, queue.ErrFull}, {60, nil}, {41, queue.ErrFull}, {40, nil}, {1, queue.ErrFull}} {
			if err := put(t, q, c.size); !errors.Is(err, c.want) {
				t.Errorf("Put of %d bytes = %v, want %v", c.size, err, c.want)
			}
		}
	})
	t.Run("none", func(t *testing.T) {
		q := &memory.Queue{MaxMessages: -1, MaxBytes: -1}
		for range 10 {
			if err := put(t, q, 1<<20); err != nil {
				t.Errorf("Put = %v, want nil", err)
			}
		}
	})
}

// TestListAfterMany lists what is left when many more have left.
func TestListAfterMany(t *testing.T) {
	q := new(memory.Queue)
	var left []string
	for i := range 5000 {
		id, err := q.Put(t.Context(), time.Unix(0, 0), &queue.Message{
			Recipients: []queue.Recipient{{Address: "rcpt@example.com"}}, Content: queue.String("text"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if i%1000 == 500 {
			left = append(left, id)
		} else if err := q.Drop(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	page, err := q.List(t.Context(), queue.ListOptions{})
	if err != nil || page.Next != "" || len(page.Entries) != len(left) {
		t.Fatalf("List = %d messages, next %q, %v, want %d and no more", len(page.Entries), page.Next, err, len(left))
	}
	for i, e := range page.Entries {
		if e.Message.ID != left[i] {
			t.Errorf("message %d is %s, want %s", i, e.Message.ID, left[i])
		}
	}
}

// TestManyDestinations keeps the cost of one message with many destinations in
// check: what is done once per destination must not go through all the others.
func TestManyDestinations(t *testing.T) {
	const many = 20_000
	q := new(memory.Queue)
	now := time.Unix(0, 0)
	m := &queue.Message{Content: queue.String("text")}
	for i := range many {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("a@d%d.example", i)})
	}
	id, err := q.Put(t.Context(), now, m)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for {
		got, err := q.Claim(t.Context(), now, queue.ClaimOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Deliveries) == 0 {
			break
		}
		var batch []queue.Settlement
		for _, d := range got.Deliveries {
			batch = append(batch, queue.Settlement{
				Lease:   d.Lease,
				Results: []queue.Result{{Recipient: d.States[0].Index, Outcome: queue.Delivered}},
			})
		}
		if _, err := q.Settle(t.Context(), now, batch); err != nil {
			t.Fatal(err)
		}
		n += len(batch)
	}
	if n != many {
		t.Errorf("%d deliveries were claimed, want %d", n, many)
	}
	if _, err := q.Open(t.Context(), id); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("Open = %v, want ErrNotFound: all are settled", err)
	}
}

func BenchmarkQueue(b *testing.B) {
	queuetest.Bench(b, queuetest.Implementation{Open: open})
}

// TestOutcomesAreAnOption: a queue that is not told to keep outcomes says so.
func TestOutcomesAreAnOption(t *testing.T) {
	q := new(memory.Queue)
	if _, err := q.Outcomes(t.Context(), queue.OutcomeOptions{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Outcomes of the zero queue = %v, want errors.ErrUnsupported", err)
	}
}
