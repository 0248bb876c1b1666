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
	"github.com/nexthop-mail/nexthop/queue/disk/internal/keys"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// keysOfTwo has two messages with keys leave, whose keys one record of a file has.
func keysOfTwo(t *testing.T) (fs *crashfs.FS, s *Spool, name string, ids []string) {
	t.Helper()
	fs = crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	for n := range 2 {
		id, err := endKeyed(s, fmt.Sprint("key ", n))
		must(t, err)
		ids = append(ids, id)
	}
	must(t, s.takeCheckpoint(context.Background()))
	return fs, s, fileName(keysPrefix, 1), ids
}

// keysAt returns where the first record of keys is, and the salt of the file.
func keysAt(t *testing.T, fs *crashfs.FS, name string) (off int64, salt uint64) {
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
			return scan.Offset(), h.Salt
		}
	}
	t.Fatalf("%s has no keys", name)
	return 0, 0
}

// TestKeyWhoseFileIsDamaged looks a key up in a file that was damaged while the spool was
// open: it is not known, so the message is put. If the file cannot be read, it may be known,
// so the message is not put.
func TestKeyWhoseFileIsDamaged(t *testing.T) {
	shorter := func(t *testing.T, fs *crashfs.FS, name string) {
		off, salt := keysAt(t, fs, name)
		f, err := fs.Open(name, true)
		must(t, err)
		defer f.Close()
		e := keys.Entry{Hash: hashKey("", "another"), Message: 1}
		frame := record.Frame{Kind: record.KindKeys, Flags: record.First | record.Last, Head: e.Append(nil)}
		_, err = f.WriteAt(frame.Append(nil, salt, off), off)
		must(t, err)
	}
	for what, c := range map[string]struct {
		hurt func(*testing.T, *crashfs.FS, string)
		want error
	}{
		"damaged": {hurt: func(t *testing.T, fs *crashfs.FS, name string) {
			off, _ := keysAt(t, fs, name)
			fs.Flip(name, off+record.FrameSize+1, 1)
		}},
		"missing": {hurt: func(t *testing.T, fs *crashfs.FS, name string) { must(t, fs.Remove(name)) }},
		"shorter": {hurt: shorter},
		"unreadable": {func(t *testing.T, fs *crashfs.FS, name string) {
			off, _ := keysAt(t, fs, name)
			fs.Spoil(name, off, off+512)
		}, syscall.EIO},
	} {
		fs, s, name, ids := keysOfTwo(t)
		c.hurt(t, fs, name)
		id, err := s.Put(context.Background(), time.Unix(1e9, 0), keyedMessage("key 1"))
		if !errors.Is(err, c.want) || c.want != nil && id != "" || id == ids[1] {
			t.Errorf("%s: Put = %q, %v, want %v", what, id, err, c.want)
		}
	}
}

// TestKeyThatLooksLikeAnother looks up a key of which the table in memory has the same bits
// as of one that is remembered: it is not known.
func TestKeyThatLooksLikeAnother(t *testing.T) {
	_, s, _, ids := keysOfTwo(t)
	h := hashKey("", "key 0")
	if number, known, err := s.leftWith(h, time.Unix(1e9, 0)); err != nil || !known || formatID(number) != ids[0] {
		t.Errorf("the key is known %v, of %s, %v", known, formatID(number), err)
	}
	h[len(h)-1] ^= 1
	if number, known, err := s.leftWith(h, time.Unix(1e9, 0)); err != nil || known {
		t.Errorf("one like it is known %v, of %s, %v", known, formatID(number), err)
	}
}

// TestKeysOfManyFiles has keys in several files when the log goes that had them too: all
// are known when the spool is opened again.
func TestKeysOfManyFiles(t *testing.T) {
	fs := crashfs.New(1)
	o := keeping()
	o.MaxKeys = 64 // two in a file
	s, err := openByHand(fs, o)
	must(t, err)
	left := map[string]string{}
	for n := range 7 {
		key := fmt.Sprint("key ", n)
		left[key], err = endKeyed(s, key)
		must(t, err)
	}
	must(t, giveUp(s))
	for range 2 {
		s, err = openByHand(fs.Restart(), o)
		must(t, err)
		must(t, known(s, left))
	}
}

