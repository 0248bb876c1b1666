package disk

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// keptFile reports whether a file has keys or outcomes.
func keptFile(name string) bool {
	return strings.HasPrefix(name, keysPrefix) || strings.HasPrefix(name, outcomesPrefix)
}

// causesOf are the errors of an operation that the spool distinguishes.
func causesOf(op crashfs.Op) []error {
	list := []error{errors.New("odd")}
	switch op {
	case crashfs.OpOpen:
		return append(list, syscall.EMFILE)
	case crashfs.OpCreate:
		return append(list, syscall.EMFILE, syscall.ENOSPC)
	case crashfs.OpRemove, crashfs.OpRead, crashfs.OpSize:
		return list
	}
	return append(list, syscall.ENOSPC)
}

// TestAppendThatFails has one operation fail while keys and outcomes are saved, in new files
// and in those that there are. What does not fit takes no room and is saved later, what
// fails otherwise is told, unless another file takes it, and all are known after a power cut.
func TestAppendThatFails(t *testing.T) {
	for old := range 2 {
		for op := crashfs.OpWrite; op <= crashfs.OpSize; op++ {
			for _, cause := range causesOf(op) {
				for n := 1; appendFails(t, old, op, n, cause); n++ {
				}
			}
		}
	}
}

// appendFails reports whether there is such an operation.
func appendFails(t *testing.T, old int, op crashfs.Op, n int, cause error) (hit bool) {
	t.Helper()
	what := fmt.Sprintf("%d parts before, and %v %d fails with %v", old, op, n, cause)
	fs := crashfs.New(uint64(n))
	s, err := openByHand(fs, keeping())
	must(t, err)
	left := map[string]string{}
	end := func(key string) {
		left[key], err = endKeyed(s, key)
		must(t, err)
	}
	if old > 0 {
		end("old")
		must(t, giveUp(s))
	}
	end("key")
	name := fileName(outcomesPrefix, 1)
	before, _ := sizeOf(fs, name)
	nth := crashfs.FailNth(op, n, vfs.IsExhausted(cause), cause)
	fs.Inject(func(o crashfs.Op, name string) error {
		if !keptFile(name) && o != crashfs.OpSyncDir {
			return nil
		}
		err := nth(o, name)
		hit = hit || err != nil
		return err
	})
	err = errors.Join(s.saveKeys(), s.saveOutcomes())
	fs.Inject(nil)
	refused := vfs.IsFull(cause) || vfs.IsExhausted(cause)
	waits := s.outcomes.Waiting() > 0
	switch {
	case err != nil && (refused || !errors.Is(err, cause)), err == nil && !refused && (waits || hit && op == crashfs.OpTruncate && old == 0):
		t.Errorf("%s: %v is the answer, and outcomes wait: %v", what, err, waits)
	case waits && refused:
		if after, _ := sizeOf(fs, name); after > before {
			t.Errorf("%s: what does not fit makes %d bytes of %d", what, after, before)
		}
	}
	for _, fs := range []*crashfs.FS{fs.Copy().Kill(), fs.Copy().Restart()} {
		again, err := openByHand(fs, keeping())
		must(t, err)
		if err := known(again, left); err != nil || len(again.problems) > 0 {
			t.Errorf("%s: after a restart %v, %v", what, err, again.problems)
		}
	}
	if s.failed() != nil {
		fs = fs.Kill()
		s, err = openByHand(fs, keeping())
		must(t, err)
	}
	must(t, giveUp(s))
	s, err = openByHand(fs.Restart(), keeping())
	must(t, err)
	if err := known(s, left); err != nil || len(s.problems) > 0 {
		t.Errorf("%s: when they are saved: %v, %v", what, err, s.problems)
	}
	return hit
}

// TestNoMarkWhereRoomIsShort: where room is short, nothing is written behind keys and
// outcomes that only saves the next Open work.
func TestNoMarkWhereRoomIsShort(t *testing.T) {
	for _, short := range []bool{false, true} {
		fs := crashfs.New(1)
		s, err := openByHand(fs, keeping())
		must(t, err)
		_, err = endKeyed(s, "key")
		must(t, err)
		s.short.Store(short)
		must(t, errors.Join(s.saveKeys(), s.saveOutcomes()))
		for _, name := range []string{fileName(keysPrefix, 1), fileName(outcomesPrefix, 1)} {
			size, err := sizeOf(fs, name)
			must(t, err)
			if rest := size % 512; rest != map[bool]int64{false: record.FrameSize}[short] {
				t.Errorf("room is short: %v, and %s has %d bytes behind the last sector", short, name, rest)
			}
		}
	}
}

