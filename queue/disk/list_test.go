package disk

import (
	"context"
	"errors"
	"slices"
	"testing"

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
	for what, call := range map[string]func(context.Context) (int, error){
		"List": func(ctx context.Context) (int, error) {
			page, err := s.List(ctx, queue.ListOptions{})
			return len(page.Entries), err
		},
		"Survey": func(ctx context.Context) (int, error) {
			list, err := s.Survey(ctx, "", 0)
			n := 0
			for _, d := range list {
				n += d.Deliveries
			}
			return n, err
		},
	} {
		for n := 0; ; n++ {
			got, err := call(&endsLater{t.Context(), n})
			if err == nil && got != 3 || err != nil && (!errors.Is(err, context.Canceled) || got > 0) || n > 20 {
				t.Errorf("%s of 3 messages, called off after %d looks: %d, %v", what, n, got, err)
			}
			if err == nil || n > 20 {
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
