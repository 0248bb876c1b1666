package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// varied is a spool of three segments, of which the second says of mail in the first
// what has become of it: delivered to some, deferred, marked, on hold, due at once.
// A checkpoint is taken in one of them, or none.
func varied(t *testing.T, fs *crashfs.FS, checkpoint int) *Spool {
	t.Helper()
	ctx, now := context.Background(), time.Unix(1e9, 0)
	s, err := openByHand(fs, small())
	must(t, err)
	put := func(m queue.Message, to ...string) string {
		t.Helper()
		for _, d := range to {
			m.Recipients = append(m.Recipients, queue.Recipient{Address: "a@" + d})
		}
		if m.Content == nil {
			m.Content = queue.String("text to " + fmt.Sprint(to))
		}
		id, err := s.Put(ctx, now, &m)
		must(t, err)
		return id
	}
	claim := func(to string) queue.Delivery {
		t.Helper()
		c, err := s.Claim(ctx, now, queue.ClaimOptions{Destinations: []string{to}})
		must(t, err)
		if len(c.Deliveries) != 1 {
			t.Fatalf("%d deliveries to %s", len(c.Deliveries), to)
		}
		return c.Deliveries[0]
	}
	settle := func(to string, o queue.Outcome) {
		t.Helper()
		d := claim(to)
		done, err := s.Settle(ctx, now, []queue.Settlement{{Lease: d.Lease, NotBefore: now.Add(time.Hour), Warned: o == queue.Deferred,
			Results: []queue.Result{{Recipient: d.States[0].Index, Outcome: o, Reply: queue.Reply{Code: 450, Text: "later"}}}}})
		must(t, err)
		must(t, done[0].Err)
	}
	postpone := func(name string, until time.Time) {
		t.Helper()
		must(t, s.Postpone(ctx, now, queue.Postponement{Destination: name, Until: until, Reason: "slow"}))
	}

	put(queue.Message{Tenant: "t", Metadata: map[string]string{"k": "v"}}, "wide1.example", "wide2.example", "wide3.example")
	later := put(queue.Message{NotBefore: now.Add(time.Hour)}, "later.example")
	put(queue.Message{Key: "stays"}, "keyed.example")
	put(queue.Message{Key: "leaves", Tenant: "t"}, "leaves.example")
	put(queue.Message{Content: queue.String(strings.Repeat("large ", 2000)), Priority: 3}, "large.example")
	put(queue.Message{Guarantee: queue.AtMostOnce}, "once.example")
	held := put(queue.Message{}, "held.example")
	put(queue.Message{}, "slow.example")
	postpone("slow.example", now.Add(time.Hour))
	postpone("lifted.example", now.Add(time.Hour))
	if checkpoint == 1 {
		must(t, s.takeCheckpoint(ctx))
	}
	s.rollNow = true
	put(queue.Message{}, "second.example")
	settle("wide1.example", queue.Delivered)
	settle("wide2.example", queue.Deferred)
	settle("leaves.example", queue.Delivered)
	must(t, s.Mark(ctx, []queue.Lease{claim("once.example").Lease}))
	must(t, s.HoldUntil(ctx, now, held, queue.Terms{Until: now.Add(time.Hour), Reason: "why"}))
	postpone("lifted.example", time.Time{})
	_, err = s.Flush(ctx, now, queue.Selection{Message: later})
	must(t, err)
	if checkpoint == 2 {
		must(t, s.takeCheckpoint(ctx))
	}
	s.rollNow = true
	put(queue.Message{}, "third.example")
	if checkpoint == 3 {
		must(t, s.takeCheckpoint(ctx))
	}
	return s
}