// TestTornBeginningIsNoDamage has the beginning of the last file of keys, and of outcomes,
// in pieces, as a power cut may leave it before it is saved: nothing is lost, and nothing is
// said of it.
func TestTornBeginningIsNoDamage(t *testing.T) {
	for _, prefix := range []string{keysPrefix, outcomesPrefix} {
		fs := crashfs.New(1)
		s, err := openByHand(fs, keeping())
		must(t, err)
		id, err := endKeyed(s, "key")
		must(t, err)
		must(t, errors.Join(s.saveKeys(), s.saveOutcomes()))
		fs = fs.Kill()
		fs.Flip(fileName(prefix, 1), 1, 1)
		fs.Flip(fileName(prefix, 1), 513, 1)
		s, err = openByHand(fs, keeping())
		must(t, err)
		if err := known(s, map[string]string{"key": id}); err != nil || len(s.problems) > 0 {
			t.Errorf("%s: %v, %v", prefix, err, s.problems)
		}
	}
}

// TestEndThatCannotBeSavedAgain has a device that has not saved the end of keys, or of outcomes,
// and one operation fail while Open saves it, beside room for a copy and without. If there
// is no room for it, the spool is opened nevertheless; if it fails otherwise, the next Open
// saves it. All are known when the log has gone that had them, too.
func TestEndThatCannotBeSavedAgain(t *testing.T) {
	for _, prefix := range []string{keysPrefix, outcomesPrefix} {
		for _, room := range []bool{true, false} {
			for _, op := range []crashfs.Op{crashfs.OpWrite, crashfs.OpSync, crashfs.OpCreate, crashfs.OpRename, crashfs.OpSyncDir, crashfs.OpRead, crashfs.OpOpen} {
				for _, cause := range causesOf(op) {
					for n := 1; saveEndFails(t, prefix, room, op, n, cause); n++ {
					}
				}
			}
		}
	}
}

// saveEndFails reports whether there is such an operation.
func saveEndFails(t *testing.T, prefix string, room bool, op crashfs.Op, n int, cause error) (hit bool) {
	t.Helper()
	what := fmt.Sprintf("%s, room for a copy %v, %v %d fails with %v", prefix, room, op, n, cause)
	fs := crashfs.New(uint64(n))
	s, err := openByHand(fs, keeping())
	must(t, err)
	id, err := endKeyed(s, "key")
	must(t, err)
	left := map[string]string{"key": id}
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpSync && strings.HasPrefix(name, prefix) {
			return syscall.EIO
		}
		return nil
	})
	if err := errors.Join(s.saveKeys(), s.saveOutcomes()); !errors.Is(err, ErrFailed) {
		t.Fatalf("%s cannot be saved = %v", prefix, err)
	}
	fs = fs.Kill()
	nth := crashfs.FailNth(op, n, false, cause)
	told := true // if it is not saved
	fs.Inject(func(o crashfs.Op, name string) error {
		copied := strings.HasSuffix(name, newSuffix)
		switch {
		case !strings.HasPrefix(name, prefix) && o != crashfs.OpSyncDir:
			return nil
		case !room && copied && o == crashfs.OpWrite:
			return syscall.ENOSPC
		}
		err := nth(o, name)
		hit = hit || err != nil
		told = told && (err == nil || room || !vfs.IsFull(err))
		return err
	})
	s, err = openByHand(fs, keeping())
	fs.Inject(nil)
	if err != nil {
		if !errors.Is(err, cause) || vfs.IsFull(cause) {
			t.Errorf("%s: Open = %v", what, err)
		}
		fs = fs.Kill()
		s, err = openByHand(fs, keeping())
		must(t, err)
	} else if hit && !vfs.IsFull(cause) && !vfs.IsExhausted(cause) && op != crashfs.OpRemove && n < 3 {
		t.Errorf("%s: Open tells of no error", what)
	}
	if err := known(s, left); err != nil || len(s.problems) > 0 {
		t.Errorf("%s: %v, %v", what, err, s.problems)
	}
	list, err := fs.List()
	must(t, err)
	for _, f := range list {
		if strings.HasSuffix(f.Name, newSuffix) && op != crashfs.OpRemove {
			t.Errorf("%s: %s is left", what, f.Name)
		}
	}
	mustPut(t, s)
	must(t, giveUp(s))
	fs = fs.Restart()
	s, err = openByHand(fs, keeping())
	must(t, err)
	if err := known(s, left); told && err != nil || len(s.problems) > 0 {
		t.Errorf("%s: when the log has gone: %v, %v", what, err, s.problems)
	}
	return hit
}
