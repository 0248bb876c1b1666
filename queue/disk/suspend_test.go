package disk

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// halted is a suspension of a domain.
func halted(name string) queue.Suspension {
	return queue.Suspension{Subject: queue.Subject{Kind: queue.OfDestination, Name: name}}
}

// filesWith are the files whose name begins so.
func filesWith(t *testing.T, fs *crashfs.FS, prefix string) (names []string) {
	t.Helper()
	list, err := fs.List()
	must(t, err)
	for _, f := range list {
		if strings.HasPrefix(f.Name, prefix) {
			names = append(names, f.Name)
		}
	}
	return names
}

// suspended holds that these domains are suspended, and no other.
func suspended(t *testing.T, what string, s *Spool, want ...string) {
	t.Helper()
	list, err := s.Suspensions(t.Context(), time.Unix(1e9, 0))
	must(t, err)
	var names []string
	for _, one := range list {
		names = append(names, one.Name)
	}
	if !slices.Equal(names, want) {
		t.Errorf("%s %q is suspended, want %q", what, names, want)
	}
}

// TestSuspensionsHaveOneFile changes what is suspended again and again: there is one file
// of it, which is not written where nothing changes. Where the removal of the one before is
// lost or fails, the newest counts; the next Open deletes the others, and Check does not.
func TestSuspensionsHaveOneFile(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	for i := range 3 {
		must(t, s.Suspend(ctx, now, halted(fmt.Sprintf("d%d.example", i))))
	}
	if names := filesWith(t, fs, suspendedPrefix); len(names) != 1 {
		t.Errorf("after three changes there are %q", names)
	}
	writes := fs.Writes()
	if n, err := s.Resume(ctx, now, halted("other.example").Subject); n != 0 || err != nil {
		t.Errorf("Resume of what is not suspended = %d, %v", n, err)
	}
	suspended(t, "in the end", s, "d0.example", "d1.example", "d2.example")
	if n := fs.Writes(); n != writes {
		t.Errorf("%d changes were made on the disk by calls that change nothing", n-writes)
	}

	fs.Inject(crashfs.FailNth(crashfs.OpRemove, 1, true, syscall.EIO))
	for i := range 3 {
		_, err := s.Resume(ctx, now, halted(fmt.Sprintf("d%d.example", i)).Subject)
		must(t, err)
	}
	must(t, s.Suspend(ctx, now, halted("last.example")))
	fs.Inject(nil)
	fs = fs.Kill()
	names := filesWith(t, fs, suspendedPrefix)
	if len(names) < 2 {
		t.Fatalf("files that cannot be removed are gone: there are %q", names)
	}
	problems, err := check(fs)
	if err != nil || len(problems) > 0 || !slices.Equal(filesWith(t, fs, suspendedPrefix), names) {
		t.Errorf("Check = %v, %v, and leaves %q", problems, err, filesWith(t, fs, suspendedPrefix))
	}
	s, err = openByHand(fs, small())
	must(t, err)
	suspended(t, "where older files are left", s, "last.example")
	if left := filesWith(t, fs, suspendedPrefix); !slices.Equal(left, names[len(names)-1:]) {
		t.Errorf("Open leaves %q of %q", left, names)
	}
	fs.Inject(crashfs.FailNth(crashfs.OpRemove, 1, true, syscall.EIO))
	_, err = s.Resume(ctx, now, halted("last.example").Subject)
	must(t, err)
	fs.Inject(nil)
	must(t, s.Close())
	s, err = openByHand(fs, small())
	must(t, err)
	suspended(t, "when all has been resumed and an older file is left", s)
	must(t, s.Close())
}

