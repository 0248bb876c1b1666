package queuetest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

func TestFaultsOfOpen(t *testing.T) { runFaults(t, faultsOfOpen()) }

func faultsOfOpen() []fault {
	return []fault{
		{"content loses its last byte", []string{"O1", "O2", "P3", "P5", "S8", "S9", "W2"}, opened(func(text string) string {
			return text[:max(0, len(text)-1)]
		})},
		{"line ends are put right", []string{"O1", "P3", "P5", "S8"}, opened(func(text string) string {
			if len(text) > 0 && text[len(text)-1] != '\n' && len(text) < 100 {
				return text + "\r\n"
			}
			return text
		})},
		{"what is not there is empty", []string{"A4", "L7", "O2", "P6", "S10", "S8", "W2"}, func(h *hooked) {
			h.open = func(q *memory.Queue, ctx context.Context, id string) (queue.Content, error) {
				c, err := q.Open(ctx, id)
				if errors.Is(err, queue.ErrNotFound) {
					return queue.String(""), nil
				}
				return c, err
			}
		}},
		{"content is read once", []string{"O1"}, func(h *hooked) {
			h.open = func(q *memory.Queue, ctx context.Context, id string) (queue.Content, error) {
				c, err := q.Open(ctx, id)
				if err != nil {
					return nil, err
				}
				return &onceOnly{Content: c}, nil
			}
		}},
		{"content turns to other bytes when its message has left", []string{"O2"}, func(h *hooked) {
			h.open = func(q *memory.Queue, ctx context.Context, id string) (queue.Content, error) {
				c, err := q.Open(ctx, id)
				if err != nil {
					return nil, err
				}
				return reused{c, func() bool { _, err := q.Open(ctx, id); return err != nil }}, nil
			}
		}},
	}
}

func TestFaultsOfAdministration(t *testing.T) { runFaults(t, faultsOfAdministration()) }

