package disk

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// narrow is a spool whose log has no room, until so much of the reserve has been given up
// or something has been deleted. A message to two recipients at one destination is
// claimed.
type narrow struct {
	fs    *crashfs.FS
	s     *Spool
	id    string
	lease queue.Lease
}

func newNarrow(t *testing.T) *narrow {
	t.Helper()
	ctx, now := context.Background(), time.Unix(1e9, 0)
	r := &narrow{fs: crashfs.New(1)}
	var err error
	r.s, err = openByHand(r.fs, Options{LargeContent: 3000})
	must(t, err)
	for range 3 { // so that there is something to delete
		r.s.rollNow = true
		mustPut(t, r.s)
	}
	deliverAll(t, r.s)
	deliverAll(t, r.s)
	deliverAll(t, r.s)
	r.s.rollNow = true
	r.id, err = r.s.Put(ctx, now, &queue.Message{Content: queue.String("text"),
		Recipients: []queue.Recipient{{Address: "a@a.example"}, {Address: "b@a.example"}}})
	must(t, err)
	c, err := r.s.Claim(ctx, now, queue.ClaimOptions{Lease: time.Hour})
	must(t, err)
	r.lease = c.Deliveries[0].Lease
	return r
}

// until has no room for the log before that.
func (r *narrow) until(enough func() bool, first func()) {
	asked := false
	r.fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpWrite && name == reserveName {
			return syscall.ENOSPC
		}
		if op != crashfs.OpWrite || !strings.HasPrefix(name, segmentPrefix) || enough() {
			return nil
		}
		if !asked && first != nil {
			first()
		}
		asked = true
		return syscall.ENOSPC
	})
}

// TestSettleWithoutRoom settles where there is no room for all of it, before a part of the
// reserve has been given up: what was delivered is recorded, what only says when to try
// again is kept in memory, and who failed stays until there is room for the report.
func TestSettleWithoutRoom(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	later, soon := now.Add(time.Hour), now.Add(time.Second)
	both := func(a, b queue.Outcome) []queue.Result {
		return []queue.Result{{Outcome: a}, {Recipient: 1, Outcome: b}}
	}
	report := func() []*queue.Message { return []*queue.Message{textMessage("report")} }
	const never, forEnds, forParts = 0, 1, 2
	for name, c := range map[string]struct {
		room   int
		b      queue.Settlement
		noRoom bool
		err    error
		stay   int // recipients
		due    time.Time
		tries  int // recorded of who stays
		warned bool
	}{
		"one delivered, one failed":   {room: forParts, b: queue.Settlement{Results: both(queue.Delivered, queue.Failed), Create: report(), NotBefore: soon, Warned: true}, noRoom: true, stay: 1, due: now.Add(time.Minute)},
		"the same, in what ends have": {room: forEnds, b: queue.Settlement{Results: both(queue.Delivered, queue.Failed), Create: report(), NotBefore: later}, noRoom: true, stay: 1, due: later},
		"the same, without any room":  {room: never, b: queue.Settlement{Results: both(queue.Delivered, queue.Failed), Create: report()}, err: queue.ErrFull, stay: 2},
		"both failed":                 {room: never, b: queue.Settlement{Results: both(queue.Failed, queue.Failed), Create: report(), NotBefore: soon}, noRoom: true, stay: 2, due: now.Add(time.Minute)},
		"both failed, not told":       {room: never, b: queue.Settlement{Results: both(queue.Failed, queue.Failed)}, noRoom: true, stay: 2, due: now.Add(time.Minute)},
		"both deferred":               {room: never, b: queue.Settlement{Results: both(queue.Deferred, queue.Deferred), NotBefore: soon}, stay: 2, due: soon},
		"one delivered, one deferred": {room: forEnds, b: queue.Settlement{Results: both(queue.Delivered, queue.Deferred), NotBefore: soon, Warned: true}, stay: 1, due: soon, tries: 1, warned: true},
		"both delivered":              {room: forEnds, b: queue.Settlement{Results: both(queue.Delivered, queue.Delivered)}},
		"a message alone":             {room: never, b: queue.Settlement{Create: report(), NotBefore: soon}, noRoom: true, stay: 2, due: soon},
	} {
		t.Run(name, func(t *testing.T) {
			r := newNarrow(t)
			must(t, r.s.maintain(ctx)) // nothing is left to delete
			r.s.mu.Lock()
			ends, moves, _, _ := r.s.roomNeeded()
			r.s.mu.Unlock()
			r.until(func() bool {
				size := r.s.spare.size
				return c.room == forParts && size <= moves || c.room == forEnds && size <= ends
			}, nil)
			c.b.Lease = r.lease
			done, err := r.s.Settle(ctx, now, []queue.Settlement{c.b})
			must(t, err)
			if !errors.Is(done[0].Err, c.err) || done[0].NoRoom != c.noRoom || len(done[0].Created) > 0 {
				t.Errorf("Settle = %+v, want %v, no room: %v", done[0], c.err, c.noRoom)
			}
			if c.room == forParts && r.s.spare.size < moves {
				t.Errorf("the reserve has %d bytes left, want %d for what must be moved", r.s.spare.size, moves)
			}
			r.fs.Inject(nil)
			r.s.spare.failed = time.Time{}
			if total, err := r.s.Total(ctx); err != nil || total.Messages != min(c.stay, 1) {
				t.Errorf("%d messages are there, %v", total.Messages, err)
			}
			if c.err != nil {
				c.b.Create = nil
				if err := settled(t, r.s, now, c.b)[0]; err != nil {
					t.Errorf("Settle when there is room = %v", err)
				}
				return
			}
			if c.stay == 0 {
				return
			}
			early, err := r.s.Claim(ctx, c.due.Add(-time.Millisecond), queue.ClaimOptions{})
			must(t, err)
			got, err := r.s.Claim(ctx, c.due, queue.ClaimOptions{})
			must(t, err)
			if len(early.Deliveries) > 0 || len(got.Deliveries) != 1 {
				t.Fatalf("claimed before it is due: %v, and when it is: %v", early.Deliveries, got.Deliveries)
			}
			d := got.Deliveries[0]
			if len(d.States) != c.stay || d.States[0].Attempts != c.tries || d.Warned != c.warned {
				t.Errorf("what stays is %+v, warned %v", d.States, d.Warned)
			}
		})
	}
}

