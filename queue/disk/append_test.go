package disk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// endKeyed puts a message with a key and has it delivered, unless that fails.
func endKeyed(s *Spool, key string) (id string, err error) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	m := textMessage("text")
	m.Key = key
	if id, err = s.Put(ctx, now, m); err != nil {
		return id, err
	}
	c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 1 << 10})
	if err != nil {
		return id, err
	}
	for _, d := range c.Deliveries {
		result := []queue.Result{{Outcome: queue.Delivered}}
		if _, err := s.Settle(ctx, now, []queue.Settlement{{Lease: d.Lease, Results: result}}); err != nil {
			return id, err
		}
	}
	return id, s.save()
}

// giveUp has a checkpoint taken and every segment given up but the current one, so that
// only the files of keys and of outcomes have what was settled.
func giveUp(s *Spool) error {
	ctx := context.Background()
	s.rollNow = true
	err := s.takeCheckpoint(ctx)
	for _, g := range slices.Clone(s.segments.list) {
		if err == nil && g != nil && g != s.current {
			err = s.compact(ctx, g)
		}
	}
	return err
}

// known compares the keys and the outcomes with those of messages that were delivered and
// saved.
func known(s *Spool, left map[string]string) error {
	page, err := s.Outcomes(context.Background(), queue.OutcomeOptions{Max: 1 << 20})
	if err != nil {
		return err
	}
	ended := map[string]bool{}
	for _, o := range page.Outcomes {
		if ended[o.Message] {
			return fmt.Errorf("%s has two outcomes", o.Message)
		}
		ended[o.Message] = true
	}
	for key, id := range left {
		if !ended[id] {
			return fmt.Errorf("%s has no outcome", id)
		}
		number, found, err := s.leftWith(hashKey("", key), time.Unix(1e9, 0))
		if err != nil {
			return err
		}
		if !found || formatID(number) != id {
			return fmt.Errorf("the key of %s is known %v, of %s", id, found, formatID(number))
		}
	}
	return nil
}

// TestPowerCutsBesideSavedKeysAndOutcomes has the log go that had the keys and outcomes of
// what was delivered, and cuts the power of a device that leaves sectors in pieces: while
// more are appended, and while the spool is opened, again and again. All are known.
func TestPowerCutsBesideSavedKeysAndOutcomes(t *testing.T) {
	for seed := range uint64(130) {
		if err := cutBesideSaved(seed); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

func cutBesideSaved(seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 3))
	fs := crashfs.New(seed)
	fs.Meanwhile(func() {})
	fs.SetDevice(crashfs.Device{Shears: 512})
	left := map[string]string{}
	for round := range 8 {
		for range rng.IntN(8) { // openings that are cut
			fs.CutAt(1 + rng.IntN(8))
			if _, err := openByHand(fs, keeping()); err != nil && !errors.Is(err, crashfs.ErrPowerCut) {
				return err
			}
			fs = fs.Restart()
		}
		fs.CutAt(0)
		s, err := openByHand(fs, keeping())
		if err == nil && len(s.problems) > 0 {
			err = fmt.Errorf("a power cut is no damage: %v", s.problems)
		}
		if err == nil {
			err = known(s, left)
		}
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		fs.CutAt(fs.Writes() + 10 + rng.IntN(30))
		for n := 0; err == nil; n++ {
			key := fmt.Sprint("key ", round, " ", n)
			var id string
			if id, err = endKeyed(s, key); err == nil {
				left[key] = id
				err = giveUp(s)
			}
		}
		if !errors.Is(err, crashfs.ErrPowerCut) {
			return err
		}
		fs = fs.Restart()
	}
	return nil
}

