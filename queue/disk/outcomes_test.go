package disk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// keeping is small with outcomes.
func keeping() Options {
	o := small()
	o.KeepOutcomes = time.Hour
	return o
}

// mustEnd puts a message and has it delivered.
func mustEnd(t *testing.T, s *Spool) (id string) {
	t.Helper()
	id = mustPut(t, s)
	deliverAll(t, s)
	return id
}

// messagesOf are the messages of outcomes in their order.
func messagesOf(t *testing.T, s *Spool, after string) (ids []string, page queue.OutcomePage) {
	t.Helper()
	page, err := s.Outcomes(context.Background(), queue.OutcomeOptions{After: after, Max: 1 << 20})
	must(t, err)
	for _, o := range page.Outcomes {
		ids = append(ids, o.Message)
	}
	return ids, page
}

// TestOutcomesOutliveTheLog: outcomes are known when the segments that had them are gone,
// after a power cut, and without a checkpoint.
func TestOutcomesOutliveTheLog(t *testing.T) {
	fs := crashfs.New(1)
	s, err := openByHand(fs, keeping())
	must(t, err)
	var ids []string
	position := ""
	for round := range 4 {
		var since []string
		for range 150 {
			since = append(since, mustEnd(t, s))
		}
		ids = append(ids, since...)
		must(t, s.save())
		before := len(s.segments.byNumber)
		must(t, s.maintain(t.Context()))
		if after := len(s.segments.byNumber); after >= before {
			t.Fatalf("%d segments of %d are left: the test means to have them go", after, before)
		}
		if round%2 == 0 {
			fs = fs.Restart()
			_ = s.Close() // its disk is gone
		} else {
			must(t, s.Close())
			must(t, withoutCheckpoints(fs))
		}
		s, err = openByHand(fs, keeping())
		must(t, err)
		if got, _ := messagesOf(t, s, ""); strings.Join(got, " ") != strings.Join(ids, " ") {
			t.Fatalf("round %d: %d outcomes, want those of %d messages in their order", round, len(got), len(ids))
		}
		got, page := messagesOf(t, s, position)
		if strings.Join(got, " ") != strings.Join(since, " ") || page.Missed {
			t.Fatalf("round %d: %d outcomes since the position, missed %v, want %d", round, len(got), page.Missed, len(since))
		}
		position = page.Next
	}
	must(t, s.Close())
}

// TestOutcomesAfterASyncThatFailed has the file of the outcomes shown by a device that has
// not saved it, and the log go that had them too: they are known after a power cut.
func TestOutcomesAfterASyncThatFailed(t *testing.T) {
	ctx := t.Context()
	for seed := range uint64(60) {
		fs := crashfs.New(seed)
		s, err := openByHand(fs, keeping())
		must(t, err)
		id := mustEnd(t, s)
		fs.Inject(func(op crashfs.Op, name string) error {
			if op == crashfs.OpSync && strings.HasPrefix(name, outcomesPrefix) {
				return syscall.EIO
			}
			return nil
		})
		if err := s.takeCheckpoint(ctx); !errors.Is(err, ErrFailed) {
			t.Fatalf("a checkpoint whose outcomes cannot be saved = %v", err)
		}
		fs = fs.Kill()
		s, err = openByHand(fs, keeping())
		must(t, err)
		mustPut(t, s)
		must(t, s.takeCheckpoint(ctx))
		must(t, s.compact(ctx, s.segments.byNumber[1]))
		s, err = openByHand(fs.Restart(), keeping())
		must(t, err)
		if got, _ := messagesOf(t, s, ""); len(got) != 1 || got[0] != id {
			t.Fatalf("seed %d: the outcomes are those of %v, want %s", seed, got, id)
		}
	}
}

// TestDamageToOutcomes has a sector of their file that cannot be read: the others are
// returned, a reader is told that some are missed, Check and Dump name it, and mail goes on.
func TestDamageToOutcomes(t *testing.T) {
	fs := crashfs.New(1)
	s, err := openByHand(fs, keeping())
	must(t, err)
	var ids []string
	for range 8 {
		ids = append(ids, mustEnd(t, s))
		must(t, s.takeCheckpoint(t.Context())) // each in a sector of its own
	}
	_, all := messagesOf(t, s, "")
	must(t, s.Close())
	name := fileName(outcomesPrefix, 1)
	fs.Spoil(name, 2048, 2560)
	problems, err := check(fs)
	must(t, err)
	if len(problems) != 1 || problems[0].File != name {
		t.Errorf("Check says %v, want a problem of %s", problems, name)
	}
	var out strings.Builder
	if err := dump(fs, &out); err != nil || !strings.Contains(out.String(), "a@example.com") ||
		!strings.Contains(out.String(), name) || !strings.Contains(out.String(), syscall.EIO.Error()) {
		t.Errorf("Dump = %v, and shows neither the outcomes nor the damage, or not both", err)
	}
	s, err = openByHand(fs, keeping())
	must(t, err)
	got, page := messagesOf(t, s, all.Outcomes[0].Position)
	if len(got) < 5 || len(got) > 6 || got[len(got)-1] != ids[7] || !page.Missed {
		t.Errorf("beside a bad sector: %v, missed %v, want all but one or two of the last 7, and that some are missed", got, page.Missed)
	}
	mustEnd(t, s)
	must(t, s.Close())
}