func faultsOfAdministration() []fault {
	return []fault{
		{"a page begins with the last of the one before", []string{"A1"}, func(h *hooked) {
			h.list = func(q *memory.Queue, ctx context.Context, want queue.ListOptions) (queue.Page, error) {
				page, err := q.List(ctx, want)
				if n := len(page.Entries); page.Next != "" && n > 1 {
					page.Next = page.Entries[n-2].Message.ID
				}
				return page, err
			}
		}},
		{"the list has one page", []string{"A1"}, func(h *hooked) {
			h.list = func(q *memory.Queue, ctx context.Context, want queue.ListOptions) (queue.Page, error) {
				page, err := q.List(ctx, want)
				page.Next = ""
				return page, err
			}
		}},
		{"the list lists every destination", []string{"A1"}, func(h *hooked) {
			h.list = func(q *memory.Queue, ctx context.Context, want queue.ListOptions) (queue.Page, error) {
				want.Destination = ""
				return q.List(ctx, want)
			}
		}},
		{"a message is shown without its history", []string{"A2", "A3", "A9", "S11", "W2"}, func(h *hooked) {
			h.show = func(q *memory.Queue, ctx context.Context, id string) (queue.Entry, error) {
				e, err := q.Show(ctx, id)
				for i := range e.Waiting {
					e.Waiting[i].State = queue.State{Index: e.Waiting[i].Index}
				}
				e.Held = false
				return e, err
			}
		}},
		{"the list does not know who is postponed", []string{"A6"}, func(h *hooked) {
			h.show = func(q *memory.Queue, ctx context.Context, id string) (queue.Entry, error) {
				e, err := q.Show(ctx, id)
				for i, w := range e.Waiting {
					if e.Message.NotBefore.IsZero() && w.Attempts == 0 {
						e.Waiting[i].Next = time.Time{}
					}
				}
				return e, err
			}
			h.list = func(q *memory.Queue, ctx context.Context, want queue.ListOptions) (queue.Page, error) {
				page, err := q.List(ctx, want)
				for _, e := range page.Entries {
					for i, w := range e.Waiting {
						if e.Message.NotBefore.IsZero() && w.Attempts == 0 {
							e.Waiting[i].Next = time.Time{}
						}
					}
				}
				return page, err
			}
		}},
		{"a hold holds nothing", []string{"A3", "A5", "A7", "A9", "L6", "L7", "W1"}, func(h *hooked) {
			h.hold = func(q *memory.Queue, ctx context.Context, id string) error {
				return q.Release(ctx, id)
			}
		}},
		{"a hold takes leases away", []string{"A3", "L7"}, func(h *hooked) {
			h.hold = func(q *memory.Queue, ctx context.Context, id string) error {
				if err := q.Hold(ctx, id); err != nil {
					return err
				}
				return h.lose(id)
			}
			h.extend = h.extendUnlessLost
			h.settle = h.settleUnlessLost
		}},
		{"a drop is a hold", []string{"A4", "P6"}, func(h *hooked) {
			h.drop = func(q *memory.Queue, ctx context.Context, id string) error { return q.Hold(ctx, id) }
		}},
		{"a flush flushes everything", []string{"A5"}, func(h *hooked) {
			h.flush = func(q *memory.Queue, ctx context.Context, now time.Time, what []queue.Selection) (int, error) {
				what = slices.Clone(what)
				for i := range what {
					what[i].Destination = ""
				}
				return q.Flush(ctx, now, what...)
			}
		}},
		{"a flush leaves postponements", []string{"A5"}, func(h *hooked) {
			everybodys := make(map[string]queue.Postponement)
			h.postpone = func(q *memory.Queue, ctx context.Context, now time.Time, p queue.Postponement) error {
				if p.Owner == "" {
					everybodys[p.Destination] = p
				}
				return q.Postpone(ctx, now, p)
			}
			h.flush = func(q *memory.Queue, ctx context.Context, now time.Time, what []queue.Selection) (int, error) {
				n, err := q.Flush(ctx, now, what...)
				for _, p := range everybodys {
					err = errors.Join(err, q.Postpone(ctx, now, p))
				}
				return n, err
			}
		}},
		{"a flush leaves what has ever been leased", []string{"A5"}, func(h *hooked) {
			h.flush = func(q *memory.Queue, ctx context.Context, now time.Time, what []queue.Selection) (int, error) {
				page, err := q.List(ctx, queue.ListOptions{})
				if err != nil {
					return 0, err
				}
				leased := false
				var others []queue.Selection
				for _, e := range page.Entries {
					for _, w := range e.Waiting {
						if leased = leased || w.Leased; !w.Leased {
							others = append(others, queue.Selection{Message: e.Message.ID, Destination: w.Destination})
						}
					}
				}
				if !leased {
					others = what
				}
				return q.Flush(ctx, now, others...)
			}
		}},
		{"a flush releases what is on hold", []string{"A5"}, func(h *hooked) {
			h.flush = func(q *memory.Queue, ctx context.Context, now time.Time, what []queue.Selection) (int, error) {
				page, err := q.List(ctx, queue.ListOptions{})
				for _, e := range page.Entries {
					err = errors.Join(err, q.Release(ctx, e.Message.ID))
				}
				if err != nil {
					return 0, err
				}
				return q.Flush(ctx, now, what...)
			}
		}},
		{"a postponement ends an hour late", []string{"A6", "A7", "C8"}, func(h *hooked) {
			h.postpone = func(q *memory.Queue, ctx context.Context, now time.Time, p queue.Postponement) error {
				if !p.Until.IsZero() && p.Owner == "" {
					p.Until = p.Until.Add(time.Hour)
				}
				return q.Postpone(ctx, now, p)
			}
		}},
		{"only mail that is there is postponed", []string{"A6"}, func(h *hooked) {
			h.postpone = func(q *memory.Queue, ctx context.Context, now time.Time, p queue.Postponement) error {
				if n, err := q.Total(ctx); err != nil || n.Messages == 0 {
					return err
				}
				return q.Postpone(ctx, now, p)
			}
		}},
		{"the survey counts what was", []string{"A7"}, func(h *hooked) {
			most := make(map[string]queue.Destination)
			h.survey = func(q *memory.Queue, ctx context.Context, after string, max int) ([]queue.Destination, error) {
				got, err := q.Survey(ctx, after, max)
				for i, d := range got {
					if was := most[d.Name]; was.Deliveries > d.Deliveries {
						got[i].Deliveries = was.Deliveries
					}
					most[d.Name] = got[i]
				}
				return got, err
			}
		}},
		{"the oldest is the youngest", []string{"A7"}, func(h *hooked) {
			h.survey = func(q *memory.Queue, ctx context.Context, after string, max int) ([]queue.Destination, error) {
				got, err := q.Survey(ctx, after, max)
				page, listErr := q.List(ctx, queue.ListOptions{})
				for i := range got {
					for _, e := range page.Entries {
						for _, w := range e.Waiting {
							if w.Destination == got[i].Name {
								got[i].Oldest = e.Message.Arrived
							}
						}
					}
				}
				return got, errors.Join(err, listErr)
			}
		}},
		{"Close does nothing", []string{"X3"}, func(h *hooked) { h.close = func(*memory.Queue) error { return nil } }},
		{"a second Close is an error", []string{"X3"}, func(h *hooked) {
			var mu sync.Mutex
			closed := false
			h.close = func(q *memory.Queue) error {
				mu.Lock()
				defer mu.Unlock()
				if closed {
					return queue.ErrClosed
				}
				closed = true
				return q.Close()
			}
		}},
	}
}
