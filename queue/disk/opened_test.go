package disk

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// died is what a process leaves that dies with a settlement that is not saved yet: the
// directory, and what it holds without the settlement and with it. With a checkpoint
// some of it has been moved.
func died(t *testing.T, seed uint64, checkpoint int) (fs *crashfs.FS, before, after string) {
	t.Helper()
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs = crashfs.New(seed)
	s := varied(t, fs, checkpoint)
	must(t, s.Suspend(ctx, now, queue.Suspension{Subject: queue.Subject{Kind: queue.OfDestination, Name: "halted.example"}}))
	if checkpoint > 0 {
		must(t, compactAll(s, false))
	}
	mustPut(t, s)
	before = all(t, s)
	c, err := s.Claim(ctx, now, queue.ClaimOptions{Destinations: []string{"third.example"}})
	must(t, err)
	done, err := s.Settle(ctx, now, []queue.Settlement{{Lease: c.Deliveries[0].Lease, Results: []queue.Result{{Outcome: queue.Delivered}}}})
	must(t, err)
	must(t, done[0].Err)
	after = all(t, s)
	return fs.Kill(), before, after
}

// TestOpenThatFails has one call of the system fail while the spool is opened, each in
// its turn: it is an error that tells the cause, and leaves no file open; or nothing
// depended on it. Nothing is lost.
func TestOpenThatFails(t *testing.T) {
	for checkpoint := range 4 {
		fs, _, want := died(t, 1, checkpoint)
		for op := crashfs.OpWrite; op <= crashfs.OpLock; op++ {
			openFails(t, fs, op, errors.New("odd"), want)
			openFails(t, fs, op, syscall.EMFILE, want)
		}
	}
}

func openFails(t *testing.T, fs *crashfs.FS, op crashfs.Op, cause error, want string) {
	t.Helper()
	for n := 1; ; n++ {
		hurt := fs.Copy()
		what := fmt.Sprintf("%v number %d fails with %v", op, n, cause)
		hit := ""
		nth := crashfs.FailNth(op, n, false, cause)
		hurt.Inject(func(o crashfs.Op, name string) error {
			err := nth(o, name)
			if err != nil {
				hit = fmt.Sprintf("%v %s", o, name)
			}
			return err
		})
		s, err := openByHand(hurt, small())
		hurt.Inject(nil)
		if hit == "" {
			must(t, err)
			must(t, s.Close())
			if n := hurt.Descriptors(); n != 0 {
				t.Errorf("%d files are open when the spool is closed", n)
			}
			break
		}
		switch {
		case err == nil:
			if got := all(t, s); got != want {
				t.Fatalf("%s: the spool has\n%s\nwant\n%s", what, got, want)
			}
			if cause != syscall.EMFILE && op != crashfs.OpRemove && hit != "size "+reserveName { // which is then made anew
				t.Errorf("%s, %s, and nobody is told", what, hit)
			}
		case !errors.Is(err, cause):
			t.Errorf("%s, %s: %v does not tell the cause", what, hit, err)
		case hurt.Descriptors() != 0:
			t.Errorf("%s, %s: %d files are left open", what, hit, hurt.Descriptors())
		}
		same(t, what+", and then nothing", hurt.Kill(), want)
	}
}

// TestOpenCutAnywhere has the power cut at each change of an opening.
func TestOpenCutAnywhere(t *testing.T) {
	for checkpoint := range 4 {
		for cut := 1; ; cut++ {
			fs, before, after := died(t, uint64(cut), checkpoint)
			at := fs.Writes() + cut
			fs.CutAt(at)
			s, err := openByHand(fs, small())
			if fs.Writes() < at {
				must(t, err)
				must(t, s.Close())
				if cut < 5 {
					t.Errorf("only %d changes were made", cut)
				}
				break
			}
			if err != nil && !errors.Is(err, crashfs.ErrPowerCut) {
				t.Fatal(err)
			}
			fs = fs.Restart()
			s, err = openByHand(fs, small())
			must(t, err)
			got := all(t, s)
			if got != before && got != after {
				t.Fatalf("cut at change %d with a checkpoint in %d: the spool has\n%s\nwant\n%s", cut, checkpoint, got, after)
			}
			same(t, "what was read once", fs.Restart(), got)
		}
	}
}

// TestFilesThatBearAnothersNumber has a file renamed. What its name says and what it
// says itself are not the same, so nothing of it counts, and it is named.
func TestFilesThatBearAnothersNumber(t *testing.T) {
	for _, prefix := range []string{checkpointPrefix, segmentPrefix} {
		fs, _, want := died(t, 1, 0)
		s := same(t, "before", fs, want)
		must(t, s.takeCheckpoint(context.Background()))
		must(t, s.save())
		fs = fs.Kill()
		from, to := fileName(prefix, 1), fileName(prefix, 9)
		must(t, fs.Rename(from, to))
		problems, err := check(fs.Copy())
		must(t, err)
		named := false
		for _, p := range problems {
			named = named || p.File == to || p.File == from
		}
		if !named {
			t.Errorf("%s as %s: Check says %v", from, to, problems)
		}
		s, err = openByHand(fs, small())
		must(t, err)
		if prefix == checkpointPrefix && all(t, s) != want {
			t.Errorf("%s as %s: the spool has\n%s\nwant\n%s", from, to, all(t, s), want)
		}
		id := mustPut(t, s)
		must(t, s.save())
		s, err = openByHand(fs.Restart(), small())
		must(t, err)
		for _, id := range []string{id, formatID(144)} { // put now, and in the second segment
			if _, err := s.Show(context.Background(), id); err != nil {
				t.Errorf("%s as %s: %s: %v", from, to, id, err)
			}
		}
	}
}

