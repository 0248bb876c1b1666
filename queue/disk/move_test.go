package disk

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// TestMoveThatIsCalledOff has a compaction wait for a message that another call changes,
// until it is called off: it fails with that, and moves nothing.
func TestMoveThatIsCalledOff(t *testing.T) {
	fs, s := openSmall(t)
	id := mustPut(t, s)
	g := s.current
	s.rollNow = true
	mustPut(t, s)
	number, _ := parseID(id)
	slots := s.slots(number)
	must(t, s.acquire(t.Context(), slots))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.compact(ctx, g) }()
	for waits := false; !waits; runtime.Gosched() {
		s.mu.Lock()
		waits = s.reserved[slots[0]] != nil
		s.mu.Unlock()
	}
	before := fs.Writes()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || fs.Writes() > before {
		t.Errorf("the compaction is %v after %d more writes, want that it was called off", err, fs.Writes()-before)
	}
	s.release(slots)
	if _, err := s.Show(t.Context(), id); err != nil {
		t.Error(err)
	}
	must(t, s.compact(t.Context(), g))
}

// TestMoveThatCannotReadADelivery has no descriptor for the segment with the state of a
// delivery whose message is to be moved: the segment of the message stays until there is.
func TestMoveThatCannotReadADelivery(t *testing.T) {
	ctx := t.Context()
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	id := mustPut(t, s)
	first := s.current
	s.rollNow = true
	must(t, s.Hold(ctx, id))
	second := s.current.file.name
	s.rollNow = true
	mustPut(t, s)
	closeIdle(s)
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpOpen && name == second {
			return syscall.EMFILE
		}
		return nil
	})
	if err := s.compact(ctx, first); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("the compaction is %v, want EMFILE", err)
	}
	fs.Inject(nil)
	if s.segments.byNumber[first.number] == nil {
		t.Error("the segment was given up")
	}
	must(t, s.compact(ctx, first))
	if e, err := s.Show(ctx, id); err != nil || !e.Held {
		t.Errorf("the message is held: %v, %v", e.Held, err)
	}
}

// TestRestOfACompaction has half of a segment moved, and then the rest: what was moved is
// not moved again.
func TestRestOfACompaction(t *testing.T) {
	ctx := t.Context()
	l := newLife(7, small())
	must(t, l.open())
	text := strings.Repeat("text ", 500)
	id, err := l.s.Put(ctx, time.Unix(1e9, 0), textMessage(text))
	must(t, err)
	mustPut(t, l.s)
	first := l.s.current
	l.s.rollNow = true
	mustPut(t, l.s)
	moveOne(t, l.s, id)
	number, _ := parseID(id)
	slot := l.s.slots(number)[0]
	want, before := l.s.index.Get(slot), l.s.written()
	must(t, l.s.compact(ctx, first))
	if got := l.s.index.Get(slot); got != want {
		t.Errorf("the message is at %+v, and was moved to %+v", got, want)
	}
	if n := l.s.written() - before; n > int64(len(text)) {
		t.Errorf("the rest takes %d bytes", n)
	}
	if got, err := readContent(l.s, id); err != nil || got != text {
		t.Errorf("the content has %d bytes: %v", len(got), err)
	}
}