// TestDamageToTheBeginningOfAFile has the beginning of a file of outcomes, and of one of keys,
// unreadable, or damaged, so that nothing in it can be read: Check names it, a reader is told
// that some are missed, and mail goes on.
func TestDamageToTheBeginningOfAFile(t *testing.T) {
	o := keeping()
	o.MaxOutcomes, o.MaxKeys = 64, 64
	fs := crashfs.New(1)
	s, err := openByHand(fs, o)
	must(t, err)
	for i := range 12 { // a file has up to four
		_, err := endKeyed(s, fmt.Sprint("key ", i))
		must(t, err)
		must(t, giveUp(s))
	}
	_, all := messagesOf(t, s, "")
	must(t, s.Close())
	for _, c := range []struct {
		prefix string
		number uint64
		hurt   func(fs *crashfs.FS, name string)
	}{
		{outcomesPrefix, 1, func(fs *crashfs.FS, name string) { fs.Spoil(name, 0, record.HeaderSize) }},
		{outcomesPrefix, 2, func(fs *crashfs.FS, name string) { fs.Spoil(name, 0, record.HeaderSize) }},
		{outcomesPrefix, 3, func(fs *crashfs.FS, name string) { fs.Spoil(name, 0, record.HeaderSize) }},
		{outcomesPrefix, 1, func(fs *crashfs.FS, name string) { fs.Flip(name, 1, 1); fs.Flip(name, 513, 1) }},
		{outcomesPrefix, 2, func(fs *crashfs.FS, name string) { fs.Flip(name, 1, 1); fs.Flip(name, 513, 1) }},
		{keysPrefix, 1, func(fs *crashfs.FS, name string) { fs.Spoil(name, 0, record.HeaderSize) }},
		{keysPrefix, 6, func(fs *crashfs.FS, name string) { fs.Spoil(name, 0, record.HeaderSize) }},
	} {
		hurt, name := fs.Copy(), fileName(c.prefix, c.number)
		c.hurt(hurt, name)
		problems, err := check(hurt)
		must(t, err)
		if len(problems) != 1 || problems[0].File != name {
			t.Errorf("%s: Check says %v, want a problem of it", name, problems)
		}
		s, err := openByHand(hurt, o)
		must(t, err)
		id := mustEnd(t, s)
		for round := range 2 {
			got, page := messagesOf(t, s, all.Outcomes[0].Position)
			want := 12 // with the one that came since
			switch name {
			case fileName(outcomesPrefix, 1):
				want -= 3 // and the first, after which is asked
			case fileName(outcomesPrefix, 2), fileName(outcomesPrefix, 3):
				want -= 4
			}
			if len(got) != want || got[len(got)-1] != id || page.Missed != (c.prefix == outcomesPrefix) {
				t.Errorf("%s, opening %d: %d outcomes after the first, missed %v, want %d", name, round, len(got), page.Missed, want)
			}
			must(t, s.takeCheckpoint(t.Context()))
			s, err = openByHand(hurt.Kill(), o)
			must(t, err)
		}
	}
}

// TestMissedOutcomesAreKnownAfterARestart has more outcomes than are kept, and restarts.
func TestMissedOutcomesAreKnownAfterARestart(t *testing.T) {
	o := keeping()
	o.MaxOutcomes = 32
	fs := crashfs.New(1)
	s, err := openByHand(fs, o)
	must(t, err)
	first := mustEnd(t, s)
	_, page := messagesOf(t, s, "")
	start := page.Next
	files := 0
	for range 6 {
		for range 25 {
			mustEnd(t, s)
		}
		must(t, s.takeCheckpoint(t.Context()))
		must(t, s.Close())
		s, err = openByHand(fs, o)
		must(t, err)
		got, page := messagesOf(t, s, "")
		if len(got) > 32 || len(got) < 25 || page.Missed {
			t.Errorf("%d outcomes are kept, missed %v, want up to 32, and nothing missed that was not asked for", len(got), page.Missed)
		}
		got, page = messagesOf(t, s, start)
		if len(got) == 0 || got[0] == first {
			t.Errorf("after the first outcome: %v", got)
		}
		files = 0
		list, err := fs.List()
		must(t, err)
		for _, f := range list {
			if strings.HasPrefix(f.Name, outcomesPrefix) {
				files++
			}
		}
		if _, last := messagesOf(t, s, page.Next); last.Missed {
			t.Errorf("outcomes are missed after the last")
		}
	}
	if _, page := messagesOf(t, s, start); !page.Missed {
		t.Errorf("most were forgotten, and a reader is not told")
	}
	if files > 24 {
		t.Errorf("%d files are left", files)
	}
	must(t, s.Close())
}