// TestFilesNeverFinished has files that a power cut left before they had their names.
// Opening deletes them, and looking at the directory does not.
func TestFilesNeverFinished(t *testing.T) {
	fs, _, want := died(t, 1, 0)
	names := []string{fileName(segmentPrefix, 2) + newSuffix, fileName(segmentPrefix, 3) + newSuffix, fileName(checkpointPrefix, 9) + newSuffix, fileName(suspendedPrefix, 9) + newSuffix}
	for _, name := range names {
		f, err := fs.Create(name)
		must(t, err)
		must(t, f.Close())
	}
	_, err := check(fs)
	must(t, err)
	for _, name := range names {
		if _, err := sizeOf(fs, name); err != nil {
			t.Errorf("Check: %s: %v", name, err)
		}
	}
	same(t, "with files that were never finished", fs, want)
	for _, name := range names {
		if _, err := sizeOf(fs, name); err == nil {
			t.Errorf("%s is there still", name)
		}
	}
}

// TestDamagedCheckpoint has a bit of a checkpoint flipped, or its end missing. It is left
// aside and named, and the log read: that comes to the same.
func TestDamagedCheckpoint(t *testing.T) {
	fs := crashfs.New(1)
	s := varied(t, fs, 3)
	want := all(t, s)
	must(t, s.save())
	name := fileName(checkpointPrefix, 1)
	size, err := sizeOf(fs, name)
	must(t, err)
	open := func(what string, fs *crashfs.FS) (named bool) {
		t.Helper()
		s, err := openByHand(fs, small())
		must(t, err)
		if got := all(t, s); got != want {
			t.Fatalf("%s: the spool has\n%s\nwant\n%s", what, got, want)
		}
		named = len(s.problems) > 0 && s.problems[0].File == name
		must(t, compactAll(s, true))
		if got := all(t, s); got != want {
			t.Fatalf("%s, after a compaction: the spool has\n%s\nwant\n%s", what, got, want)
		}
		return named
	}
	if open("a sound checkpoint", fs.Copy()) {
		t.Error("a sound checkpoint is named as damaged")
	}
	named := 0
	for off := int64(0); off < size; off += 20 {
		hurt := fs.Copy()
		hurt.Flip(name, off, 4)
		if open(fmt.Sprintf("a bit of byte %d flipped", off), hurt) {
			named++
		}
	}
	if named < int(size-record.HeaderSize)/20/2 { // but for what fills, and the header, which is there twice
		t.Errorf("damage at %d of %d places is named", named, size/20)
	}
	for end := int64(0); end < size; end += 200 {
		cut := fs.Copy()
		f, err := cut.Open(name, true)
		must(t, err)
		must(t, f.Truncate(end))
		must(t, f.Close())
		if !open(fmt.Sprintf("cut after %d bytes", end), cut) {
			t.Errorf("that it is cut after %d bytes is not named", end)
		}
	}
}

// TestOpenWithoutRoom has the device full while the spool is opened, from each of its
// calls on or for one alone: it opens all the same, and hands out what is there. When
// there is room again nothing is lost, and the machine may fail then.
func TestOpenWithoutRoom(t *testing.T) {
	for checkpoint := range 4 {
		fs, _, want := died(t, 1, checkpoint)
		for _, op := range []crashfs.Op{crashfs.OpWrite, crashfs.OpTruncate, crashfs.OpSync, crashfs.OpCreate, crashfs.OpRename, crashfs.OpSyncDir} {
			for _, always := range []bool{false, true} {
				for n := 1; ; n++ {
					full := fs.Copy()
					what := fmt.Sprintf("with a checkpoint in %d, no room for %v number %d, always %v", checkpoint, op, n, always)
					hit := ""
					nth := crashfs.FailNth(op, n, always, syscall.ENOSPC)
					full.Inject(func(o crashfs.Op, name string) error {
						err := nth(o, name)
						if err != nil {
							hit += fmt.Sprintf("%v %s, ", o, name)
						}
						return err
					})
					s, err := openByHand(full, small())
					if hit == "" {
						must(t, err)
						must(t, s.Close())
						break
					}
					if err != nil {
						t.Errorf("%s: %s: %v", what, hit, err)
						full.Inject(nil)
						same(t, what+", and then there is", full.Kill(), want)
						continue
					}
					if got := all(t, s); got != want {
						t.Fatalf("%s: the spool has\n%s\nwant\n%s", what, got, want)
					}
					full.Inject(nil)
					s.spare.failed = time.Time{} // a while has passed
					must(t, s.save())
					same(t, what+", and then there is, and the power fails", full.Restart(), want)
				}
			}
		}
	}
}