// TestSuspendCutAnywhere has the power cut at each change that Suspend makes on the disk:
// what is suspended is as it was before or after, and can be changed again.
func TestSuspendCutAnywhere(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	for cut := 1; ; cut++ {
		for seed := range uint64(8) {
			fs := crashfs.New(seed)
			s, err := openByHand(fs, small())
			must(t, err)
			for i := range 3 {
				must(t, s.Suspend(ctx, now, halted(fmt.Sprintf("d%d.example", i))))
			}
			fs.CutAt(fs.Writes() + cut)
			_, err = s.Resume(ctx, now, halted("d0.example").Subject)
			done := err == nil
			if done {
				err = s.Suspend(ctx, now, halted("d3.example"))
			}
			if err == nil {
				return
			}
			fs = fs.Restart()
			s, err = openByHand(fs, small())
			must(t, err)
			list, err := s.Suspensions(ctx, now)
			must(t, err)
			if n := len(list); n < 2 || n > 3 || done && list[0].Name != "d1.example" || len(s.problems) > 0 {
				t.Errorf("cut at change %d, after Resume returned: %v: %v is suspended, problems %v", cut, done, list, s.problems)
			}
			must(t, s.Suspend(ctx, now, halted("more.example")))
			must(t, s.Close())
			s, err = openByHand(fs, small())
			must(t, err)
			if again, _ := s.Suspensions(ctx, now); len(again) != len(list)+1 {
				t.Errorf("cut at change %d: then %v is suspended, want one more than %v", cut, again, list)
			}
		}
	}
}

// TestSuspensionsOfAnOlderFile finds two files of suspensions, because the removal of one
// did not survive, of which the newer cannot be read: the older one counts, for as long as
// there is no other.
func TestSuspensionsOfAnOlderFile(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	must(t, s.Suspend(ctx, now, halted("one.example")))
	fs.Inject(crashfs.FailNth(crashfs.OpRemove, 1, true, syscall.EIO))
	must(t, s.Suspend(ctx, now, halted("two.example")))
	fs.Inject(nil)
	must(t, s.Close())
	names := filesWith(t, fs, suspendedPrefix)
	for off := range int64(record.HeaderSize) {
		fs.Flip(names[1], off, 0xff)
	}
	for _, when := range []string{"at the first opening", "at the second"} {
		var err error
		s, err = openByHand(fs, small())
		must(t, err)
		suspended(t, when, s, "one.example")
		if len(s.problems) != 1 || s.problems[0].File != names[1] {
			t.Errorf("%s the problems are %v, want one of %s", when, s.problems, names[1])
		}
		if when == "at the first opening" {
			must(t, s.Close())
		}
	}
	must(t, s.Suspend(ctx, now, halted("three.example")))
	must(t, s.Close())
	s, err := openByHand(fs, small())
	must(t, err)
	suspended(t, "after a change", s, "one.example", "three.example")
	if left := filesWith(t, fs, suspendedPrefix); len(left) != 1 || len(s.problems) != 0 {
		t.Errorf("after a change there are %q, problems %v", left, s.problems)
	}
	must(t, s.Close())
}

// TestSuspensionsOfWhichSomeCanBeRead finds two files of suspensions, of which the newer is
// damaged in part: what can be read of it counts, and not the older one.
func TestSuspensionsOfWhichSomeCanBeRead(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	must(t, s.Suspend(ctx, now, halted("one.example")))
	fs.Inject(crashfs.FailNth(crashfs.OpRemove, 1, true, syscall.EIO))
	_, err := s.Resume(ctx, now, halted("one.example").Subject)
	must(t, err)
	must(t, s.Suspend(ctx, now, halted("three.example"), halted("two.example")))
	fs.Inject(nil)
	must(t, s.Close())
	names := filesWith(t, fs, suspendedPrefix)
	fs.Flip(names[len(names)-1], record.HeaderSize+40, 0xff)
	s, err = openByHand(fs, small())
	must(t, err)
	suspended(t, "where some can be read", s, "two.example")
	must(t, s.Close())
}

