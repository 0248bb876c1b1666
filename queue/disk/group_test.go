package disk

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// rejected is a spool with a message in its first segment and, in the second, a
// group of more than one record that says that deliveries of it have ended.
type rejected struct {
	fs     *crashfs.FS
	s      *Spool
	id     string
	second uint64
}

// newRejected puts a message to some destinations and begins a second segment.
// Other mail keeps both segments in use.
func newRejected(t *testing.T, destinations ...string) *rejected {
	t.Helper()
	ctx := context.Background()
	r := &rejected{}
	r.fs, r.s = openSmall(t)
	m := &queue.Message{Content: queue.String("text")}
	for _, d := range destinations {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: "a@" + d})
	}
	var err error
	r.id, err = r.s.Put(ctx, time.Unix(1e9, 0), m)
	must(t, err)
	must(t, r.s.Hold(ctx, mustPut(t, r.s)))
	r.s.rollNow = true
	must(t, r.s.Hold(ctx, mustPut(t, r.s)))
	r.second = r.s.current.number
	return r
}

// failWithReport settles the message's only delivery, with a report.
func (r *rejected) failWithReport(t *testing.T) {
	t.Helper()
	ctx, now := context.Background(), time.Unix(1e9, 0)
	c, err := r.s.Claim(ctx, now, queue.ClaimOptions{Destinations: []string{"a.example"}})
	must(t, err)
	_, err = r.s.Settle(ctx, now, []queue.Settlement{{
		Lease: c.Deliveries[0].Lease, Results: []queue.Result{{Outcome: queue.Failed}},
		Create: []*queue.Message{{Recipients: []queue.Recipient{{Address: "a@report.example"}}, Content: queue.String("a report")}},
	}})
	must(t, err)
}

// harm flips a bit of the last record of the last group in the second segment
// that ends deliveries and has more than one record.
func (r *rejected) harm(t *testing.T) {
	t.Helper()
	g := r.s.segments.byNumber[r.second]
	groups := g.groups(record.HeaderSize)
	at := int64(0)
	for groups.Next() {
		if list := groups.Frames(); len(list) > 1 && list[0].Kind == record.KindGone {
			at = list[len(list)-1].From
		}
	}
	if at == 0 {
		t.Fatal("there is no such group")
	}
	r.fs.Flip(fileName(segmentPrefix, r.second), at+record.FrameSize+4, 1)
}

// reopen opens the spool without a checkpoint.
func (r *rejected) reopen(t *testing.T) {
	t.Helper()
	must(t, withoutCheckpoints(r.fs))
	s, err := openByHand(r.fs, Options{})
	must(t, err)
	r.s = s
}

// recipients is how many recipients of the message wait.
func (r *rejected) recipients(t *testing.T) int {
	t.Helper()
	e, err := r.s.Show(context.Background(), r.id)
	if errors.Is(err, queue.ErrNotFound) {
		return 0
	}
	must(t, err)
	return len(e.Waiting)
}

// TestEndsOfARejectedGroup has a group in the log that says that deliveries have
// ended, and that recovery lets not count, since a part of it is damaged or was
// never saved. The deliveries are back, and are still there when the segment has
// been given up and the spool is opened once more.
func TestEndsOfARejectedGroup(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		destinations []string
		reject       func(t *testing.T, r *rejected)
	}{
		"a settlement whose report is damaged": {[]string{"a.example"}, func(t *testing.T, r *rejected) {
			r.failWithReport(t)
			r.s.rollNow = true
			must(t, r.s.Hold(ctx, mustPut(t, r.s))) // the group is known to be saved
			r.harm(t)
			r.fs = r.fs.Restart()
		}},
		"a drop of which one end is damaged": {[]string{"a.example", "b.example", "c.example"}, func(t *testing.T, r *rejected) {
			must(t, r.s.Drop(ctx, r.id))
			must(t, r.s.Hold(ctx, mustPut(t, r.s)))
			r.harm(t)
			r.fs = r.fs.Restart()
		}},
		"a settlement that was torn, before a message that was not": {[]string{"a.example"}, func(t *testing.T, r *rejected) {
			behindASync(t, r.fs, r.s, func() { r.failWithReport(t) }, func() { mustPut(t, r.s) })
			r.harm(t)
			r.fs = r.fs.Kill()
		}},
		"a drop that was torn at the end of the log": {[]string{"a.example", "b.example"}, func(t *testing.T, r *rejected) {
			must(t, r.s.Drop(ctx, r.id))
			r.harm(t)
			r.fs = r.fs.Kill()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRejected(t, c.destinations...)
			c.reject(t, r)
			r.reopen(t)
			if n := r.recipients(t); n != len(c.destinations) {
				t.Fatalf("%d of %d recipients wait after the damage", n, len(c.destinations))
			}
			var dumped bytes.Buffer
			must(t, dump(r.fs.Copy(), &dumped))
			if part, torn := strings.Contains(dumped.String(), "(part of a group)"), strings.Contains(name, "torn"); part == torn {
				t.Errorf("Dump shows a part of a group: %v", part)
			}
			must(t, r.s.Hold(ctx, mustPut(t, r.s))) // the log goes on
			must(t, r.s.compact(ctx, r.s.segments.byNumber[r.second]))
			must(t, r.s.save())
			r.fs = r.fs.Restart()
			r.reopen(t)
			if n := r.recipients(t); n != len(c.destinations) {
				t.Errorf("%d of %d recipients wait when the segment has been given up", n, len(c.destinations))
			}
		})
	}
}

