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
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/keys"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// savedKeys has so many keys saved in one file, some at a time, and the log go that had
// them, too. After the last part the file does not say that it is saved.
func savedKeys(t *testing.T, parts ...int) (fs *crashfs.FS, name string, at []int64) {
	t.Helper()
	fs = crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	n := 0
	for _, part := range parts {
		for range part {
			e := keys.Entry{Hash: hashKey("", fmt.Sprint("key ", n)), Message: index.Number(uint64(5000+n), 1)}
			e.Left = time.Unix(1e9, 0).UnixMicro()
			s.mu.Lock()
			s.keys.left.Add(e)
			s.mu.Unlock()
			n++
		}
		must(t, s.saveKeys())
	}
	name = fileName(keysPrefix, 1)
	size, err := sizeOf(fs, name)
	must(t, err)
	f, err := fs.Open(name, true)
	must(t, err)
	defer f.Close()
	must(t, f.Truncate(size-record.FrameSize))
	h, err := record.ReadHeader(f, record.KeysFile)
	must(t, err)
	for scan := record.NewScanner(f, size, h.Salt, record.HeaderSize); scan.Next(); {
		if scan.Frame().Kind == record.KindKeys {
			at = append(at, scan.Offset())
		}
	}
	return fs.Kill(), name, at
}

// knownKeys are the keys that are known, an x for each.
func knownKeys(t *testing.T, s *Spool, n int) (list string) {
	t.Helper()
	for i := range n {
		_, known, err := s.leftWith(hashKey("", fmt.Sprint("key ", i)), time.Unix(1e9, 0))
		must(t, err)
		list += map[bool]string{true: "x", false: "-"}[known]
	}
	return list
}

// TestKeysBesideAGap opens a spool whose file of keys has a record that cannot be read. In
// the part that may not be saved, a power cut may have left that, so it is not named, and
// what is behind it does not count: it was not saved. Elsewhere it is named, and all else is
// known. So it is when the spool is opened again.
func TestKeysBesideAGap(t *testing.T) {
	const n = keys.PieceSize
	all, none := strings.Repeat("x", n), strings.Repeat("-", n)
	for what, c := range map[string]struct {
		parts []int
		hurt  int // the record
		want  string
		named bool
		fill  bool // the record that fills the sector is damaged, too
	}{
		"nowhere":                          {parts: []int{n, 3 * n}, hurt: -1, want: all + all + all + all},
		"in the last part":                 {parts: []int{n, 3 * n}, hurt: 1, want: all + none + none + none},
		"in the middle of the last part":   {parts: []int{n, 3 * n}, hurt: 2, want: all + all + none + none},
		"in the one before":                {parts: []int{n, n, n}, hurt: 1, want: all + none + all, named: true},
		"in all of the one before":         {parts: []int{n, n, n}, hurt: 1, want: all + none + all, named: true, fill: true},
		"at the beginning of others":       {parts: []int{3 * n, n}, hurt: 0, want: none + all + all + all, named: true},
		"in the middle of what was before": {parts: []int{3 * n, n}, hurt: 1, want: all + none + all + all, named: true},
	} {
		fs, name, at := savedKeys(t, c.parts...)
		if c.hurt >= 0 {
			fs.Flip(name, at[c.hurt]+record.FrameSize+1, 1)
		}
		if c.fill {
			fs.Flip(name, at[c.hurt]+record.FrameSize+n*keys.EntrySize+1, 1)
		}
		for round := range 3 {
			s, err := openByHand(fs, small())
			must(t, err)
			if got := knownKeys(t, s, len(c.want)); got != c.want {
				t.Errorf("%s, opening %d: known are %s, want %s", what, round, got, c.want)
			}
			if count, err := s.CountKeys(context.Background()); err != nil || count.Remembered != strings.Count(c.want, "x") {
				t.Errorf("%s, opening %d: %d are remembered, %v", what, round, count.Remembered, err)
			}
			if named := len(s.problems) > 0 && s.problems[0].File == name; named != c.named {
				t.Errorf("%s, opening %d: the problems are %v", what, round, s.problems)
			}
			fs = fs.Kill()
		}
	}
}

