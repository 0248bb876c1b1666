package disk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// watchedReads is a directory whose reads and syncs are looked at before they are done. The
// spool may be used meanwhile.
type watchedReads struct {
	*crashfs.FS
	before func(name string)
	sync   func(name string) error
}

func (w *watchedReads) Open(name string, write bool) (vfs.File, error) {
	f, err := w.FS.Open(name, write)
	return &watchedRead{f, name, w}, err
}

func (w *watchedReads) Create(name string) (vfs.File, error) {
	f, err := w.FS.Create(name)
	return &watchedRead{f, name, w}, err
}

type watchedRead struct {
	vfs.File
	name string
	w    *watchedReads
}

func (f *watchedRead) ReadAt(p []byte, off int64) (int, error) {
	if f.w.before != nil {
		f.w.before(f.name)
	}
	return f.File.ReadAt(p, off)
}

func (f *watchedRead) Sync() error {
	if f.w.sync != nil {
		if err := f.w.sync(f.name); err != nil {
			return err
		}
	}
	return f.File.Sync()
}

// pinned is how many files of the log are kept open.
func pinned(s *Spool) (n int) {
	for _, g := range s.segments.list {
		if g != nil {
			n += g.pins
		}
	}
	return n
}

// TestDeliveryAndMessageAreReadAtOnce shows messages whose records stand together: they
// take one read if the whole of both is within what is read ahead, and otherwise one more, or
// two if the first is longer than that.
func TestDeliveryAndMessageAreReadAtOnce(t *testing.T) {
	ctx := context.Background()
	fs := crashfs.New(1)
	w := &watchedReads{FS: fs}
	s, err := openByHand(w, Options{})
	must(t, err)
	counts := map[int]int{}
	exactly := false
	for from := range 8 {
		for n := 100; n < 496; n += 8 {
			m := textMessage("text")
			m.From, m.Submitter = strings.Repeat("f", 20+from)+"@example.org", "somebody"
			m.Recipients[0].OriginalType, m.Recipients[0].Original = "rfc822", strings.Repeat("o", n)
			m.Recipients = append(m.Recipients, queue.Recipient{Address: "b@example.com", OriginalType: "rfc822", Original: strings.Repeat("o", 490)})
			id, err := s.Put(ctx, time.Unix(1e9, 0), m)
			must(t, err)
			number, _ := parseID(id)
			slot := s.slots(number)[0]
			at := int64(s.index.Get(slot).Record.Offset)
			h, known, err := s.openMessage(number, false)
			must(t, err)
			s.unpin(h.segment)
			end := int64(h.off) - at + record.FrameSize + int64(len(known.Append(nil)))
			_, dh, err := s.readDelivery(slot, number)
			must(t, err)
			s.unpin(dh.segment)
			want := 1
			if end > readAhead {
				want++
			}
			if record.FrameSize+len(dh.head) > readAhead { // no longer read ahead
				want++
			}
			exactly = exactly || end == readAhead
			reads := 0
			w.before = func(string) { reads++ }
			e, err := s.Show(ctx, id)
			w.before = nil
			must(t, err)
			if e.Message.From != m.From || e.Message.Submitter != m.Submitter || e.Message.Recipients[0].Original != m.Recipients[0].Original {
				t.Fatalf("records of %d bytes: the message is %+v", end, e.Message)
			}
			if reads != want {
				t.Errorf("records of %d bytes take %d reads, want %d", end, reads, want)
			}
			counts[want]++
		}
	}
	if counts[1] == 0 || counts[2] == 0 || counts[3] == 0 || !exactly {
		t.Errorf("so many messages take so many reads: %v; one is as long as what is read ahead: %v", counts, exactly)
	}
}

