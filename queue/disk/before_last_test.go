package disk

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/keys"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// unmark has a file lose the record that says that its last part is saved, as a power cut
// may have it: that record is not saved itself.
func unmark(t *testing.T, fs *crashfs.FS, name string) {
	t.Helper()
	size, err := sizeOf(fs, name)
	must(t, err)
	if size%512 != record.FrameSize {
		t.Fatalf("%s has %d bytes, want a record after the end of a sector", name, size)
	}
	shorten(t, fs, name, size-record.FrameSize)
}

// TestDamageToTheLastPartOfAnEarlierFileOfOutcomes has a record damaged in the last part of
// a file of outcomes, which does not say that it is saved, while there is a later file. That
// one was made when all of the former was saved: Check names the damage, the outcomes that
// can be read are told, and who goes over the others is told that some are missed.
func TestDamageToTheLastPartOfAnEarlierFileOfOutcomes(t *testing.T) {
	const n = 4 // in a file
	o := keeping()
	o.MaxOutcomes = 16 * n
	whole := crashfs.New(1)
	s, err := openByHand(whole, o)
	must(t, err)
	var ids []string
	for _, part := range []int{1, n - 1, 1} {
		for range part {
			ids = append(ids, mustEnd(t, s))
		}
		must(t, s.saveOutcomes())
	}
	must(t, giveUp(s))
	_, page := messagesOf(t, s, "")
	whole = whole.Kill()
	name := fileName(outcomesPrefix, 1)
	unmark(t, whole, name)
	frames := outcomeFrames(t, whole, name)
	if len(frames) != n || len(page.Outcomes) != n+1 {
		t.Fatalf("%d records in the first file, and %d outcomes, want %d and one more", len(frames), len(page.Outcomes), n)
	}
	for damage := range n + 2 { // of none, of each, and of the last one with what fills its sector
		lost := min(damage-1, n-1)
		fs, want := whole.Copy(), slices.Clone(ids)
		if damage > n {
			last := frames[n-1]
			fs.Flip(name, last.at+last.Len()+1, 1)
		}
		if lost >= 0 {
			fs.Flip(name, frames[lost].at+record.FrameSize+1, 1)
			want = slices.Delete(want, lost, lost+1)
		}
		for round := range 3 {
			problems, err := check(fs.Copy())
			must(t, err)
			if named := len(problems) == 1 && problems[0].File == name; len(problems) > 1 || named != (lost >= 0) {
				t.Errorf("record %d is damaged, opening %d: Check says %v", lost, round, problems)
			}
			s, err := openByHand(fs, o)
			must(t, err)
			if got, _ := messagesOf(t, s, ""); !slices.Equal(got, want) {
				t.Errorf("record %d is damaged, opening %d: the outcomes are those of %v, want %v", lost, round, got, want)
			}
			for i := range page.Outcomes {
				one, err := s.Outcomes(t.Context(), queue.OutcomeOptions{After: page.Outcomes[i].Position, Max: 1 << 20})
				must(t, err)
				if missed := i < lost; one.Missed != missed && i != lost { // which nobody can read on from
					t.Errorf("record %d is damaged, opening %d: after %d some are missed: %v", lost, round, i, one.Missed)
				}
			}
			fs = fs.Kill()
		}
	}
}

// TestDamageToTheLastPartOfAnEarlierFileOfKeys is the same for keys.
func TestDamageToTheLastPartOfAnEarlierFileOfKeys(t *testing.T) {
	const n = keys.PieceSize
	o := small()
	o.MaxKeys = 32 * 3 * n
	whole := crashfs.New(1)
	s, err := openByHand(whole, o)
	must(t, err)
	end := func(i int) {
		_, err := endKeyed(s, fmt.Sprint("key ", i))
		must(t, err)
	}
	for i := range 3*n + 1 {
		if i == n {
			must(t, s.saveKeys())
		}
		end(i)
	}
	must(t, giveUp(s))
	whole = whole.Kill()
	name := fileName(keysPrefix, 1)
	unmark(t, whole, name)
	at := keyFrames(t, whole, name)
	if len(at) != 3 {
		t.Fatalf("%d records in the first file, want 3", len(at))
	}
	for damage := range 5 {
		lost := min(damage-1, 2)
		fs, want := whole.Copy(), strings.Repeat("x", 3*n+1)
		if damage > 3 {
			fs.Flip(name, at[2]+(&record.Frame{Head: make([]byte, n*keys.EntrySize)}).Len()+1, 1)
		}
		if lost >= 0 {
			fs.Flip(name, at[lost]+record.FrameSize+1, 1)
			want = want[:lost*n] + strings.Repeat("-", n) + want[(lost+1)*n:]
		}
		for round := range 3 {
			problems, err := check(fs.Copy())
			must(t, err)
			if named := len(problems) == 1 && problems[0].File == name; len(problems) > 1 || named != (lost >= 0) {
				t.Errorf("record %d is damaged, opening %d: Check says %v", lost, round, problems)
			}
			s, err := openByHand(fs, o)
			must(t, err)
			if got := knownKeys(t, s, len(want)); got != want {
				t.Errorf("record %d is damaged, opening %d: known are %s, want %s", lost, round, got, want)
			}
			fs = fs.Kill()
		}
	}
}