// TestUnreadableKeys has a part of a file of keys that cannot be read, perhaps at its end:
// the spool opens and knows the others, more are appended without harm to it, and all are
// known when it can be read.
func TestUnreadableKeys(t *testing.T) {
	const n = keys.PieceSize
	all := strings.Repeat("x", n)
	for what, c := range map[string]struct{ hurt, damaged int }{"first": {0, -1}, "second": {1, -1}, "and another is damaged": {0, 1}} {
		fs, name, at := savedKeys(t, n, n, n)
		fs.Spoil(name, at[c.hurt], at[c.hurt]+512)
		if c.damaged >= 0 {
			fs.Flip(name, at[c.damaged]+record.FrameSize+1, 1)
		}
		s, err := openByHand(fs, small())
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		_, err = endKeyed(s, "another")
		must(t, err)
		must(t, giveUp(s))
		fs = fs.Kill()
		fs.Mend(name)
		s, err = openByHand(fs, small())
		must(t, err)
		if got := strings.Count(knownKeys(t, s, 3*n), "x"); got != 3*n && c.damaged < 0 || got < 2*n {
			t.Errorf("%s: %d are known when all can be read, want %d", what, got, len(all)*3)
		}
	}
	fs, name, at := savedKeys(t, n, n) // the end, which is known to be saved
	f, err := fs.Open(name, true)
	must(t, err)
	h, err := record.ReadHeader(f, record.KeysFile)
	must(t, err)
	size, err := f.Size()
	must(t, err)
	r := record.Frame{Kind: record.KindSaved, Flags: record.First | record.Last, Mark: uint32(size)}
	_, err = f.WriteAt(r.Append(nil, h.Salt, size), size)
	must(t, err)
	must(t, f.Close())
	fs.Spoil(name, at[1], size)
	s, err := openByHand(fs, small())
	must(t, err)
	_, err = endKeyed(s, "another")
	must(t, err)
	must(t, giveUp(s))
	fs = fs.Kill()
	fs.Mend(name)
	s, err = openByHand(fs, small())
	must(t, err)
	if got := knownKeys(t, s, 2*n); got != all+all {
		t.Errorf("known are %s when all can be read", got)
	}
}

// TestLookingAtKeysSavesNothing checks a spool whose file of keys need not be saved.
func TestLookingAtKeysSavesNothing(t *testing.T) {
	fs, _, _ := savedKeys(t, 3)
	before := fs.Writes()
	_, err := check(fs)
	must(t, err)
	if fs.Writes() != before {
		t.Errorf("Check made %d changes", fs.Writes()-before)
	}
}

// withoutSize is a directory in which the size of one file is not told.
type withoutSize struct {
	vfs.FS
	name  string
	cause error
}

func (w withoutSize) Open(name string, write bool) (vfs.File, error) {
	f, err := w.FS.Open(name, write)
	if err == nil && name == w.name {
		f = unsized{f, w.cause}
	}
	return f, err
}

type unsized struct {
	vfs.File
	cause error
}

func (u unsized) Size() (int64, error) { return 0, u.cause }

// TestKeysWhoseSizeIsNotTold has no size of the file of keys: Open fails with that.
func TestKeysWhoseSizeIsNotTold(t *testing.T) {
	fs, name, _ := savedKeys(t, 3)
	odd := errors.New("odd")
	if _, err := openByHand(withoutSize{fs, name, odd}, small()); !errors.Is(err, odd) {
		t.Errorf("Open = %v, want %v", err, odd)
	}
}

// TestOtherRecordsAmongKeys has a record of another kind in a file of keys: it is none.
func TestOtherRecordsAmongKeys(t *testing.T) {
	fs, name, _ := savedKeys(t, 3)
	f, err := fs.Open(name, true)
	must(t, err)
	h, err := record.ReadHeader(f, record.KeysFile)
	must(t, err)
	size, err := f.Size()
	must(t, err)
	e := keys.Entry{Hash: hashKey("", "another"), Message: 1, Left: time.Unix(1e9, 0).UnixMicro()}
	r := record.Frame{Kind: record.KindOutcomes, Flags: record.First | record.Last, Head: e.Append(nil)}
	_, err = f.WriteAt(r.Append(nil, h.Salt, size), size)
	must(t, err)
	must(t, f.Close())
	s, err := openByHand(fs, small())
	must(t, err)
	if count, err := s.CountKeys(context.Background()); err != nil || count.Remembered != 3 {
		t.Errorf("%d are remembered, %v, want 3", count.Remembered, err)
	}
}

