package disk

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// waiting is how many bytes of outcomes wait, and whether they are due to be written.
func waiting(s *Spool) (bytes int64, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outcomes.Waiting(), s.outcomesDue()
}

// TestOutcomesAreDue has outcomes wait: they are to be written when there are many, not soon
// again while there is no room for them, and as soon as ever once there was.
func TestOutcomesAreDue(t *testing.T) {
	fs := crashfs.New(1)
	s, err := openByHand(fs, keeping())
	must(t, err)
	const enough = 4 << 10
	until := func() {
		t.Helper()
		for bytes, due := waiting(s); ; bytes, due = waiting(s) {
			if due != (bytes > enough) {
				t.Errorf("%d bytes of outcomes wait, and are due: %v", bytes, due)
			}
			if due {
				break
			}
			mustEnd(t, s)
		}
	}
	until()
	s.mu.Lock()
	s.outcomesFrom = s.outcomes.Waiting()
	s.mu.Unlock()
	if _, due := waiting(s); due {
		t.Error("as many as there is no room for are due")
	}
	s.outcomesFrom = 0
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpWrite && strings.HasPrefix(name, outcomesPrefix) {
			return syscall.ENOSPC
		}
		return nil
	})
	must(t, s.saveOutcomes())
	if bytes, due := waiting(s); bytes <= enough || due {
		t.Errorf("%d bytes wait for room, and are due: %v", bytes, due)
	}
	fs.Inject(nil)
	must(t, s.saveOutcomes())
	if bytes, _ := waiting(s); bytes > 0 {
		t.Errorf("%d bytes wait, and there is room", bytes)
	}
	until()
}

// TestOutcomesOfNothingNew: where no outcomes wait, to save them or to ask for them writes
// nothing, whatever else is unsaved.
func TestOutcomesOfNothingNew(t *testing.T) {
	fs := crashfs.New(1)
	s, err := openByHand(fs, keeping())
	must(t, err)
	mustEnd(t, s)
	must(t, s.saveOutcomes())
	must(t, s.Postpone(t.Context(), time.Unix(1e9, 0), queue.Postponement{Destination: "a.example", Until: time.Unix(2e9, 0)}))
	before := fs.Writes()
	must(t, s.saveOutcomes())
	if got, _ := messagesOf(t, s, ""); len(got) != 1 {
		t.Errorf("%d outcomes, want 1", len(got))
	}
	if n := fs.Writes() - before; n > 0 {
		t.Errorf("%d operations change something", n)
	}
	id := mustEnd(t, s)
	must(t, s.save())
	fs = fs.Kill()
	s, err = openByHand(fs, keeping())
	must(t, err)
	before = fs.Writes()
	if got, _ := messagesOf(t, s, ""); len(got) != 2 || got[1] != id {
		t.Errorf("when it is opened again, the outcomes are those of %v, want two, the last of %s", got, id)
	}
	if n := fs.Writes() - before; n > 0 {
		t.Errorf("%d operations change something to read what the log has", n)
	}
}

// TestOutcomesOfALogThatFails: outcomes that cannot be saved are not told, and not written to
// a file.
func TestOutcomesOfALogThatFails(t *testing.T) {
	for name, call := range map[string]func(s *Spool) error{
		"saving them": func(s *Spool) error { return s.saveOutcomes() },
		"Outcomes": func(s *Spool) error {
			_, err := s.Outcomes(t.Context(), queue.OutcomeOptions{})
			return err
		},
	} {
		fs := crashfs.New(1)
		s, err := openByHand(fs, keeping())
		must(t, err)
		mustEnd(t, s)
		fs.Inject(func(op crashfs.Op, name string) error {
			if op == crashfs.OpSync && strings.HasPrefix(name, segmentPrefix) {
				return syscall.EIO
			}
			return nil
		})
		s.mu.Lock()
		unsaved := s.unsaved
		if f, list := s.outcomes.Next(s.settledBefore()); unsaved && f != nil {
			t.Errorf("%d outcomes that are not saved may be written to a file", len(list))
		}
		s.mu.Unlock()
		if !unsaved {
			t.Fatal("the test means to have an outcome that is not saved")
		}
		if err := call(s); !errors.Is(err, ErrFailed) {
			t.Errorf("%s = %v, want ErrFailed", name, err)
		}
	}
}

// TestSettledBefore: what is saved and not in the index yet does not count as settled.
func TestSettledBefore(t *testing.T) {
	s, err := openByHand(crashfs.New(1), keeping())
	must(t, err)
	mustEnd(t, s)
	must(t, s.save())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied = record.Place{Segment: s.current.number, Offset: s.current.saved - 8}
	if got := s.settledBefore(); got != s.applied {
		t.Errorf("settled before %v, want %v, as far as the index has it", got, s.applied)
	}
}

