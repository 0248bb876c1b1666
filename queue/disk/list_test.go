package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// endsLater is a context that ends when it has been asked so many times.
type endsLater struct {
	context.Context
	left int
}

func (c *endsLater) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestListThatIsCalledOff has the context of a call end in the middle: the call fails with
// that, and does not answer with a part.
func TestListThatIsCalledOff(t *testing.T) {
	_, s := openSmall(t)
	for range 3 {
		mustPut(t, s)
	}
	for what, c := range map[string]struct {
		looks int // at the context, at least
		call  func(context.Context) (int, error)
	}{
		"List": {1 + 3, func(ctx context.Context) (int, error) {
			page, err := s.List(ctx, queue.ListOptions{})
			return len(page.Entries), err
		}},
		"Survey": {3, func(ctx context.Context) (int, error) {
			list, err := s.Survey(ctx, "", 0)
			n := 0
			for _, d := range list {
				n += d.Deliveries
			}
			return n, err
		}},
	} {
		for n := 0; ; n++ {
			got, err := c.call(&endsLater{t.Context(), n})
			if err == nil && got != 3 || err != nil && (!errors.Is(err, context.Canceled) || got > 0) || n > 20 {
				t.Errorf("%s of 3 messages, called off after %d looks: %d, %v", what, n, got, err)
			}
			if err == nil || n > 20 {
				if n < c.looks {
					t.Errorf("%s is not called off after %d looks", what, n)
				}
				break
			}
		}
	}
}

// TestPageThatEndsWithTheLast lists as many messages as there are: there is no other page.
func TestPageThatEndsWithTheLast(t *testing.T) {
	_, s := openSmall(t)
	for range 3 {
		mustPut(t, s)
	}
	page, err := s.List(t.Context(), queue.ListOptions{Max: 3})
	if err != nil || len(page.Entries) != 3 || page.Next != "" {
		t.Errorf("%d messages, and more after %q: %v", len(page.Entries), page.Next, err)
	}
}

// TestListBesideWhatChanges lists messages of which one is damaged, and one is dropped when
// the list has begun: the first is named, and nothing is said of the other.
func TestListBesideWhatChanges(t *testing.T) {
	ctx := t.Context()
	w := &watchedReads{FS: crashfs.New(1)}
	s, err := openByHand(w, small())
	must(t, err)
	first, damaged, dropped := mustPut(t, s), mustPut(t, s), mustPut(t, s)
	number, _ := parseID(damaged)
	name, at := find(t, w.Copy(), number, record.KindMessage)
	w.Flip(name, at+record.FrameSize+4, 1)
	w.before = func(string) {
		w.before = nil
		must(t, s.Drop(ctx, dropped))
	}
	page, err := s.List(ctx, queue.ListOptions{})
	if err != nil || len(page.Entries) != 1 || page.Entries[0].Message.ID != first || !slices.Equal(page.Unreadable, []string{damaged}) {
		t.Errorf("%d messages are listed, and %v cannot be read: %v", len(page.Entries), page.Unreadable, err)
	}
}

// TestListAfterWhatIsNoID goes on after something that is not the id of a message: with the
// first whose id is greater.
func TestListAfterWhatIsNoID(t *testing.T) {
	for _, id := range []string{"", "0", "00000000071", "000000000g!", "000000000w", "~", "!", "7vvvvvvvvv0"} {
		n := after(id)
		if n > 0 && formatID(n) >= id || n+1 < 1<<48 && formatID(n+1) <= id {
			t.Errorf("after %q come those after %q", id, formatID(n))
		}
	}
	_, s := openSmall(t)
	first, second := mustPut(t, s), mustPut(t, s)
	page, err := s.List(t.Context(), queue.ListOptions{After: first + "0"})
	if err != nil || len(page.Entries) != 1 || page.Entries[0].Message.ID != second {
		t.Errorf("after %q0: %v, %v", first, page.Entries, err)
	}
}