// TestSavedKeysAndOutcomesAreNotWrittenOver has a spool opened again that saved keys and
// outcomes: Open leaves their files as they are if they say that they are saved, and else
// writes them to others, which end with a sector.
func TestSavedKeysAndOutcomesAreNotWrittenOver(t *testing.T) {
	for what, c := range map[string]struct {
		end  func(*crashfs.FS, *Spool) *crashfs.FS
		cut  int64 // so much is missing at the end
		copy bool
	}{
		"after Close":           {end: func(fs *crashfs.FS, s *Spool) *crashfs.FS { _ = s.Close(); return fs }},
		"after a kill":          {end: func(fs *crashfs.FS, _ *Spool) *crashfs.FS { return fs.Kill() }},
		"without that record":   {func(fs *crashfs.FS, _ *Spool) *crashfs.FS { return fs.Kill() }, record.FrameSize, true},
		"with a torn last part": {func(fs *crashfs.FS, _ *Spool) *crashfs.FS { return fs.Kill() }, record.FrameSize + 40, true},
	} {
		fs := crashfs.New(1)
		s, err := openByHand(fs, keeping())
		must(t, err)
		left := map[string]string{}
		left["key"], err = endKeyed(s, "key")
		must(t, err)
		must(t, giveUp(s))
		fs = c.end(fs, s)
		for _, name := range []string{fileName(keysPrefix, 1), fileName(outcomesPrefix, 1)} {
			size, err := sizeOf(fs, name)
			must(t, err)
			f, err := fs.Open(name, true)
			must(t, err)
			must(t, f.Truncate(size-c.cut))
			must(t, f.Close())
		}
		copied := map[string]bool{}
		fs.Inject(func(op crashfs.Op, name string) error {
			name, isNew := strings.CutSuffix(name, newSuffix)
			kept := strings.HasPrefix(name, keysPrefix) || strings.HasPrefix(name, outcomesPrefix)
			switch {
			case kept && op == crashfs.OpRename:
				copied[name] = true
			case kept && !isNew && op < crashfs.OpSyncDir && (op != crashfs.OpWrite || !copied[name]):
				t.Errorf("%s: %v %s, which was saved", what, op, name)
			}
			return nil
		})
		for range 2 {
			s, err = openByHand(fs, keeping())
			must(t, err)
			must(t, known(s, left))
			if want := map[bool]int{true: 2}[c.copy]; len(copied) != want {
				t.Errorf("%s: Open copies %v, want %d files", what, copied, want)
			}
			for name := range copied {
				if size, err := sizeOf(fs, name); err != nil || size%512 != record.FrameSize {
					t.Errorf("%s: %s has %d bytes, %v: want a record after the end of a sector", what, name, size, err)
				}
			}
			fs = fs.Kill() // after which nothing is copied again
			copied, c.copy = map[string]bool{}, false
		}
	}
}

// TestDamageToTheLastKeysAndOutcomes: also damage to those that were saved last is known
// for what it is.
func TestDamageToTheLastKeysAndOutcomes(t *testing.T) {
	fs := crashfs.New(1)
	s, err := openByHand(fs, keeping())
	must(t, err)
	for _, key := range []string{"key", "last key"} {
		_, err = endKeyed(s, key)
		must(t, err)
		must(t, giveUp(s))
	}
	must(t, s.Close())
	for name, kind := range map[string]record.FileKind{
		fileName(keysPrefix, 1): record.KeysFile, fileName(outcomesPrefix, 1): record.OutcomesFile,
	} {
		hurt := fs.Copy()
		f, err := hurt.Open(name, false)
		must(t, err)
		size, err := f.Size()
		must(t, err)
		h, err := record.ReadHeader(f, kind)
		must(t, err)
		at, scan := int64(0), record.NewScanner(f, size, h.Salt, record.HeaderSize)
		for scan.Next() {
			if k := scan.Frame().Kind; k == record.KindKeys || k == record.KindOutcomes {
				at = scan.Offset()
			}
		}
		hurt.Flip(name, at+record.FrameSize, 1)
		problems, err := check(hurt)
		must(t, err)
		if len(problems) != 1 || problems[0].File != name {
			t.Errorf("Check says %v, want a problem of %s", problems, name)
		}
		s, err := openByHand(hurt, keeping())
		must(t, err)
		id, err := endKeyed(s, "another key")
		must(t, err)
		must(t, giveUp(s))
		s, err = openByHand(hurt.Kill(), keeping())
		must(t, err)
		must(t, known(s, map[string]string{"another key": id}))
		if len(s.problems) != 1 || s.problems[0].File != name {
			t.Errorf("when more was appended: %v, want a problem of %s", s.problems, name)
		}
	}
}