// TestReadBesideAMove has a message moved, dropped or settled when the record of its
// delivery is read and that of the message, which stands elsewhere, is not yet.
func TestReadBesideAMove(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for what, c := range map[string]struct {
		do   func(s *Spool, id string) error
		gone bool
	}{
		"moved": {do: func(s *Spool, _ string) error { return s.compact(ctx, s.segments.byNumber[1]) }},
		"moved, dropped": {do: func(s *Spool, id string) error {
			return errors.Join(s.compact(ctx, s.segments.byNumber[1]), s.Drop(ctx, id))
		}, gone: true},
		"dropped, moved": {do: func(s *Spool, id string) error {
			return errors.Join(s.Drop(ctx, id), s.compact(ctx, s.segments.byNumber[1]))
		}, gone: true},
	} {
		for how, read := range map[string]func(s *Spool, id string) (string, error){
			"Show": func(s *Spool, id string) (string, error) {
				e, err := s.Show(ctx, id)
				return e.Message.From, err
			},
			"Open": func(s *Spool, id string) (string, error) {
				text, err := readContent(s, id)
				return strings.TrimPrefix(text, "text of "), err
			},
			"Survey": func(s *Spool, id string) (string, error) {
				list, err := s.Survey(ctx, "", 0)
				if err == nil && (len(list) == 0 || list[0].Oldest.IsZero()) {
					err = queue.ErrNotFound
				}
				return "a@example.org", err
			},
		} {
			w := &watchedReads{FS: crashfs.New(1)}
			s, err := openByHand(w, small())
			must(t, err)
			m := textMessage("text of a@example.org")
			m.From = "a@example.org"
			id, err := s.Put(ctx, now, m)
			must(t, err)
			s.rollNow = true
			must(t, s.Hold(ctx, id)) // a record in another segment
			second := s.current.file.name
			done := 0
			w.before = func(name string) {
				if name == second && done == 0 {
					done++
					must(t, c.do(s, id))
				}
			}
			from, err := read(s, id)
			if c.gone && !errors.Is(err, queue.ErrNotFound) || !c.gone && (err != nil || from != m.From) || done == 0 {
				t.Errorf("%s of a message that is %s meanwhile: %q, %v", how, what, from, err)
			}
			w.before = nil
			if n := pinned(s); n != 0 {
				t.Errorf("%s of a message that is %s meanwhile: %d are pinned", how, what, n)
			}
		}
	}
}

// TestDamageIsReadOnce shows a message whose record is damaged: it is not looked for again
// and again.
func TestDamageIsReadOnce(t *testing.T) {
	ctx := context.Background()
	w := &watchedReads{FS: crashfs.New(1)}
	s, err := openByHand(w, small())
	must(t, err)
	id := mustPut(t, s)
	number, _ := parseID(id)
	name, at := find(t, w.Copy(), number, record.KindMessage)
	w.Flip(name, at+record.FrameSize+4, 1)
	for how, read := range map[string]func() error{
		"Show": func() error { _, err := s.Show(ctx, id); return err },
		"Open": func() error { _, err := readContent(s, id); return err },
	} {
		reads := 0
		w.before = func(string) { reads++ }
		if err := read(); !errors.Is(err, queue.ErrDamaged) || reads > 4 {
			t.Errorf("%s of a damaged message: %v after %d reads", how, err, reads)
		}
	}
}

// rewrite writes a record of a segment anew, as change says, in the same length.
func rewrite(t *testing.T, file vfs.File, at int64, change func(*record.Frame)) {
	t.Helper()
	header, err := record.ReadHeader(file, record.SegmentFile)
	must(t, err)
	h, head, _, err := record.ReadHead(file, header.Salt, at, 512)
	must(t, err)
	body, err := record.ReadBody(file, at, h, nil)
	must(t, err)
	f := record.Frame{Kind: h.Kind, Flags: h.Flags, Mark: h.Mark, Head: head, Body: body, BodySum: h.BodySum}
	change(&f)
	b := f.Append(nil, header.Salt, at)
	if int64(len(b)) != h.Len() {
		t.Fatalf("it takes %d bytes, want %d", len(b), h.Len())
	}
	_, err = file.WriteAt(b, at)
	must(t, err)
}

