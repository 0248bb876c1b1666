package disk

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// savedOutcomes has outcomes saved in one file, so many at a time, and returns their messages
// in order. After the last part the file does not say that it is saved.
func savedOutcomes(t *testing.T, parts ...int) (fs *crashfs.FS, ids []string) {
	t.Helper()
	fs = crashfs.New(1)
	s, err := openByHand(fs, keeping())
	must(t, err)
	for _, n := range parts {
		for range n {
			ids = append(ids, mustEnd(t, s))
		}
		must(t, s.saveOutcomes())
	}
	name := fileName(outcomesPrefix, 1)
	size, err := sizeOf(fs, name)
	must(t, err)
	shorten(t, fs, name, size-record.FrameSize)
	return fs.Kill(), ids
}

func shorten(t *testing.T, fs *crashfs.FS, name string, size int64) {
	t.Helper()
	f, err := fs.Open(name, true)
	must(t, err)
	defer f.Close()
	must(t, f.Truncate(size))
}

// TestGapThatAPowerCutLeavesInOutcomes has the first record of the part that may not be saved
// be torn: the log has all of that part, so that nothing is missed, and nothing is named.
func TestGapThatAPowerCutLeavesInOutcomes(t *testing.T) {
	fs, ids := savedOutcomes(t, 3, 3)
	name := fileName(outcomesPrefix, 1)
	fs.Flip(name, outcomeFrames(t, fs, name)[3].at+record.FrameSize+1, 1)
	for round := range 2 {
		s, err := openByHand(fs, keeping())
		must(t, err)
		_, all := messagesOf(t, s, "")
		got, page := messagesOf(t, s, all.Outcomes[0].Position)
		if !slices.Equal(got, ids[1:]) || page.Missed || len(s.problems) > 0 {
			t.Errorf("opening %d: after the first come %v, missed %v, %v, want %v", round, got, page.Missed, s.problems, ids[1:])
		}
		must(t, s.saveOutcomes())
		must(t, s.save())
		fs = fs.Kill()
	}
}

// TestUnreadableOutcomes has a record of outcomes that cannot be read for a while, when the
// log has gone that had them too: the spool opens, more are appended without harm to it, and
// all are known when it can be read.
func TestUnreadableOutcomes(t *testing.T) {
	for at := range 3 {
		for _, marked := range []bool{false, true} {
			fs := crashfs.New(1)
			s, err := openByHand(fs, keeping())
			must(t, err)
			left := map[string]string{}
			for n := range 3 {
				key := fmt.Sprint("key ", n)
				left[key], err = endKeyed(s, key)
				must(t, err)
				must(t, giveUp(s)) // each in a sector of its own
			}
			name := fileName(outcomesPrefix, 1)
			if !marked {
				size, err := sizeOf(fs, name)
				must(t, err)
				shorten(t, fs, name, size-record.FrameSize)
			}
			fs = fs.Kill()
			from := outcomeFrames(t, fs, name)[at].at
			fs.Spoil(name, from, from+512)
			s, err = openByHand(fs, keeping())
			if err != nil {
				t.Errorf("record %d, marked %v: %v", at, marked, err)
				continue
			}
			left["another"], err = endKeyed(s, "another")
			must(t, err)
			must(t, giveUp(s))
			fs = fs.Kill()
			fs.Mend(name)
			s, err = openByHand(fs, keeping())
			must(t, err)
			if err := known(s, left); err != nil && (marked || at < 2) {
				t.Errorf("record %d, marked %v: when all can be read: %v", at, marked, err)
			}
		}
	}
}

// TestOutcomesWithoutSenseAreNamed has an intact record in a file of outcomes that makes no
// sense: Check names the file, and the others are told.
func TestOutcomesWithoutSenseAreNamed(t *testing.T) {
	fs, ids := savedOutcomes(t, 3)
	name := fileName(outcomesPrefix, 1)
	o := outcomeFrames(t, fs, name)[1]
	for i := range o.Head {
		o.Head[i] = 0xff
	}
	o.spoil(t, fs, name)
	problems, err := check(fs)
	must(t, err)
	if len(problems) != 1 || problems[0].File != name {
		t.Errorf("Check says %v, want a problem of %s", problems, name)
	}
	s, err := openByHand(fs, keeping())
	must(t, err)
	if got, _ := messagesOf(t, s, ""); !slices.Equal(got, []string{ids[0], ids[2]}) {
		t.Errorf("the outcomes are those of %v, want the first and the last of %v", got, ids)
	}
}

// TestLookingAtOutcomesChangesNothing checks a spool whose file of outcomes need not be saved,
// and one that was cut off when it was made.
func TestLookingAtOutcomesChangesNothing(t *testing.T) {
	for _, cut := range []bool{false, true} {
		fs, _ := savedOutcomes(t, 3)
		name := fileName(outcomesPrefix, 1)
		if cut {
			shorten(t, fs, name, outcomeFrames(t, fs, name)[0].at)
		}
		before := fs.Writes()
		problems, err := check(fs)
		must(t, err)
		if fs.Writes() != before || len(problems) > 0 {
			t.Errorf("cut off %v: Check made %d changes, and says %v", cut, fs.Writes()-before, problems)
		}
	}
}

// TestOutcomesWhoseSizeIsNotTold has no size of the file of outcomes: Open fails with that.
func TestOutcomesWhoseSizeIsNotTold(t *testing.T) {
	fs, _ := savedOutcomes(t, 3)
	odd := errors.New("odd")
	if _, err := openByHand(withoutSize{fs, fileName(outcomesPrefix, 1), odd}, keeping()); !errors.Is(err, odd) {
		t.Errorf("Open = %v, want %v", err, odd)
	}
}

// TestHalfAHeaderOfOutcomes has a file before the last cut to half of what it begins with:
// Check names it.
func TestHalfAHeaderOfOutcomes(t *testing.T) {
	fs, _, _, _ := lastOutcomeAlone(t, true)
	name := fileName(outcomesPrefix, 1)
	shorten(t, fs, name, record.HeaderSize/2)
	problems, err := check(fs)
	must(t, err)
	if len(problems) != 1 || problems[0].File != name {
		t.Errorf("Check says %v, want a problem of %s", problems, name)
	}
}

// TestFailedSyncOfOutcomesIsNotTriedAgain has the device fail to save outcomes once, while a
// file can be deleted of which everything is forgotten: the failure is told.
func TestFailedSyncOfOutcomesIsNotTriedAgain(t *testing.T) {
	o := keeping()
	o.MaxOutcomes = 1
	fs := crashfs.New(1)
	s, err := openByHand(fs, o)
	must(t, err)
	mustEnd(t, s)
	must(t, s.saveOutcomes())
	mustEnd(t, s) // and the first is forgotten
	failed := 0
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpSync && name == fileName(outcomesPrefix, 2) {
			failed++
			return syscall.EIO
		}
		return nil
	})
	if err := s.saveOutcomes(); !errors.Is(err, ErrFailed) || failed != 1 {
		t.Errorf("saving the outcomes failed %d times, and is answered with %v, want ErrFailed after once", failed, err)
	}
}
