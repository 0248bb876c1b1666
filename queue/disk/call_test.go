package disk

import (
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
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// calls are calls of a varied spool, by name. Each is prepared before anything fails.
func calls(t *testing.T) map[string]func(s *Spool) func() error {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	put := func(m *queue.Message) func(*Spool) func() error {
		return func(s *Spool) func() error {
			return func() error { _, err := s.Put(ctx, now, m); return err }
		}
	}
	settle := func(o queue.Outcome, create ...*queue.Message) func(*Spool) func() error {
		return func(s *Spool) func() error {
			c, err := s.Claim(ctx, now, queue.ClaimOptions{Destinations: []string{"third.example"}})
			must(t, err)
			return func() error {
				done, err := s.Settle(ctx, now, []queue.Settlement{{Lease: c.Deliveries[0].Lease, NotBefore: now.Add(time.Minute),
					Results: []queue.Result{{Outcome: o}}, Create: create}})
				if err == nil && done[0].NoRoom {
					return errNoRoom
				}
				if err == nil {
					err = done[0].Err
				}
				return err
			}
		}
	}
	simply := func(do func(*Spool) error) func(*Spool) func() error {
		return func(s *Spool) func() error { return func() error { return do(s) } }
	}
	keyed := textMessage("with a key")
	keyed.Key = "key"
	return map[string]func(s *Spool) func() error{
		"Put":                         put(textMessage("text")),
		"Put with a key":              put(keyed),
		"Put of a large message":      put(textMessage(strings.Repeat("large ", 20000))),
		"Settle: delivered":           settle(queue.Delivered),
		"Settle: deferred":            settle(queue.Deferred),
		"Settle: failed":              settle(queue.Failed, textMessage("report")),
		"Settle: with a large report": settle(queue.Failed, textMessage(strings.Repeat("large ", 2000))),
		"Hold":                        simply(func(s *Spool) error { return s.Hold(ctx, formatID(48)) }),
		"Release":                     simply(func(s *Spool) error { return s.Release(ctx, formatID(112)) }),
		"Drop":                        simply(func(s *Spool) error { return s.Drop(ctx, formatID(16)) }),
		"Drop of a large message":     simply(func(s *Spool) error { return s.Drop(ctx, formatID(80)) }),
		"Postpone": simply(func(s *Spool) error {
			return s.Postpone(ctx, now, queue.Postponement{Destination: "slow.example", Until: now.Add(2 * time.Hour)})
		}),
		"Suspend": simply(func(s *Spool) error {
			return s.Suspend(ctx, now, queue.Suspension{Subject: queue.Subject{Kind: queue.OfDestination, Name: "halted.example"}})
		}),
		"Flush": simply(func(s *Spool) error {
			_, err := s.Flush(ctx, now, queue.Selection{Destination: "slow.example"}, queue.Selection{Message: formatID(32)})
			return err
		}),
		"Mark": func(s *Spool) func() error {
			once := textMessage("once")
			once.Guarantee, once.Recipients[0].Address = queue.AtMostOnce, "a@marked.example"
			_, err := s.Put(ctx, now, once)
			must(t, err)
			c, err := s.Claim(ctx, now, queue.ClaimOptions{Destinations: []string{"marked.example"}})
			must(t, err)
			return func() error { return s.Mark(ctx, []queue.Lease{c.Deliveries[0].Lease}) }
		},
		"Resume": func(s *Spool) func() error {
			subject := queue.Subject{Kind: queue.OfTenant, Name: "t"}
			must(t, s.Suspend(ctx, now, queue.Suspension{Subject: subject}))
			return func() error { _, err := s.Resume(ctx, now, subject); return err }
		},
		"a compaction, the newest segment first": simply(func(s *Spool) error { return compactAll(s, true) }),
		"a compaction":                           simply(func(s *Spool) error { return compactAll(s, false) }),
		"a checkpoint":                           simply(func(s *Spool) error { return s.takeCheckpoint(ctx) }),
		"maintenance":                            simply(func(s *Spool) error { return s.maintain(ctx) }),
		"a new segment":                          simply(func(s *Spool) error { s.rollNow = true; return s.Drop(ctx, formatID(128)) }),
		"keys are saved":                         simply(func(s *Spool) error { return s.saveKeys() }),
	}
}

// errNoRoom says that a settlement was recorded in part.
var errNoRoom = errors.New("no room")

// TestCallThatFails has one call of the system fail while the spool does something, each
// in its turn. What is answered is so, and still so when the power has failed; what is
// refused has not happened, and does not turn up later, unless the device itself failed
// and nobody knows.
func TestCallThatFails(t *testing.T) {
	odd := errors.New("odd")
	for name, call := range calls(t) {
		fs := crashfs.New(1)
		s := varied(t, fs, 0)
		do := call(s)
		before := all(t, s)
		must(t, do())
		after := all(t, s)
		must(t, s.save())
		same(t, name, fs.Restart(), after)
		for op := crashfs.OpWrite; op <= crashfs.OpLock; op++ {
			for _, cause := range []error{odd, syscall.ENOSPC, syscall.EMFILE} {
				for n := 1; oneFails(t, name, call, op, n, cause, before, after); n++ {
				}
			}
		}
	}
}

// oneFails reports whether there is such a call of the system.
func oneFails(t *testing.T, name string, call func(*Spool) func() error, op crashfs.Op, n int, cause error, before, after string) (hit bool) {
	fs := crashfs.New(uint64(n))
	s := varied(t, fs, 0)
	defer func() {
		_ = s.Close() // which may say what failed
		if n := fs.Descriptors(); n != 0 {
			t.Errorf("%s, where %v number %d fails with %v: %d files are open when the spool is closed", name, op, n, cause, n)
		}
	}()
	do := call(s)
	files := contents(t, fs)
	nth := crashfs.FailNth(op, n, false, cause)
	fs.Inject(func(o crashfs.Op, name string) error {
		err := nth(o, name)
		hit = hit || err != nil
		return err
	})
	err := do()
	fs.Inject(nil)
	if !hit {
		must(t, err)
		return false
	}
	what := fmt.Sprintf("%s, where %v number %d fails with %v, answers %v", name, op, n, cause, err)
	want := after
	if err != nil {
		want = before
	}
	if errors.Is(err, errNoRoom) { // who failed is pending still
		must(t, s.save())
		again, err := openByHand(fs.Copy().Restart(), small())
		must(t, err)
		if got := all(t, again); got != before || contents(t, fs) != files {
			t.Errorf("%s: the spool has\n%s", what, got)
		}
		return true
	}
	if s.failed() != nil {
		again, openErr := openByHand(fs.Restart(), small())
		must(t, openErr)
		if got := all(t, again); err == nil && got != after && !strings.HasPrefix(name, "Settle: de") || got != after && got != before {
			t.Errorf("%s: the spool has\n%s\nwant\n%s", what, got, want)
		}
		return true
	}
	if got := all(t, s); got != want {
		t.Fatalf("%s: the spool has\n%s\nwant\n%s", what, got, want)
	}
	for _, g := range s.segments.byNumber {
		if g.broken {
			t.Errorf("%s, and segment %d is taken for broken", what, g.number)
		}
	}
	if err != nil && contents(t, fs) != files {
		t.Errorf("%s, and there are %s, want %s", what, contents(t, fs), files)
	}
	must(t, s.save())
	again, openErr := openByHand(fs.Copy().Restart(), small())
	must(t, openErr)
	got := all(t, again)
	if vfs.IsFull(cause) || vfs.IsExhausted(cause) { // keys that do not fit are known for as long as the process lives
		got, want = withoutKey(got), withoutKey(want)
	}
	if got != want {
		t.Fatalf("%s: after a restart the spool has\n%s\nwant\n%s", what, got, want)
	}
	if err != nil {
		must(t, do()) // a moment later it can be done
		if got := all(t, s); withoutNumbers(got) != withoutNumbers(after) {
			t.Fatalf("%s, and a second time nil: the spool has\n%s\nwant\n%s", what, got, after)
		}
	}
	return true
}

// contents are the files of contents there are.
func contents(t *testing.T, fs *crashfs.FS) string {
	t.Helper()
	list, err := fs.List()
	must(t, err)
	var names []string
	for _, f := range list {
		if strings.HasPrefix(f.Name, contentPrefix) {
			names = append(names, f.Name)
		}
	}
	return fmt.Sprint(names)
}

// withoutKey leaves out what is known of the key of a message that has left.
func withoutKey(all string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(all, "\n"), func(line string) bool { return strings.HasPrefix(line, "leaves") }), "\n")
}

// withoutNumbers leaves the numbers of messages out, which a second try gives anew.
func withoutNumbers(all string) string {
	lines := strings.Split(all, "\n")
	for i, line := range lines {
		_, lines[i], _ = strings.Cut(line, " ")
	}
	return strings.Join(lines, "\n")
}