// TestOutcomesWithoutTheOption has a program open the spool that knows nothing of
// outcomes: they stay, and others are not added.
func TestOutcomesWithoutTheOption(t *testing.T) {
	for _, saved := range []bool{false, true} {
		fs := crashfs.New(1)
		s, err := openByHand(fs, keeping())
		must(t, err)
		id := mustEnd(t, s)
		if saved {
			must(t, s.takeCheckpoint(t.Context()))
		}
		must(t, s.Close())
		s, err = openByHand(fs, small())
		must(t, err)
		mustEnd(t, s)
		must(t, s.takeCheckpoint(t.Context()))
		if _, err := s.Outcomes(t.Context(), queue.OutcomeOptions{}); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Outcomes without the option = %v, want errors.ErrUnsupported", err)
		}
		must(t, s.Close())
		s, err = openByHand(fs, keeping())
		must(t, err)
		if got, _ := messagesOf(t, s, ""); len(got) != 1 || got[0] != id {
			t.Errorf("the outcomes are those of %v, want %s", got, id)
		}
		must(t, s.Close())
	}
}

// TestOutcomesOfManyRecipients settles more recipients at once than one record has, and
// reads them in pages, from the log and from a file.
func TestOutcomesOfManyRecipients(t *testing.T) {
	const many = 3*outcomesPiece + 5
	fs := crashfs.New(1)
	s, err := openByHand(fs, keeping())
	must(t, err)
	m := textMessage("text")
	m.Recipients = nil
	for i := range many {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("a%d@example.com", i)})
	}
	now := time.Unix(1e9, 0)
	_, err = s.Put(t.Context(), now, m)
	must(t, err)
	c, err := s.Claim(t.Context(), now, queue.ClaimOptions{})
	must(t, err)
	b := queue.Settlement{Lease: c.Deliveries[0].Lease}
	for i := range many {
		b.Results = append(b.Results, queue.Result{Recipient: i, Outcome: queue.Failed, Reply: queue.Reply{Text: strings.Repeat("x", 3000)}})
	}
	_, err = s.Settle(t.Context(), now, []queue.Settlement{b})
	must(t, err)
	for _, from := range []string{"the log", "a file"} {
		next := 0
		for after := ""; ; {
			page, err := s.Outcomes(t.Context(), queue.OutcomeOptions{After: after, Max: 10})
			must(t, err)
			for _, o := range page.Outcomes {
				if o.Recipient != next || o.Address != m.Recipients[next].Address || len(o.Reply.Text) != queue.MaxReplyText {
					t.Fatalf("from %s: outcome %d is that of %d, %s, with a reply of %d bytes", from, next, o.Recipient, o.Address, len(o.Reply.Text))
				}
				next++
			}
			if after = page.Next; !page.More {
				break
			}
		}
		if next != many {
			t.Errorf("from %s: %d outcomes of %d", from, next, many)
		}
		must(t, s.takeCheckpoint(t.Context()))
	}
	must(t, s.Close())
}

// TestOutcomesAreWrittenBeforeTheyTakeMemory: a spool that takes no checkpoint writes
// outcomes to files when there are many.
func TestOutcomesAreWrittenBeforeTheyTakeMemory(t *testing.T) {
	s, err := openByHand(crashfs.New(1), keeping())
	must(t, err)
	for range 200 {
		mustEnd(t, s)
		s.mu.Lock()
		due := s.maintenanceDue()
		s.sinceCheckpoint = 0
		s.mu.Unlock()
		if due {
			must(t, s.maintain(t.Context()))
		}
	}
	if n := s.outcomes.Waiting(); n > 6<<10 {
		t.Errorf("%d bytes of outcomes wait", n)
	}
	if got, _ := messagesOf(t, s, ""); len(got) != 200 {
		t.Errorf("%d outcomes, want 200", len(got))
	}
	must(t, s.Close())
}