// TestSuspensionsThatCannotBeRead damages the only file of suspensions in each way in which
// one can be: it is told of, and what can be read counts.
func TestSuspensionsThatCannotBeRead(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	rewrite := func(change func(h *record.FileHeader, frames *[]record.Frame)) func(*testing.T, *crashfs.FS, string) {
		return func(t *testing.T, fs *crashfs.FS, name string) {
			f, err := fs.Open(name, true)
			must(t, err)
			h, err := record.ReadHeader(f, record.SuspendedFile)
			must(t, err)
			size, err := f.Size()
			must(t, err)
			var frames []record.Frame
			scan := record.NewScanner(f, size, h.Salt, record.HeaderSize)
			for scan.Next() {
				one := *scan.Frame()
				one.Head = slices.Clone(one.Head)
				frames = append(frames, one)
			}
			change(&h, &frames)
			b := h.Append(nil)
			for i := range frames {
				b = frames[i].Append(b, h.Salt, int64(len(b)))
			}
			must(t, f.Truncate(0))
			_, err = f.WriteAt(b, 0)
			must(t, err)
			must(t, f.Sync())
			must(t, f.Close())
		}
	}
	for name, c := range map[string]struct {
		damage func(*testing.T, *crashfs.FS, string)
		stay   []string
	}{
		"cut off between two records":     {rewrite(func(_ *record.FileHeader, frames *[]record.Frame) { *frames = (*frames)[:2] }), []string{"one.example", "three.example"}},
		"without its end":                 {rewrite(func(_ *record.FileHeader, frames *[]record.Frame) { *frames = (*frames)[:3] }), []string{"one.example", "three.example", "two.example"}},
		"of another number":               {rewrite(func(h *record.FileHeader, _ *[]record.Frame) { h.Number++ }), []string{"one.example", "three.example", "two.example"}},
		"with a record that says nothing": {rewrite(func(_ *record.FileHeader, frames *[]record.Frame) { (*frames)[1].Head = []byte{255} }), []string{"one.example"}},
		"empty": {func(t *testing.T, fs *crashfs.FS, name string) {
			f, err := fs.Open(name, true)
			must(t, err)
			must(t, f.Truncate(0))
			must(t, f.Close())
		}, nil},
		"bad sectors at its beginning": {func(_ *testing.T, fs *crashfs.FS, name string) { fs.Spoil(name, 0, record.HeaderSize) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			fs, s := openSmall(t)
			must(t, s.Suspend(ctx, now, halted("one.example"), halted("two.example"), halted("three.example")))
			must(t, s.Close())
			file := filesWith(t, fs, suspendedPrefix)[0]
			c.damage(t, fs, file)
			s, err := openByHand(fs, small())
			must(t, err)
			suspended(t, name, s, c.stay...)
			if len(s.problems) != 1 || s.problems[0].File != file || !isDamage(s.problems[0].Err) {
				t.Errorf("the problems are %v, want damage of %s", s.problems, file)
			}
			must(t, s.Suspend(ctx, now, halted("more.example")))
			must(t, s.Close())
			s, err = openByHand(fs, small())
			must(t, err)
			if list, _ := s.Suspensions(ctx, now); len(list) != len(c.stay)+1 || len(s.problems) > 0 {
				t.Errorf("after a change %v is suspended, problems %v", list, s.problems)
			}
			must(t, s.Close())
		})
	}
}

// TestResumeOnAFullDevice ends suspensions and adds some on full devices: there is room
// for that in the reserve, whenever the device tells that it is full.
func TestResumeOnAFullDevice(t *testing.T) {
	ctx := t.Context()
	fullDevices(t, func(t *testing.T, r *fullRig) {
		for i := range 20 {
			one := halted(fmt.Sprintf("d%d.example", i))
			if err := r.s.Suspend(ctx, r.now, one); err != nil {
				t.Fatalf("Suspend = %v", err)
			}
			if i%3 > 0 {
				continue
			}
			if n, err := r.s.Resume(ctx, r.now, one.Subject); n != 1 || err != nil {
				t.Fatalf("Resume = %d, %v", n, err)
			}
		}
		before, err := r.s.Suspensions(ctx, r.now)
		must(t, err)
		r.fs = r.fs.Restart()
		r.open()
		after, err := r.s.Suspensions(ctx, r.now)
		must(t, err)
		if len(before) != 13 || len(after) != 13 || len(filesWith(t, r.fs, suspendedPrefix)) != 1 {
			t.Errorf("%d are suspended, and %d after a power cut, in the files %q", len(before), len(after), filesWith(t, r.fs, suspendedPrefix))
		}
		for _, d := range r.claim() {
			r.settle(&d, always(queue.Delivered))
			r.work()
		}
		r.drained()
	})
}

