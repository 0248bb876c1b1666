package queuetest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// fault is a queue that is wrong in one way, and the rules the kit must find
// broken: those and no others.
type fault struct {
	name  string
	rules []string
	hook  func(h *hooked)
}

func runFaults(t *testing.T, faults []fault) {
	t.Helper()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			wantBroken(t, broken(f.hook), f.rules...)
		})
	}
}

// putting makes a fault of a function that changes a copy of every message.
func putting(change func(m *queue.Message)) func(h *hooked) {
	return func(h *hooked) {
		h.put = func(q *memory.Queue, ctx context.Context, now time.Time, m *queue.Message) (string, error) {
			c := *m
			change(&c)
			return q.Put(ctx, now, &c)
		}
	}
}

// afterPut makes a fault of a function that changes what Put answers.
func afterPut(change func(m *queue.Message, id string, err error) (string, error)) func(h *hooked) {
	return func(h *hooked) {
		h.put = func(q *memory.Queue, ctx context.Context, now time.Time, m *queue.Message) (string, error) {
			id, err := q.Put(ctx, now, m)
			return change(m, id, err)
		}
	}
}

func TestFaultsOfPut(t *testing.T) { runFaults(t, faultsOfPut()) }

func faultsOfPut() []fault {
	return []fault{
		{"metadata is forgotten", []string{"A2", "L7", "P3"}, putting(func(m *queue.Message) { m.Metadata = nil })},
		{"arrival is cut to the second", []string{"A2", "L7", "P3"}, putting(func(m *queue.Message) {
			m.Arrived = m.Arrived.Truncate(time.Second)
		})},
		{"arrival is what a clock says", []string{"A7", "P3"}, putting(func(m *queue.Message) {
			if m.Arrived.IsZero() {
				m.Arrived = time.Now()
			}
		})},
		{"the recipients' parameters are forgotten", []string{"A2", "L7", "P3"}, putting(func(m *queue.Message) {
			m.Recipients = slices.Clone(m.Recipients)
			for i := range m.Recipients {
				m.Recipients[i].OriginalType, m.Recipients[i].Original = "", ""
			}
		})},
		{"the id is written to the caller's message", []string{"P3"}, afterPut(
			func(m *queue.Message, id string, err error) (string, error) { m.ID = id; return id, err })},
		{"a bad recipient is left out", []string{"P1", "P4"}, putting(func(m *queue.Message) {
			m.Recipients = slices.DeleteFunc(slices.Clone(m.Recipients), func(r queue.Recipient) bool {
				return strings.ContainsAny(r.Address, "\r\n")
			})
		})},
		{"bad messages are refused without saying why", []string{"P4", "P5"}, afterPut(
			func(m *queue.Message, id string, err error) (string, error) {
				if errors.As(err, new(*queue.MessageError)) {
					err = errors.New("no")
				}
				return id, err
			})},
		{"content is opened twice", []string{"P5"}, putting(func(m *queue.Message) {
			if m.Content != nil {
				if r, err := m.Content.Open(); err == nil {
					r.Close()
				}
			}
		})},
		{"content ends where its size says", []string{"P5"}, putting(func(m *queue.Message) {
			if m.Content != nil && m.Content.Size() >= 0 {
				m.Content = shorter{m.Content}
			}
		})},
		{"keys are forgotten", []string{"A2", "L7", "P3", "P6", "S8", "W2"}, putting(func(m *queue.Message) { m.Key = "" })},
		{"keys are remembered while their messages are there", []string{"P6"}, func(h *hooked) {
			h.put = func(q *memory.Queue, ctx context.Context, now time.Time, m *queue.Message) (string, error) {
				return putAgain(q, ctx, now, m)
			}
		}},
		{"all tenants share their keys", []string{"A2", "C4", "C5", "L7", "P3", "P6", "S8"}, putting(func(m *queue.Message) { m.Tenant = "" })},
		{"the duplicate's id is not told", []string{"P6", "W2"}, afterPut(
			func(m *queue.Message, id string, err error) (string, error) {
				if err != nil {
					id = ""
				}
				return id, err
			})},
		{"a full queue says nothing", []string{"P6", "P8", "S8"}, afterPut(
			func(m *queue.Message, id string, err error) (string, error) {
				if errors.Is(err, queue.ErrFull) {
					return "v", nil
				}
				return id, err
			})},
		{"a queue that was emptied counts anew", []string{"P7"}, func(h *hooked) {
			h.drop = func(q *memory.Queue, ctx context.Context, id string) error {
				err := q.Drop(ctx, id)
				if n, _ := q.Total(ctx); err == nil && n.Messages == 0 {
					h.Queue = new(memory.Queue)
				}
				return err
			}
		}},
		{"an ended context is not looked at", []string{"X2"}, func(h *hooked) {
			h.put = func(q *memory.Queue, ctx context.Context, now time.Time, m *queue.Message) (string, error) {
				return q.Put(context.WithoutCancel(ctx), now, m)
			}
		}},
	}
}

// putAgain puts a message whose key is that of one that has left all the same.
func putAgain(q *memory.Queue, ctx context.Context, now time.Time, m *queue.Message) (string, error) {
	id, err := q.Put(ctx, now, m)
	if !errors.Is(err, queue.ErrDuplicate) {
		return id, err
	}
	if _, gone := q.Open(ctx, id); !errors.Is(gone, queue.ErrNotFound) {
		return id, err
	}
	again := *m
	again.Key += "?"
	return q.Put(ctx, now, &again)
}