// TestKeysBehindAnEndThatIsNotFilled has no room to fill the end of a file of keys when the
// spool is opened: what is appended begins another sector, since what is there may be saved.
func TestKeysBehindAnEndThatIsNotFilled(t *testing.T) {
	fs, name, at := savedKeys(t, 3)
	f, err := fs.Open(name, true)
	must(t, err)
	must(t, f.Truncate(at[0]+record.FrameSize+3*keys.EntrySize)) // without the fill record
	must(t, f.Close())
	fs.Inject(func(op crashfs.Op, file string) error {
		if op == crashfs.OpCreate && file == name+newSuffix {
			return syscall.ENOSPC
		}
		return nil
	})
	s, err := openByHand(fs, small())
	must(t, err)
	_, err = endKeyed(s, "another")
	must(t, err)
	must(t, s.saveKeys())
	fs = fs.Restart()
	f, err = fs.Open(name, false)
	must(t, err)
	h, err := record.ReadHeader(f, record.KeysFile)
	must(t, err)
	size, err := f.Size()
	must(t, err)
	found := 0
	for scan := record.NewScanner(f, size, h.Salt, record.HeaderSize); scan.Next(); {
		if scan.Frame().Kind == record.KindKeys {
			found++
			if scan.Offset()%512 != 0 && scan.Offset() != at[0] {
				t.Errorf("keys begin at %d", scan.Offset())
			}
		}
	}
	if found != 2 {
		t.Errorf("%d records of keys, want 2", found)
	}
}

// TestKeyThatIsTooOldInAFile looks up a key whose time is over in a file that has others.
func TestKeyThatIsTooOldInAFile(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	_, s := openSmall(t)
	o := DefaultKeepKeys
	var ids []string
	for n := range 2 { // so close that they are in one file
		at := now.Add(time.Duration(n) * o / 64)
		id, err := s.Put(ctx, at, keyedMessage(fmt.Sprint("key ", n)))
		must(t, err)
		ids = append(ids, id)
		c, err := s.Claim(ctx, at, queue.ClaimOptions{})
		must(t, err)
		_, err = s.Settle(ctx, at, []queue.Settlement{{Lease: c.Deliveries[0].Lease, Results: []queue.Result{{Outcome: queue.Delivered}}}})
		must(t, err)
	}
	must(t, s.takeCheckpoint(ctx))
	later := now.Add(o + o/128)
	if id, err := s.Put(ctx, later, keyedMessage("key 0")); err != nil || id == ids[0] {
		t.Errorf("Put with a key whose time is over = %q, %v", id, err)
	}
	if id, err := s.Put(ctx, later, keyedMessage("key 1")); !errors.Is(err, queue.ErrDuplicate) || id != ids[1] {
		t.Errorf("Put with one that is remembered = %q, %v", id, err)
	}
}

// TestFilesOfForgottenKeysGo has more keys than may be remembered: the files of those that
// are forgotten are deleted while the spool is open.
func TestFilesOfForgottenKeysGo(t *testing.T) {
	fs := crashfs.New(1)
	o := small()
	o.MaxKeys = 32 // one in a file
	s, err := openByHand(fs, o)
	must(t, err)
	for n := range 40 {
		_, err := endKeyed(s, fmt.Sprint("key ", n))
		must(t, err)
		must(t, s.saveKeys())
	}
	list, err := fs.List()
	must(t, err)
	files := 0
	for _, f := range list {
		if strings.HasPrefix(f.Name, keysPrefix) {
			files++
		}
	}
	if files > 33 {
		t.Errorf("there are %d files of keys, want 32", files)
	}
}

// TestKeyUsedAgainWhileTheClockIsSetBack has a key used by a message long after another
// with it has left, which leaves when the clock is set back to that time: the key is that of
// the second, also when the spool is opened again.
func TestKeyUsedAgainWhileTheClockIsSetBack(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	_, err := endKeyed(s, "key")
	must(t, err)
	must(t, giveUp(s))
	id, err := s.Put(ctx, now.Add(2*DefaultKeepKeys), keyedMessage("key"))
	must(t, err)
	deliverAll(t, s) // at the time of the first
	must(t, s.save())
	for range 2 {
		s, err = openByHand(fs.Kill(), Options{})
		must(t, err)
		if got, err := s.Put(ctx, now, keyedMessage("key")); !errors.Is(err, queue.ErrDuplicate) || got != id {
			t.Errorf("Put = %q, %v, want %q and ErrDuplicate", got, err, id)
		}
	}
}