// TestTornEndIsNoDamageLater has the end of the last files of keys and of outcomes torn by
// a power cut, and then others be made, since a file takes less from now on: nothing is named
// later, and all are known once. So it is where there is no room for copies of the files, or to save their ends.
func TestTornEndIsNoDamageLater(t *testing.T) {
	tornEndIsNoDamage(t, true, 0, false)
	tornEndIsNoDamage(t, false, 0, false)
	tornEndIsNoDamage(t, false, 1, false)
	tornEndIsNoDamage(t, false, 0, true)
}

// tornEndIsNoDamage has one record of the last part torn.
func tornEndIsNoDamage(t *testing.T, room bool, torn int, full bool) {
	t.Helper()
	const n = keys.PieceSize
	o := keeping()
	fs := crashfs.New(1)
	s, err := openByHand(fs, o)
	must(t, err)
	left := map[string]string{}
	for i := range 3 * n {
		key := fmt.Sprint("key ", i)
		left[key], err = endKeyed(s, key)
		must(t, err)
		if i == n-1 {
			must(t, errors.Join(s.saveKeys(), s.saveOutcomes()))
		}
	}
	must(t, errors.Join(s.saveKeys(), s.saveOutcomes()))
	fs = fs.Kill()
	names := []string{fileName(keysPrefix, 1), fileName(outcomesPrefix, 1)}
	unmark(t, fs, names[0])
	unmark(t, fs, names[1])
	fs.Flip(names[0], keyFrames(t, fs, names[0])[1+torn]+record.FrameSize+1, 1)
	fs.Flip(names[1], outcomeFrames(t, fs, names[1])[n+torn].at+record.FrameSize+1, 1)
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpCreate && strings.HasSuffix(name, newSuffix) && !room {
			return syscall.ENOSPC
		}
		if op == crashfs.OpSync && slices.Contains(names, name) && full {
			return syscall.ENOSPC
		}
		return nil
	})
	o.MaxKeys, o.MaxOutcomes = 32*n, 16*n
	s, err = openByHand(fs, o)
	must(t, err)
	fs.Inject(nil)
	for name, kind := range map[string]record.FileKind{names[0]: record.KeysFile, names[1]: record.OutcomesFile} {
		if marked := endsMarked(t, fs, name, kind); marked != (torn == 0 && !full) && !room {
			t.Errorf("room %v, full when it is saved %v, record %d is torn: %s says at its end that it is saved: %v", room, full, torn, name, marked)
		}
	}
	left["later"], err = endKeyed(s, "later")
	must(t, err)
	must(t, giveUp(s))
	fs = fs.Kill()
	for _, name := range []string{fileName(keysPrefix, 2), fileName(outcomesPrefix, 2)} {
		if _, err := sizeOf(fs, name); err != nil {
			t.Fatalf("there is no second file: %v", err)
		}
	}
	s, err = openByHand(fs, o)
	must(t, err)
	if err := known(s, left); err != nil || len(s.problems) > 0 {
		t.Errorf("room %v, record %d is torn: %v, %v", room, torn, err, s.problems)
	}
}

// endsMarked reports whether a file ends with a record that says that it is saved.
func endsMarked(t *testing.T, fs *crashfs.FS, name string, kind record.FileKind) (marked bool) {
	t.Helper()
	f, err := fs.Open(name, false)
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	h, err := record.ReadHeader(f, kind)
	must(t, err)
	for scan := record.NewScanner(f, size, h.Salt, record.HeaderSize); scan.Next(); {
		marked = scan.Frame().Kind == record.KindSaved && scan.End() == size
	}
	return marked
}

// TestUnreadableEndIsNotCutOff has the last part of keys and of outcomes, which does not say
// that it is saved, be unreadable while the spool is opened: it is left as it is, and all are
// known when it can be read.
func TestUnreadableEndIsNotCutOff(t *testing.T) {
	fs := crashfs.New(1)
	s, err := openByHand(fs, keeping())
	must(t, err)
	left := map[string]string{}
	for _, key := range []string{"first", "last"} {
		left[key], err = endKeyed(s, key)
		must(t, err)
		must(t, giveUp(s))
	}
	fs = fs.Kill()
	names := []string{fileName(keysPrefix, 1), fileName(outcomesPrefix, 1)}
	for _, name := range names {
		unmark(t, fs, name)
		size, err := sizeOf(fs, name)
		must(t, err)
		fs.Spoil(name, size-512, size)
	}
	_, err = openByHand(fs, keeping())
	must(t, err)
	fs = fs.Kill()
	for _, name := range names {
		fs.Mend(name)
	}
	s, err = openByHand(fs, keeping())
	must(t, err)
	must(t, known(s, left))
}

// keyFrames is where the records of keys begin in a file.
func keyFrames(t *testing.T, fs *crashfs.FS, name string) (at []int64) {
	t.Helper()
	f, err := fs.Open(name, false)
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	h, err := record.ReadHeader(f, record.KeysFile)
	must(t, err)
	for scan := record.NewScanner(f, size, h.Salt, record.HeaderSize); scan.Next(); {
		if scan.Frame().Kind == record.KindKeys {
			at = append(at, scan.Offset())
		}
	}
	return at
}