// TestRecordOfSomethingElse has the record of something else where the index of a
// checkpoint says that a delivery or a message has its own: it is damage, and nothing of
// it is handed out.
func TestRecordOfSomethingElse(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for what, c := range map[string]struct {
		kind   record.Kind
		change func(f *record.Frame)
	}{
		"another kind in place of a delivery": {record.KindDelivery, func(f *record.Frame) { f.Kind = record.KindRetired }},
		"a delivery of another message": {record.KindDelivery, func(f *record.Frame) {
			d, err := record.ParseDelivery(f.Head)
			must(t, err)
			d.ID++
			f.Head = d.Append(nil)
		}},
		"a delivery to another destination": {record.KindDelivery, func(f *record.Frame) {
			d, err := record.ParseDelivery(f.Head)
			must(t, err)
			d.Destination = "b" + d.Destination[1:]
			f.Head = d.Append(nil)
		}},
		"no delivery":                        {record.KindDelivery, func(f *record.Frame) { f.Head = make([]byte, len(f.Head)) }},
		"another kind in place of a message": {record.KindMessage, func(f *record.Frame) { f.Kind = record.KindRetired }},
		"another message": {record.KindMessage, func(f *record.Frame) {
			m, err := record.ParseMessage(f.Head)
			must(t, err)
			m.ID++
			f.Head = m.Append(nil)
		}},
		"no message": {record.KindMessage, func(f *record.Frame) { f.Head = make([]byte, len(f.Head)) }},
	} {
		for _, apart := range []bool{false, true} {
			fs := crashfs.New(1)
			s, err := openByHand(fs, small())
			must(t, err)
			id, err := s.Put(ctx, now, textMessage("text"))
			must(t, err)
			if apart { // the delivery's record is in another segment than the message's
				s.rollNow = true
				must(t, s.Hold(ctx, id))
				must(t, s.Release(ctx, id))
			}
			must(t, s.takeCheckpoint(ctx))
			number, _ := parseID(id)
			name, at := find(t, fs.Copy(), number, c.kind)
			file, err := fs.Open(name, true)
			must(t, err)
			rewrite(t, file, at, c.change)
			s, err = openByHand(fs.Kill(), small())
			must(t, err)
			if _, err := s.Show(ctx, id); !errors.Is(err, queue.ErrDamaged) {
				t.Errorf("%s, apart %v: Show = %v, want ErrDamaged", what, apart, err)
			}
			if text, err := readContent(s, id); !errors.Is(err, queue.ErrDamaged) {
				t.Errorf("%s, apart %v: the content is %q, %v, want ErrDamaged", what, apart, text, err)
			}
			claimed, err := s.Claim(ctx, now, queue.ClaimOptions{})
			if err != nil || len(claimed.Deliveries) > 0 || len(claimed.Unreadable) != 1 {
				t.Errorf("%s, apart %v: the claim is %+v, %v", what, apart, claimed, err)
			}
			if n := pinned(s); n != 0 {
				t.Errorf("%s, apart %v: %d are pinned", what, apart, n)
			}
		}
	}
}