// TestSettleMakesRoom has room for a settlement with its reports once something is deleted
// that nobody needs. One has a key that is known at first and not any more when it is tried
// again: it is put.
func TestSettleMakesRoom(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	r := newNarrow(t)
	keyed := keyedMessage("key")
	h := hashKey("", "key")
	number, _ := parseID(r.id)
	r.s.keys.known[h] = number
	given := r.s.given.Load()
	r.s.mu.Lock()
	_, moves, _, _ := r.s.roomNeeded()
	r.s.mu.Unlock()
	r.until(func() bool { return r.s.given.Load() > given || r.s.spare.size <= moves }, func() {
		r.s.mu.Lock()
		defer r.s.mu.Unlock()
		delete(r.s.keys.known, h)
	})
	done, err := r.s.Settle(ctx, now, []queue.Settlement{{Lease: r.lease,
		Results: []queue.Result{{Outcome: queue.Delivered}, {Recipient: 1, Outcome: queue.Failed}}, Create: []*queue.Message{textMessage("report"), keyed}}})
	must(t, err)
	if done[0].Err != nil || done[0].NoRoom || len(done[0].Created) != 2 {
		t.Fatalf("Settle = %+v", done[0])
	}
	for _, id := range done[0].Created {
		if _, err := r.s.Show(ctx, id); err != nil || id == r.id {
			t.Errorf("%s was created: %v", id, err)
		}
	}
	if r.s.given.Load() == given {
		t.Error("nothing was deleted")
	}
}

// TestSettleIsCanceledWhenItTriesAgain has no room for a settlement, and the call canceled
// when it is to be tried once more while another call has the delivery: it is not said to
// be recorded.
func TestSettleIsCanceledWhenItTriesAgain(t *testing.T) {
	now := time.Unix(1e9, 0)
	r := newNarrow(t)
	must(t, r.s.maintain(context.Background()))
	ctx, cancel := context.WithCancel(context.Background())
	slot, _ := r.s.slotOf(&r.lease)
	r.until(func() bool { return false }, func() {
		r.s.mu.Lock()
		defer r.s.mu.Unlock()
		r.s.reserved.wait(slot)
		cancel()
	})
	done, err := r.s.Settle(ctx, now, []queue.Settlement{{Lease: r.lease, Results: []queue.Result{{Outcome: queue.Deferred}}}})
	must(t, err)
	if !errors.Is(done[0].Err, context.Canceled) {
		t.Errorf("Settle = %+v, want Canceled", done[0])
	}
}

// TestSettleWithoutRoomForAContent has no room for the content of the second of two reports:
// none is put and nothing is left of the first. A settlement beside it, which has room, is
// recorded as a whole. One that makes no sense is refused, with room or without.
func TestSettleWithoutRoomForAContent(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	r := newNarrow(t)
	mustPut(t, r.s)
	c, err := r.s.Claim(ctx, now, queue.ClaimOptions{Lease: time.Hour})
	must(t, err)
	files := map[string]bool{}
	r.fs.Inject(func(op crashfs.Op, name string) error {
		if op != crashfs.OpCreate || !strings.HasPrefix(name, contentPrefix) {
			return nil
		}
		if files[name] = true; len(files) > 1 {
			return syscall.ENOSPC
		}
		return nil
	})
	large := textMessage(strings.Repeat("x", 4000))
	failed := []queue.Result{{Outcome: queue.Failed}}
	b := queue.Settlement{Lease: r.lease, Results: failed, Create: []*queue.Message{large, large}}
	wrong := b
	wrong.Results = []queue.Result{{Recipient: 7, Outcome: queue.Failed}}
	var senseless *queue.ResultError
	if err := settled(t, r.s, now, wrong)[0]; !errors.As(err, &senseless) {
		t.Errorf("Settle of another recipient = %v, want a *ResultError", err)
	}
	clear(files)
	done, err := r.s.Settle(ctx, now, []queue.Settlement{b, {Lease: c.Deliveries[0].Lease, Results: failed, Create: []*queue.Message{textMessage("report")}}})
	must(t, err)
	if done[0].Err != nil || !done[0].NoRoom || done[1].Err != nil || done[1].NoRoom || len(done[1].Created) != 1 {
		t.Errorf("Settle = %+v", done)
	}
	if n := contentFiles(t, r.fs); n != 0 {
		t.Errorf("%d files of contents are left", n)
	}
}