// TestOutcomesOfAnUnsavedTail has a process be killed before it has saved an outcome, and the
// next one tell it: it is known after a power cut.
func TestOutcomesOfAnUnsavedTail(t *testing.T) {
	for seed := range uint64(20) {
		fs := crashfs.New(seed)
		s, err := openByHand(fs, keeping())
		must(t, err)
		id := mustEnd(t, s)
		fs = fs.Kill()
		s, err = openByHand(fs, keeping())
		must(t, err)
		got, _ := messagesOf(t, s, "")
		if len(got) != 1 || got[0] != id {
			t.Fatalf("after a kill: %v, want %s", got, id)
		}
		s, err = openByHand(fs.Restart(), keeping())
		must(t, err)
		if got, _ := messagesOf(t, s, ""); len(got) != 1 || got[0] != id {
			t.Errorf("seed %d: after a power cut: %v, want %s", seed, got, id)
		}
	}
}

// TestDeletedOutcomesGiveRoom: files of forgotten outcomes that are deleted count as room, so
// that a checkpoint that did not fit is tried again.
func TestDeletedOutcomesGiveRoom(t *testing.T) {
	o := keeping()
	o.MaxOutcomes = 1
	s, err := openByHand(crashfs.New(1), o)
	must(t, err)
	for range 3 {
		mustEnd(t, s)
		must(t, s.saveOutcomes())
	}
	mustEnd(t, s)
	before := s.given.Load()
	must(t, s.saveOutcomes())
	if s.given.Load() == before {
		t.Error("a file was deleted, and no room is given")
	}
}

// TestAppendToAnEndThatIsNotFilled has no room for a copy of keys, or of outcomes, that end in
// the middle of a sector, and more be appended: those begin another sector.
func TestAppendToAnEndThatIsNotFilled(t *testing.T) {
	fs := crashfs.New(1)
	s, err := openByHand(fs, keeping())
	must(t, err)
	left := map[string]string{}
	left["key"], err = endKeyed(s, "key")
	must(t, err)
	must(t, giveUp(s))
	fs = fs.Kill()
	files := map[string]record.FileKind{fileName(keysPrefix, 1): record.KeysFile, fileName(outcomesPrefix, 1): record.OutcomesFile}
	for name := range files {
		size, err := sizeOf(fs, name)
		must(t, err)
		f, err := fs.Open(name, true)
		must(t, err)
		must(t, f.Truncate(size-record.FrameSize-40))
		must(t, f.Close())
	}
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpCreate && strings.HasSuffix(name, newSuffix) {
			return syscall.ENOSPC
		}
		return nil
	})
	s, err = openByHand(fs, keeping())
	must(t, err)
	fs.Inject(nil)
	left["other"], err = endKeyed(s, "other")
	must(t, err)
	must(t, giveUp(s))
	for name, kind := range files {
		f, err := fs.Open(name, false)
		must(t, err)
		size, err := f.Size()
		must(t, err)
		h, err := record.ReadHeader(f, kind)
		must(t, err)
		n, last := 0, int64(0)
		for scan := record.NewScanner(f, size, h.Salt, record.HeaderSize); scan.Next(); {
			if k := scan.Frame().Kind; k == record.KindKeys || k == record.KindOutcomes {
				n, last = n+1, scan.Offset()
			}
		}
		if n != 2 || last%512 != 0 {
			t.Errorf("%s has %d records, the last at %d, want 2, and that it begins a sector", name, n, last)
		}
	}
	s, err = openByHand(fs.Restart(), keeping())
	must(t, err)
	if err := known(s, left); err != nil || len(s.problems) > 0 {
		t.Errorf("after a restart: %v, %v", err, s.problems)
	}
}

// TestOutcomesOfATailWithoutRoom has a process be killed before it has saved an outcome, and
// no room to save it for the next one: the outcome is not told before it is saved.
func TestOutcomesOfATailWithoutRoom(t *testing.T) {
	for seed := range uint64(20) {
		fs := crashfs.New(seed)
		s, err := openByHand(fs, keeping())
		must(t, err)
		id := mustEnd(t, s)
		fs = fs.Kill()
		fs.Inject(func(op crashfs.Op, name string) error {
			if strings.HasPrefix(name, segmentPrefix) && (op == crashfs.OpWrite || op == crashfs.OpCreate) {
				return syscall.ENOSPC
			}
			return nil
		})
		s, err = openByHand(fs, keeping())
		must(t, err)
		if page, err := s.Outcomes(t.Context(), queue.OutcomeOptions{}); err == nil || !errors.Is(err, queue.ErrFull) {
			t.Errorf("seed %d: Outcomes without room to save them = %v, %v, want ErrFull", seed, page.Outcomes, err)
		}
		fs.Inject(nil)
		for range 2 {
			if got, _ := messagesOf(t, s, ""); len(got) != 1 || got[0] != id {
				t.Errorf("seed %d: when there is room: %v, want %s", seed, got, id)
			}
			s, err = openByHand(fs.Restart(), keeping())
			must(t, err)
		}
	}
}
