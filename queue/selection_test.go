package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// selected are the mail of a few tenants and senders: the ids by what they are.
func selected(t *testing.T) (q *memory.Queue, now time.Time, ids map[string]string) {
	t.Helper()
	q, ids = new(memory.Queue), map[string]string{}
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, m := range []struct {
		name, from, tenant string
		to                 []string
	}{
		{"first", "a@one.example", "t", []string{"r@x.example", "r@y.example"}},
		{"second", "B@One.Example", "u", []string{"r@x.example"}},
		{"third", "", "t", []string{"r@y.example"}},
		{"fourth", "a@two.example", "", []string{"r@z.example"}},
	} {
		now = start.Add(time.Duration(i) * time.Hour)
		message := &queue.Message{From: m.from, Tenant: m.tenant, Content: queue.String("text"), NotBefore: now.Add(24 * time.Hour)}
		for _, to := range m.to {
			message.Recipients = append(message.Recipients, queue.Recipient{Address: to})
		}
		id, err := q.Put(t.Context(), now, message)
		if err != nil {
			t.Fatal(err)
		}
		ids[m.name] = id
	}
	// The first is deferred at y.example.
	taken, err := q.Take(t.Context(), now, ids["first"], time.Minute, "y.example")
	if err != nil || len(taken.Deliveries) != 1 {
		t.Fatalf("Take = %+v, %v", taken, err)
	}
	_, err = q.Settle(t.Context(), now, []queue.Settlement{{
		Lease: taken.Deliveries[0].Lease, NotBefore: now.Add(24 * time.Hour),
		Results: []queue.Result{{Recipient: 1, Reply: queue.Reply{Code: 450, Enhanced: "4.7.12", Text: "later"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return q, now, ids
}

func TestSelect(t *testing.T) {
	q, _, ids := selected(t)
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		what queue.Selection
		want []string // the messages, and the positions of recipients
	}{
		{"everything", queue.Selection{}, []string{"first[0 1]", "second[0]", "third[0]", "fourth[0]"}},
		{"a destination", queue.Selection{Destination: "y.example"}, []string{"first[1]", "third[0]"}},
		{"a message", queue.Selection{Message: ids["third"]}, []string{"third[0]"}},
		{"a message's destination", queue.Selection{Message: ids["first"], Destination: "x.example"}, []string{"first[0]"}},
		{"a message and a tenant that is not its own", queue.Selection{Message: ids["first"], Tenant: "u"}, nil},
		{"a tenant", queue.Selection{Tenant: "t"}, []string{"first[0 1]", "third[0]"}},
		{"a sender, in whatever case", queue.Selection{From: "b@one.example"}, []string{"second[0]"}},
		{"a sender's domain", queue.Selection{From: "@one.EXAMPLE"}, []string{"first[0 1]", "second[0]"}},
		{"a domain that ends like it", queue.Selection{From: "@ne.example"}, nil},
		{"the null reverse-path", queue.Selection{From: "<>"}, []string{"third[0]"}},
		{"what came before", queue.Selection{Before: start.Add(time.Hour)}, []string{"first[0 1]", "second[0]"}},
		{"a status", queue.Selection{Status: "4.7.12"}, []string{"first[1]"}},
		{"the beginning of a status", queue.Selection{Status: "4.7"}, []string{"first[1]"}},
		{"the beginning of a number", queue.Selection{Status: "4.7.1"}, nil},
		{"one of several statuses", queue.Selection{Status: "4.2 4.7.12 5"}, []string{"first[1]"}},
		{"none of several statuses", queue.Selection{Status: "4.2 4.7.1"}, nil},
		{"all at once", queue.Selection{Destination: "y.example", Tenant: "t", From: "a@one.example", Status: "4", Before: start},
			[]string{"first[1]"}},
		{"nothing", queue.Selection{Destination: "none.example"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			err := queue.Select(t.Context(), q, c.what, func(e *queue.Entry, named []int) error {
				for name, id := range ids {
					if id == e.Message.ID {
						got = append(got, name+fmt.Sprint(named))
					}
				}
				return nil
			}, nil)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("Select of %+v = %q, %v, want %q", c.what, got, err, c.want)
			}
		})
	}
	stop := errors.New("enough")
	n := 0
	err := queue.Select(t.Context(), q, queue.Selection{}, func(*queue.Entry, []int) error { n++; return stop }, nil)
	if err != stop || n != 1 {
		t.Errorf("Select with a visitor that fails = %v after %d messages, want its error after one", err, n)
	}
	if err := queue.Select(t.Context(), q, queue.Selection{Message: "none"}, nil, nil); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("Select of a message that is not there = %v, want ErrNotFound", err)
	}
}

// TestSelectWhileMailLeaves has the visitor end what it is shown, over many pages.
func TestSelectWhileMailLeaves(t *testing.T) {
	q := new(memory.Queue)
	const many = 1000
	for range many {
		if _, err := q.Put(t.Context(), time.Unix(0, 0), messageTo("a@example.com")); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	err := queue.Select(t.Context(), q, queue.Selection{Tenant: ""}, func(e *queue.Entry, _ []int) error {
		n++
		return q.Drop(t.Context(), e.Message.ID)
	}, nil)
	if err != nil || n != many {
		t.Errorf("Select = %v after %d messages, want all %d", err, n, many)
	}
}

// TestFlushBySelection flushes by more than names, in a queue that finds mail by name
// alone.
func TestFlushBySelection(t *testing.T) {
	q, now, ids := selected(t)
	for _, c := range []struct {
		what queue.Selection
		want map[string]int
	}{
		{queue.Selection{Tenant: "u"}, map[string]int{"second": 1}},
		{queue.Selection{Status: "4.7"}, map[string]int{"first": 1}},
		{queue.Selection{From: "<>", Tenant: "u"}, nil},
		{queue.Selection{Before: now}, map[string]int{"first": 1, "third": 1, "fourth": 1}},
	} {
		if _, err := q.Flush(t.Context(), now, c.what); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Flush of %+v by the queue itself = %v, want errors.ErrUnsupported", c.what, err)
		}
		if _, err := queue.Flush(t.Context(), q, now, c.what); err != nil {
			t.Errorf("Flush of %+v = %v", c.what, err)
		}
		got := map[string]int{}
		claimed, err := q.Claim(t.Context(), now, queue.ClaimOptions{Lease: 1000 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range claimed.Deliveries {
			for name, id := range ids {
				if id == d.Lease.Message {
					got[name]++
				}
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("after Flush of %+v Claim returned %v, want %v", c.what, got, c.want)
		}
	}
}

// holder is a queue that can hold and no more.
type holder struct {
	queue.Queue
	held []string
}

func (h *holder) Hold(_ context.Context, id string) error {
	h.held = append(h.held, id)
	return nil
}

func (h *holder) Release(context.Context, string) error { return nil }

// TestHoldOfPlainHolder has a queue that knows no terms hold for as long as it can.
func TestHoldOfPlainHolder(t *testing.T) {
	h := &holder{Queue: new(memory.Queue)}
	if err := queue.HoldUntil(t.Context(), h, time.Time{}, "one", queue.Terms{Reason: "why"}); err != nil {
		t.Errorf("HoldUntil without an end = %v, want nil", err)
	}
	err := queue.HoldUntil(t.Context(), h, time.Time{}, "two", queue.Terms{Until: time.Unix(1, 0)})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("HoldUntil with an end = %v, want errors.ErrUnsupported", err)
	}
	if !slices.Equal(h.held, []string{"one"}) {
		t.Errorf("%q are on hold, want one", h.held)
	}
}