// TestSegmentThatCouldNotBeBegun has the write of a new segment fail when all of
// it was done, and the removal of the file lost in a power cut. The log went on
// in the segment before: what was written there counts, and its end is where the
// log ends.
func TestSegmentThatCouldNotBeBegun(t *testing.T) {
	collectLess(t)
	ctx := context.Background()
	back, torn := 0, 0
	for seed := range uint64(300) {
		fs := crashfs.New(seed)
		s, err := openByHand(fs, Options{SegmentSize: 64 << 10})
		must(t, err)
		mustPut(t, s)
		old := s.current
		s.rollNow = true
		mustPut(t, s)
		deliverAll(t, s)
		must(t, s.save())
		s.rollNow = true
		fs.Inject(crashfs.FailNth(crashfs.OpWrite, 1, false, syscall.EIO))
		if _, err := s.Put(ctx, time.Unix(1e9, 0), textMessage("x")); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		failed := fileName(segmentPrefix, s.nextSegment-1)
		fs.Inject(nil)
		s.rollNow = false
		must(t, s.compact(ctx, old)) // that says here that the first segment is retired
		id := mustPut(t, s)
		must(t, s.Postpone(ctx, time.Unix(1e9, 0), queue.Postponement{Destination: "slow.example", Until: time.Unix(2e9, 0)})) // not saved
		fs = fs.Restart()
		if h, err := fs.Open(failed, false); err == nil {
			if n, _ := h.Size(); n > record.HeaderSize {
				back++
			}
		}
		last := fileName(segmentPrefix, s.current.number)
		before, err := sizeOf(fs, last)
		must(t, err)
		if s, err = openByHand(fs, Options{SegmentSize: 64 << 10}); err != nil {
			t.Fatal(err)
		}
		if len(s.problems) > 0 {
			t.Fatalf("seed %d: %v", seed, s.problems)
		}
		page, err := s.List(ctx, queue.ListOptions{})
		must(t, err)
		if len(page.Entries) != 1 || page.Entries[0].Message.ID != id {
			t.Fatalf("seed %d: %d messages are there, want %s alone", seed, len(page.Entries), id)
		}
		after, err := sizeOf(fs, last)
		must(t, err)
		if after < before {
			torn++
		}
	}
	if back == 0 || torn == 0 {
		t.Errorf("the segment came back %d times, and %d times a torn end was cut off; both must be seen", back, torn)
	}
}

func sizeOf(fs *crashfs.FS, name string) (int64, error) {
	h, err := fs.Open(name, false)
	if err != nil {
		return 0, err
	}
	defer h.Close()
	return h.Size()
}

// textMessage is a message to one recipient.
func textMessage(text string) *queue.Message {
	return &queue.Message{Content: queue.String(text), Recipients: []queue.Recipient{{Address: "a@example.com"}}}
}

// TestEndsThatCannotBeRead gives up a segment of ends while the device cannot read
// it: it stays for as long as the messages that have ended are in another one, and
// goes when they are not.
func TestEndsThatCannotBeRead(t *testing.T) {
	ctx := context.Background()
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	ended := mustPut(t, s)
	stays, err := s.Put(ctx, time.Unix(1e9, 0), textMessage("stays"))
	must(t, err)
	first := s.current
	s.rollNow = true
	must(t, s.Drop(ctx, ended))
	second := s.current
	s.rollNow = true
	mustPut(t, s)
	if first == second || s.current == second || second.gone[first.number] != 1 {
		t.Fatal("the end is not in a segment of its own")
	}
	name := fileName(segmentPrefix, second.number)
	fs.Spoil(name, record.HeaderSize, second.size)
	must(t, s.compact(ctx, second))
	if s.segments.byNumber[second.number] == nil {
		t.Fatal("a segment was given up of which nothing could be read")
	}
	fs.Mend(name)
	again, err := openByHand(fs.Copy(), small())
	must(t, err)
	if _, err := again.Show(ctx, ended); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("the message whose end could not be read is back: %v", err)
	}
	must(t, again.Close())
	must(t, s.compact(ctx, first))
	must(t, s.maintain(ctx))
	if s.segments.byNumber[second.number] != nil {
		t.Error("a segment of ends is kept when the messages are gone from the log")
	}
	again, err = openByHand(fs.Restart(), small())
	must(t, err)
	if _, err := again.Show(ctx, ended); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("the message whose end could not be read is back in the end: %v", err)
	}
	if _, err := again.Show(ctx, stays); err != nil {
		t.Error(err)
	}
}