// TestReadBesideWritingAgain has a settlement read while a sync fails for lack of room, so
// that its record is written again elsewhere, and where it stood there is none or that of
// another delivery: it is read where it stands then.
func TestReadBesideWritingAgain(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, what := range []string{"none", "of another message", "to another destination"} {
		w := &watchedReads{FS: crashfs.New(1)}
		s, err := openByHand(w, Options{})
		must(t, err)
		m := textMessage("text")
		m.Recipients = []queue.Recipient{{Address: "a@1.example"}, {Address: "a@2.example"}}
		id, err := s.Put(ctx, now, m)
		must(t, err)
		m.Recipients = []queue.Recipient{{Address: "a@2.example"}}
		other, err := s.Put(ctx, now, m)
		must(t, err)
		m.Recipients = []queue.Recipient{{Address: "a@hold.x.example"}}
		third, err := s.Put(ctx, now, m)
		must(t, err)
		c, err := s.Claim(ctx, now, queue.ClaimOptions{})
		must(t, err)
		deferred := func(message, to string) func() {
			return func() {
				for _, d := range c.Deliveries {
					if d.Lease.Message == message && d.Lease.Destination == to {
						done, err := s.Settle(ctx, now, []queue.Settlement{{Lease: d.Lease, NotBefore: now.Add(time.Hour),
							Results: []queue.Result{{Recipient: d.States[0].Index, Outcome: queue.Deferred}}}})
						if err != nil || done[0].Err != nil {
							t.Error(err, done)
						}
					}
				}
			}
		}
		calls := []func(){func() { mustPut(t, s) }, deferred(id, "1.example")}
		if what != "none" { // the first is as long as the others, which then stand one place earlier
			calls[0] = func() { must(t, s.Hold(ctx, third)) }
		}
		switch what {
		case "of another message":
			calls = append(calls, deferred(other, "2.example"))
		case "to another destination":
			calls = append(calls, deferred(id, "2.example"))
		}
		number, _ := parseID(id)
		slot := s.slots(number)[0]
		var old index.Place
		var shown record.Delivery
		var showErr error
		var group sync.WaitGroup
		var syncs atomic.Int32
		var shows atomic.Bool
		reading, goOn := make(chan struct{}), make(chan struct{})
		w.sync = func(string) error {
			if syncs.Add(1) != 2 {
				return nil
			}
			s.mu.Lock()
			old = s.index.Get(slot).Record
			s.mu.Unlock()
			shows.Store(true)
			group.Go(func() {
				var h handle
				if shown, h, showErr = s.readDelivery(slot, number); showErr == nil {
					s.unpin(h.segment)
				}
			})
			<-reading
			return syscall.ENOSPC
		}
		w.before = func(string) {
			if shows.CompareAndSwap(true, false) {
				close(reading)
				<-goOn
			}
		}
		behindASync(t, w.FS, s, calls...)
		close(goOn)
		group.Wait()
		w.before, w.sync = nil, nil
		if s.mends == 0 || s.index.Get(slot).Record == old {
			t.Fatal("the settlement was not written again elsewhere")
		}
		_, _, err = s.readEntry(s.current, &index.Entry{Record: old}, 0)
		if alike := strings.Contains(fmt.Sprint(err), "another delivery"); alike != (what != "none") {
			t.Errorf("where it stood is %v, want the record %s", err, what)
		}
		if showErr != nil || shown.Destination != "1.example" || len(shown.Recipients) != 1 || shown.Recipients[0].Attempts != 1 {
			t.Errorf("where it stood is the record %s: the settlement is %+v, %v", what, shown, showErr)
		}
	}
}

// TestMissingSegmentIsNamed reads messages of a segment that is missing: the error tells
// which.
func TestMissingSegmentIsNamed(t *testing.T) {
	ctx := context.Background()
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	id := mustPut(t, s)
	name := s.current.file.name
	s.rollNow = true
	mustPut(t, s)
	must(t, s.takeCheckpoint(ctx))
	fs = fs.Kill()
	must(t, fs.Remove(name))
	s, err = openByHand(fs, small())
	must(t, err)
	if _, err := s.Show(ctx, id); !errors.Is(err, queue.ErrDamaged) || !strings.Contains(err.Error(), "segment 1 is missing") {
		t.Errorf("Show = %v, want that segment 1 is missing", err)
	}
}

// TestDueToTheNanosecond reads when a delivery is due: it is not rounded.
func TestDueToTheNanosecond(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	_, s := openSmall(t)
	m := textMessage("text")
	m.NotBefore = now.Add(time.Hour + 123*time.Nanosecond)
	id, err := s.Put(ctx, now, m)
	must(t, err)
	e, err := s.Show(ctx, id)
	must(t, err)
	if !e.Waiting[0].Next.Equal(m.NotBefore) {
		t.Errorf("it is due at %v, want %v", e.Waiting[0].Next, m.NotBefore)
	}
}

// TestUnsavedIsReadWithoutASync reads what was settled and is not saved yet: it does not
// wait for the device.
func TestUnsavedIsReadWithoutASync(t *testing.T) {
	fs, s := openSmall(t)
	id := mustPut(t, s)
	must(t, settleOne(s, queue.Deferred, nil))
	fs.Inject(func(op crashfs.Op, _ string) error {
		if op == crashfs.OpSync {
			t.Error("it is saved first")
		}
		return nil
	})
	if e, err := s.Show(context.Background(), id); err != nil || e.Waiting[0].Attempts != 1 {
		t.Errorf("what was deferred is %+v, %v", e.Waiting, err)
	}
}