// TestKeysWithoutRoom has no room to save keys, or no descriptor: the log goes
// nevertheless, and the keys are known until the process ends, or for longer if there is
// room before.
func TestKeysWithoutRoom(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, op := range []crashfs.Op{crashfs.OpCreate, crashfs.OpOpen, crashfs.OpWrite, crashfs.OpSync} {
		cause := syscall.ENOSPC
		if op == crashfs.OpOpen {
			cause = syscall.EMFILE
		}
		fs, s := openSmall(t)
		_, err := endKeyed(s, "first")
		must(t, err)
		if op == crashfs.OpOpen {
			must(t, s.takeCheckpoint(ctx)) // so that the file is there
		}
		id, err := endKeyed(s, "key")
		must(t, err)
		failed := false
		fs.Inject(func(o crashfs.Op, name string) error {
			if o == op && strings.HasPrefix(name, keysPrefix) {
				failed = true
				return cause
			}
			return nil
		})
		if err := giveUp(s); err != nil || !failed {
			t.Errorf("%v of the keys: %v, failed %v: what had them goes = %v", op, cause, failed, err)
		}
		fs.Inject(nil)
		if got, err := s.Put(ctx, now, keyedMessage("key")); !errors.Is(err, queue.ErrDuplicate) || got != id {
			t.Errorf("%v of the keys: %v: Put of the key = %q, %v, want %q and ErrDuplicate", op, cause, got, err, id)
		}
		must(t, giveUp(s))
		s, err = openByHand(fs.Restart(), Options{})
		must(t, err)
		if got, err := s.Put(ctx, now, keyedMessage("key")); !errors.Is(err, queue.ErrDuplicate) || got != id {
			t.Errorf("%v of the keys: %v: when they were saved, Put of the key = %q, %v, want %q and ErrDuplicate", op, cause, got, err, id)
		}
	}
}

// TestKeysOfALogThatIsNotSaved has a message leave, which cannot be saved: its key is not
// written to a file, because the message may come back.
func TestKeysOfALogThatIsNotSaved(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	_, err := s.Put(ctx, now, keyedMessage("key"))
	must(t, err)
	deliverAll(t, s)
	fs.Inject(func(op crashfs.Op, name string) error {
		switch {
		case strings.HasPrefix(name, keysPrefix):
			t.Errorf("%v %s", op, name)
		case op == crashfs.OpSync && strings.HasPrefix(name, segmentPrefix):
			return syscall.EIO
		}
		return nil
	})
	if err := s.saveKeys(); !errors.Is(err, ErrFailed) {
		t.Errorf("the keys are saved: %v, want ErrFailed", err)
	}
}

// TestFilesOfKeysInPieces opens a spool whose file of keys is cut short, or bears the number
// of another: its keys are not known, and the spool goes on.
func TestFilesOfKeysInPieces(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	header := func(kind record.FileKind, number uint64) func(*testing.T, *crashfs.FS, string) {
		return func(t *testing.T, fs *crashfs.FS, name string) {
			_, salt := keysAt(t, fs, name)
			f, err := fs.Open(name, true)
			must(t, err)
			defer f.Close()
			_, err = f.WriteAt(record.FileHeader{Kind: kind, Number: number, Salt: salt}.Append(nil), 0)
			must(t, err)
		}
	}
	for what, c := range map[string]struct {
		hurt  func(*testing.T, *crashfs.FS, string)
		known bool
	}{
		"another's number": {hurt: header(record.KeysFile, 7)},
		"another kind":     {hurt: header(record.OutcomesFile, 1)},
		"its own":          {hurt: header(record.KeysFile, 1), known: true},
		"nothing but half a header": {hurt: func(t *testing.T, fs *crashfs.FS, name string) {
			f, err := fs.Open(name, true)
			must(t, err)
			defer f.Close()
			must(t, f.Truncate(record.HeaderSize/2))
		}},
	} {
		fs, s, name, ids := keysOfTwo(t)
		s.rollNow = true
		mustPut(t, s)
		must(t, s.compact(ctx, s.segments.byNumber[1]))
		must(t, s.Close())
		c.hurt(t, fs, name)
		s, err := openByHand(fs, small())
		must(t, err)
		id, err := s.Put(ctx, now, keyedMessage("key 1"))
		if isKnown := errors.Is(err, queue.ErrDuplicate) && id == ids[1]; err != nil && !isKnown || isKnown != c.known {
			t.Errorf("%s: Put of the key = %q, %v", what, id, err)
		}
	}
}