// all is what a spool holds, in words.
func all(t *testing.T, s *Spool) string {
	t.Helper()
	ctx, now := context.Background(), time.Unix(1e9, 0)
	var lines []string
	numbers, err := s.listed(ctx, 0, s.index.Messages(), "")
	must(t, err)
	for _, number := range numbers {
		text, err := readContent(s, formatID(number))
		must(t, err)
		e, err := s.Show(ctx, formatID(number))
		must(t, err)
		lines = append(lines, fmt.Sprintf("%d %.20q %d %q %v", number, text, len(text), e.Message.Key, e.Message.Metadata))
		for _, slot := range s.slots(number) {
			v, err := describe(s, slot, number)
			must(t, err)
			lines = append(lines, v)
		}
	}
	for _, name := range []string{"slow.example", "lifted.example"} {
		if until, why := s.index.Postponed(name); !until.IsZero() {
			lines = append(lines, fmt.Sprint(name, until.Unix(), why))
		}
	}
	for tenant, key := range map[string]string{"": "stays", "t": "leaves"} {
		h := hashKey(tenant, key)
		s.mu.Lock()
		number, known := s.keys.known[h]
		s.mu.Unlock()
		n, left, err := s.leftWith(h, now)
		must(t, err)
		lines = append(lines, fmt.Sprint(key, number, known, n, left))
	}
	for number, until := range s.holdEnds.All() {
		for _, slot := range s.slots(number) {
			if s.index.Get(slot).Flags&index.Held != 0 { // else its end means nothing
				lines = append(lines, fmt.Sprint("hold ", number, until))
			}
		}
	}
	halted, err := s.Suspensions(ctx, now)
	must(t, err)
	lines = append(lines, fmt.Sprint("suspended ", halted))
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// compactAll gives up every segment but the one that is written to, the newest first or
// the oldest.
func compactAll(s *Spool, newestFirst bool) error {
	if s.current == nil { // it was just opened
		id, err := s.Put(context.Background(), time.Unix(1e9, 0), textMessage("text"))
		if err == nil {
			err = s.Drop(context.Background(), id)
		}
		if err != nil {
			return err
		}
	}
	last := s.current.number
	list := slices.DeleteFunc(slices.Clone(s.segments.list), func(g *segment) bool { return g == nil || g.number >= last })
	slices.SortFunc(list, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	if newestFirst {
		slices.Reverse(list)
	}
	for _, g := range list {
		if err := s.compact(context.Background(), g); err != nil {
			return err
		}
	}
	return nil
}

// same opens a spool and compares what it holds.
func same(t *testing.T, what string, fs *crashfs.FS, want string) *Spool {
	t.Helper()
	s, err := openByHand(fs, small())
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if len(s.problems) > 0 {
		t.Fatalf("%s: %v", what, s.problems)
	}
	if got := all(t, s); got != want {
		t.Fatalf("%s: the spool has\n%s\nwant\n%s", what, got, want)
	}
	return s
}

// TestWhatIsMovedIsTheSame has segments given up, again and again: what is needed of
// them is where it was moved, and the files are gone.
func TestWhatIsMovedIsTheSame(t *testing.T) {
	for checkpoint := range 4 {
		movedIsTheSame(t, checkpoint, false)
		movedIsTheSame(t, checkpoint, true)
	}
}

func movedIsTheSame(t *testing.T, checkpoint int, newestFirst bool) {
	fs := crashfs.New(1)
	s := varied(t, fs, checkpoint)
	want := all(t, s)
	same(t, "opened once more", fs.Copy(), want)
	for round := range 4 {
		oldest := s.current.number
		must(t, compactAll(s, newestFirst))
		if got := all(t, s); got != want {
			t.Fatalf("round %d: the spool has\n%s\nwant\n%s", round, got, want)
		}
		for number := range s.segments.byNumber {
			if number < oldest {
				t.Errorf("round %d: segment %d is in use", round, number)
			}
		}
		for number := uint64(1); number < oldest; number++ {
			if _, err := sizeOf(fs, fileName(segmentPrefix, number)); err == nil {
				t.Errorf("round %d: the file of segment %d is there", round, number)
			}
		}
		sum := int64(0)
		for _, g := range s.segments.byNumber {
			sum += g.size
		}
		if s.logBytes != sum {
			t.Errorf("round %d: the log is said to have %d bytes and has %d", round, s.logBytes, sum)
		}
		fs = fs.Restart()
		s = same(t, fmt.Sprint("after a power cut in round ", round), fs, want)
		s.rollNow = true
		must(t, s.Drop(context.Background(), mustPut(t, s)))
		must(t, s.save())
	}
}

// TestCompactionCutAnywhere has the power cut at each change of a compaction.
func TestCompactionCutAnywhere(t *testing.T) {
	for checkpoint := range 4 {
		compactionCutAnywhere(t, checkpoint, checkpoint%2 == 0)
	}
}

func compactionCutAnywhere(t *testing.T, checkpoint int, newestFirst bool) {
	for cut := 1; ; cut++ {
		fs := crashfs.New(uint64(cut))
		s := varied(t, fs, checkpoint)
		want := all(t, s)
		at := fs.Writes() + cut
		fs.CutAt(at)
		if err := compactAll(s, newestFirst); err != nil && !errors.Is(err, crashfs.ErrPowerCut) {
			t.Fatal(err)
		}
		if fs.Writes() < at {
			if cut < 8 {
				t.Errorf("only %d changes were made", cut)
			}
			break
		}
		fs = fs.Restart()
		s = same(t, fmt.Sprintf("cut at change %d", cut), fs, want)
		must(t, compactAll(s, newestFirst))
		same(t, fmt.Sprintf("cut at change %d, and then no more", cut), fs.Restart(), want)
	}
}

// TestCompactionThatFails has one call of the system fail, each in its turn: nothing is
// given up for it that is needed.
func TestCompactionThatFails(t *testing.T) {
	odd := errors.New("odd")
	for _, c := range []struct {
		op    crashfs.Op
		cause error
	}{
		{crashfs.OpRead, odd}, {crashfs.OpOpen, syscall.EMFILE}, {crashfs.OpCreate, odd}, {crashfs.OpWrite, syscall.ENOSPC},
		{crashfs.OpSync, syscall.ENOSPC}, {crashfs.OpWrite, syscall.EIO}, {crashfs.OpSync, syscall.EIO}, {crashfs.OpSyncDir, syscall.EIO},
	} {
		for checkpoint := range 2 {
			compactionThatFails(t, c.op, c.cause, checkpoint, checkpoint == 0)
		}
	}
}

func compactionThatFails(t *testing.T, op crashfs.Op, cause error, checkpoint int, newestFirst bool) {
	for n := 1; ; n++ {
		fs := crashfs.New(uint64(n))
		s := varied(t, fs, checkpoint)
		want := all(t, s)
		what := fmt.Sprintf("%v number %d fails with %v", op, n, cause)
		hit := false
		nth := crashfs.FailNth(op, n, false, cause)
		fs.Inject(func(o crashfs.Op, name string) error {
			err := nth(o, name)
			hit = hit || err != nil
			return err
		})
		err := compactAll(s, newestFirst)
		fs.Inject(nil)
		if !hit {
			must(t, err)
			break
		}
		if s.failed() == nil {
			if got := all(t, s); got != want {
				t.Fatalf("%s: the spool has\n%s\nwant\n%s", what, got, want)
			}
			must(t, compactAll(s, newestFirst))
		}
		same(t, what+", and the process dies", fs.Copy(), want)
		same(t, what+", and then the power", fs.Restart(), want)
	}
}

// TestEndsThatCouldNotBeMoved has a segment in which there is nothing but that mail has
// been delivered, while the segment with that mail is in use. It stays if its ends cannot
// be read, or cannot be written: without them the mail would be delivered again.
func TestEndsThatCouldNotBeMoved(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, op := range []crashfs.Op{crashfs.OpRead, crashfs.OpWrite, crashfs.OpSync} {
		cause := errors.New("odd")
		if op == crashfs.OpSync {
			cause = syscall.EIO
		}
		fs := crashfs.New(1)
		s, err := openByHand(fs, small())
		must(t, err)
		var ids []string
		for range 3 {
			ids = append(ids, mustPut(t, s))
		}
		m := textMessage("text")
		m.Recipients[0].Address = "a@stays.example"
		stays, err := s.Put(ctx, now, m)
		must(t, err)
		must(t, s.Hold(ctx, stays))
		s.rollNow = true
		deliverAll(t, s)
		must(t, s.save())
		g := s.current
		s.rollNow = true
		must(t, s.Hold(ctx, mustPut(t, s)))
		if g.number != 2 || s.current == g || len(g.gone) == 0 || !s.segments.byNumber[1].inUse(s) {
			t.Fatalf("the ends are in segment %d, %v", g.number, g.gone)
		}
		fs.Inject(crashfs.FailNth(op, 1, false, cause))
		if err := s.compact(ctx, g); err == nil {
			t.Errorf("%v fails, and nobody learns of it", op)
		}
		fs.Inject(nil)
		if s.segments.byNumber[2] == nil {
			t.Errorf("%v fails, and the segment is given up", op)
		}
		if s.failed() == nil {
			must(t, s.save())
		}
		for _, left := range []*crashfs.FS{fs.Copy(), fs.Restart()} {
			must(t, withoutCheckpoints(left))
			again, err := openByHand(left, small())
			must(t, err)
			for _, id := range ids {
				if _, err := again.Show(ctx, id); !errors.Is(err, queue.ErrNotFound) {
					t.Errorf("%v fails, and after a restart a message that was delivered is %v", op, err)
				}
			}
		}
	}
}

// inUse reports whether something in a segment is needed.
func (g *segment) inUse(s *Spool) bool { return s.index.Refs(g.slot).Homes > 0 }