// TestShowOfAMessageInParts shows a message whose recipients are at several destinations: in
// their order, each with when it is due, and without one who is settled meanwhile.
func TestShowOfAMessageInParts(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	w := &watchedReads{FS: crashfs.New(1)}
	s, err := openByHand(w, small())
	must(t, err)
	m := &queue.Message{Content: queue.String("text"), NotBefore: now.Add(time.Hour)}
	for _, to := range []string{"a@1.example", "b@2.example", "c@3.example", "d@2.example", "e@1.example"} {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: to})
	}
	id, err := s.Put(ctx, now, m)
	must(t, err)
	must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "1.example", Until: now.Add(2 * time.Hour)},
		queue.Postponement{Destination: "2.example", Until: now.Add(time.Minute)}))
	e, err := s.Show(ctx, id)
	must(t, err)
	for i, minutes := range []int{120, 60, 60, 60, 120} {
		if e.Message.Recipients[i].Address != m.Recipients[i].Address || !e.Waiting[i].Next.Equal(now.Add(time.Duration(minutes)*time.Minute)) {
			t.Errorf("recipient %d is %v, due at %v", i, e.Message.Recipients[i], e.Waiting[i].Next)
		}
	}
	number, _ := parseID(id)
	last := s.index.Get(s.slots(number)[2]).Destination // which is read last
	taken, err := s.Take(ctx, now, id, time.Minute, last)
	must(t, err)
	settlement := queue.Settlement{Lease: taken.Deliveries[0].Lease}
	for _, state := range taken.Deliveries[0].States {
		settlement.Results = append(settlement.Results, queue.Result{Recipient: state.Index, Outcome: queue.Delivered})
	}
	w.before = func(string) {
		w.before = nil
		done, err := s.Settle(ctx, now, []queue.Settlement{settlement})
		must(t, err)
		must(t, done[0].Err)
	}
	if e, err = s.Show(ctx, id); err != nil || len(e.Waiting) != 5-len(settlement.Results) {
		t.Errorf("%d recipients wait, and %d of 5 have been settled: %v", len(e.Waiting), len(settlement.Results), err)
	}
	if n, err := s.Total(ctx); err != nil || n.Messages != 1 || n.Deliveries != 2 || n.Bytes == 0 {
		t.Errorf("there are %+v, %v", n, err)
	}
}

// TestShowOfAHold shows the terms of a hold for as long as it lasts.
func TestShowOfAHold(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	_, s := openSmall(t)
	id := mustPut(t, s)
	must(t, s.HoldUntil(ctx, now, id, queue.Terms{Until: now.Add(time.Hour), Reason: "why"}))
	if e, err := s.Show(ctx, id); err != nil || !e.Held || e.Hold.Reason != "why" || !e.Hold.Until.Equal(now.Add(time.Hour)) {
		t.Errorf("while it is held: %v %+v, %v", e.Held, e.Hold, err)
	}
	_, err := s.Claim(ctx, now.Add(2*time.Hour), queue.ClaimOptions{})
	must(t, err)
	if e, err := s.Show(ctx, id); err != nil || e.Held || e.Hold != (queue.Terms{}) {
		t.Errorf("when the hold has ended: %v %+v, %v", e.Held, e.Hold, err)
	}
}

// TestWhatIsNoID parses what is not the id of a message.
func TestWhatIsNoID(t *testing.T) {
	for _, id := range []string{"", "0", "00000000001", "000000000w", "000000000V", "vvvvvvvvvv", "8000000000", "00000-0000"} {
		if number, ok := parseID(id); ok || number != 0 {
			t.Errorf("%q is the id of message %d", id, number)
		}
	}
	for _, number := range []uint64{1, 1<<48 - 1} {
		if got, ok := parseID(formatID(number)); !ok || got != number {
			t.Errorf("%q is the id of message %d, want %d", formatID(number), got, number)
		}
	}
}

// TestOldestOfManyDeliveries has more deliveries than are gone through while the lock is held
// once, and then those of another destination: their age is known as well.
func TestOldestOfManyDeliveries(t *testing.T) {
	_, s := openSmall(t)
	m := textMessage("text")
	m.Recipients = nil
	for i := range 2*holdMax + 3 {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("a@d%d.example", i)})
	}
	now := time.Unix(1e9, 0)
	for i := range 2 {
		_, err := s.Put(t.Context(), now.Add(time.Duration(i)*time.Second), m)
		must(t, err)
		m = textMessage("text")
		m.Recipients[0].Address = "a@last.example"
	}
	list, err := s.Survey(t.Context(), "l", 1)
	if want := now.Add(time.Second); err != nil || len(list) != 1 || list[0].Name != "last.example" || !list[0].Oldest.Equal(want) {
		t.Errorf("Survey = %+v, %v, want last.example, with a message of %v", list, err, want)
	}
}