// TestSuspendThatFails fails at each step of writing the file for a lack of room, again and
// again, and cannot remove what it has begun: nothing is suspended, the spool goes on, and
// a moment later it can be done.
func TestSuspendThatFails(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	for _, op := range []crashfs.Op{crashfs.OpCreate, crashfs.OpWrite, crashfs.OpSync, crashfs.OpRename, crashfs.OpSyncDir} {
		for _, removes := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v, removes: %v", op, removes), func(t *testing.T) {
				fs, s := openSmall(t)
				must(t, s.Suspend(ctx, now, halted("one.example")))
				names := filesWith(t, fs, suspendedPrefix)
				fs.Inject(func(o crashfs.Op, name string) error {
					switch {
					case o == op && (op == crashfs.OpSyncDir || strings.HasPrefix(name, suspendedPrefix)):
						return syscall.ENOSPC
					case o == crashfs.OpRemove && !removes:
						return syscall.EIO
					}
					return nil
				})
				err := s.Suspend(ctx, now, halted("two.example"))
				if err == nil || errors.Is(err, ErrFailed) || removes && !errors.Is(err, queue.ErrFull) {
					t.Errorf("Suspend = %v, want ErrFull", err)
				}
				if left := filesWith(t, fs, suspendedPrefix); removes && !slices.Equal(left, names) {
					t.Errorf("%q is left, want %q", left, names)
				}
				suspended(t, "after a failure", s, "one.example")
				fs.Inject(nil)
				must(t, s.Suspend(ctx, now, halted("three.example")))
				suspended(t, "then", s, "one.example", "three.example")
				fs = fs.Restart()
				s, err = openByHand(fs, small())
				must(t, err)
				suspended(t, "after a power cut", s, "one.example", "three.example")
				must(t, s.Close())
				if left := filesWith(t, fs, suspendedPrefix); len(left) != 1 {
					t.Errorf("%q is left", left)
				}
			})
		}
	}
}

// TestSuspensionsThatAreOver asks for suspensions when some are over: that is stored, so
// that they do not come back when the clock is put back, and if it cannot be, they are over
// all the same.
func TestSuspensionsThatAreOver(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	for _, stored := range []bool{true, false} {
		fs, s := openSmall(t)
		short := halted("short.example")
		short.Until = now.Add(time.Minute)
		must(t, s.Suspend(ctx, now, short, halted("long.example")))
		if !stored {
			fs.Inject(noRoom)
		}
		list, err := s.Suspensions(ctx, now.Add(time.Hour))
		if err != nil || len(list) != 1 || list[0].Name != "long.example" {
			t.Errorf("Suspensions = %v, %v", list, err)
		}
		suspended(t, "when the clock is put back", s, "long.example")
		fs.Inject(nil)
		s, err = openByHand(fs.Restart(), small())
		must(t, err)
		want := []string{"long.example"}
		if !stored {
			want = append(want, "short.example")
		}
		suspended(t, fmt.Sprintf("after a restart, stored: %v,", stored), s, want...)
	}
}

// TestSuspendWhereTheDirectoryCannotBeSaved has the device fail where Suspend saves the
// directory: nobody knows which of two files counts, so nothing more is done until the spool
// is opened again, which has one of the two.
func TestSuspendWhereTheDirectoryCannotBeSaved(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	for seed := range uint64(8) {
		fs := crashfs.New(seed)
		s, err := openByHand(fs, small())
		must(t, err)
		must(t, s.Suspend(ctx, now, halted("one.example")))
		fs.Inject(crashfs.FailNth(crashfs.OpSyncDir, 1, false, syscall.EIO))
		if err := s.Suspend(ctx, now, halted("two.example")); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Errorf("Suspend = %v, want ErrFailed and the cause", err)
		}
		if _, err := s.Put(ctx, now, textMessage("text")); !errors.Is(err, ErrFailed) {
			t.Errorf("Put after that = %v, want ErrFailed", err)
		}
		s, err = openByHand(fs.Restart(), small())
		must(t, err)
		if list, err := s.Suspensions(ctx, now); err != nil || len(list) < 1 || len(list) > 2 {
			t.Errorf("Suspensions = %v, %v", list, err)
		}
	}
}
