package disk

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// damagedTwice is a spool with damage in what a checkpoint covers and nobody needs, and in
// what was written after it, and where that is.
func damagedTwice(t *testing.T) (disk *crashfs.FS, id string, file string, covered, after int64) {
	t.Helper()
	disk, s := openSmall(t)
	id = mustPut(t, s)
	dropped := mustPut(t, s)
	must(t, s.Drop(t.Context(), dropped))
	must(t, s.takeCheckpoint(t.Context()))
	late := plainTicket(working)
	must(t, together(s, late)[0])
	must(t, together(s, plainTicket(working))[0])
	mustPut(t, s)
	must(t, s.Close())
	number, _ := parseID(dropped)
	_, covered = find(t, disk, number, record.KindMessage)
	file, after = s.current.file.name, int64(late.at[0])
	disk.Flip(file, covered+record.FrameSize, 1)
	disk.Flip(file, after, 1)
	return disk, id, file, covered, after
}

// TestCheckNamesEachDamageOnce: Check finds damage that opening does not come by, and names
// once what both find.
func TestCheckNamesEachDamageOnce(t *testing.T) {
	disk, _, file, covered, after := damagedTwice(t)
	problems, err := check(disk)
	must(t, err)
	var at []int64
	for _, p := range problems {
		if p.File != file || len(p.Messages) > 0 || !isDamage(p.Err) {
			t.Errorf("Check names %v", p)
		}
		at = append(at, p.Offset)
	}
	slices.Sort(at)
	if want := []int64{covered, after}; !slices.Equal(at, want) {
		t.Errorf("Check names %v, want damage at %v", problems, want)
	}
}

// TestCheckNamesWhatIsSaved has damage in the only segment of a spool, before its
// checkpoint: that it was saved is known from the records behind it. At the very end of
// the log it is what a power cut leaves, and not named.
func TestCheckNamesWhatIsSaved(t *testing.T) {
	for _, end := range []bool{false, true} {
		disk, s := openSmall(t)
		tk := plainTicket(working)
		must(t, together(s, tk)[0])
		file, at := s.current.file.name, int64(tk.at[0])
		if end {
			at += record.FrameSize // the fill
		} else {
			must(t, together(s, plainTicket(working))[0])
		}
		must(t, s.takeCheckpoint(t.Context()))
		disk = disk.Kill()
		disk.Flip(file, at, 1)
		problems, err := check(disk)
		must(t, err)
		if named := len(problems) == 1 && problems[0].Offset == at; len(problems) > 1 || named == end {
			t.Errorf("damage at the end %v: Check names %v", end, problems)
		}
	}
}

// TestCheckNamesMessagesEachByItself has several messages in one damaged place: each is
// named, in addition to the place.
func TestCheckNamesMessagesEachByItself(t *testing.T) {
	disk, s := openSmall(t)
	var ids []string
	for range 3 {
		ids = append(ids, mustPut(t, s))
	}
	must(t, s.takeCheckpoint(t.Context()))
	must(t, s.Close())
	file := s.current.file.name
	number, _ := parseID(ids[0])
	_, from := find(t, disk, number, record.KindDelivery)
	number, _ = parseID(ids[1])
	_, to := find(t, disk, number, record.KindMessage)
	disk.Spoil(file, from, to+1)
	problems, err := check(disk)
	must(t, err)
	var named []string
	for _, p := range problems {
		if p.File != file || !isDamage(p.Err) || (len(p.Messages) > 0) != (p.Offset < 0) {
			t.Errorf("Check names %v", p)
		}
		named = append(named, p.Messages...)
	}
	slices.Sort(named)
	if !slices.Equal(named, ids[:2]) || len(problems) != 3 {
		t.Errorf("Check names %v, want the place, %v", problems, ids[:2])
	}
}

// TestCheckThatFails has each call of the system fail once, while there is damage as well:
// Check says so, or names it, or finds the rest all the same, and leaves nothing open.
func TestCheckThatFails(t *testing.T) {
	odd := errors.New("odd")
	disk, id, _, covered, after := damagedTwice(t)
	before := disk.Descriptors()
	for _, op := range []crashfs.Op{crashfs.OpLock, crashfs.OpList, crashfs.OpOpen, crashfs.OpRead, crashfs.OpSize} {
		for n, hit := 1, true; hit; n++ {
			hit = false
			nth := crashfs.FailNth(op, n, false, odd)
			disk.Inject(func(o crashfs.Op, name string) error {
				err := nth(o, name)
				hit = hit || err != nil
				return err
			})
			problems, err := check(disk)
			disk.Inject(nil)
			told := errors.Is(err, odd)
			found := 0
			for _, p := range problems {
				told = told || errors.Is(p.Err, odd)
				if p.Offset == covered || p.Offset == after {
					found++
				}
				if len(p.Messages) > 0 && (!errors.Is(p.Err, odd) || !slices.Contains(p.Messages, id)) && !strings.Contains(p.Err.Error(), queue.ErrDamaged.Error()) {
					t.Errorf("%v %d fails: Check names %v", op, n, p)
				}
			}
			if hit && !told && found != 2 {
				t.Errorf("%v %d fails, and Check = %v, %v", op, n, problems, err)
			}
			if open := disk.Descriptors(); open > before {
				t.Fatalf("%v %d fails, and %d files are open", op, n, open-before)
			}
		}
	}
}

// TestCheckReadsWholeContents has a message whose content is shorter or longer than its
// records say, though nothing in them has changed.
func TestCheckReadsWholeContents(t *testing.T) {
	for _, size := range []uint32{3, 4, 5} {
		disk, s := openSmall(t)
		number := uint64(1) << 40
		d := record.Delivery{ID: number, Destination: "example.com", Size: size, Recipients: []record.Recipient{{}}}
		m := record.Message{ID: number, Size: size}
		body := []byte("text")
		tk := &ticket{durable: true, frames: make([]frame, 2)}
		tk.frames[0].Kind, tk.frames[0].Head, tk.frames[0].home = record.KindDelivery, d.Append(nil), 1
		tk.frames[1].Kind, tk.frames[1].Head, tk.frames[1].Body, tk.frames[1].BodySum = record.KindMessage, m.Append(nil), body, record.Sum(body)
		must(t, together(s, tk)[0])
		problems, err := check(disk.Kill())
		must(t, err)
		if sound := size == 4; sound != (len(problems) == 0) || !sound && (!slices.Equal(problems[0].Messages, []string{formatID(number)}) || !errors.Is(problems[0].Err, queue.ErrDamaged)) {
			t.Errorf("4 bytes of a content of %d: Check = %v", size, problems)
		}
	}
}

// TestLookingAtNoDirectory looks at a directory that is not there: that is told, and it is
// not there afterwards.
func TestLookingAtNoDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if problems, err := Check(dir); !errors.Is(err, fs.ErrNotExist) || len(problems) > 0 {
		t.Errorf("Check = %v, %v, want ErrNotExist", problems, err)
	}
	var out bytes.Buffer
	if err := Dump(dir, &out); !errors.Is(err, fs.ErrNotExist) || out.Len() > 0 {
		t.Errorf("Dump = %v and shows %q, want ErrNotExist", err, out.String())
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory is there")
	}
}

// TestCheckBesideADamagedList has the list of segments in the newest segment be damaged,
// which alone says how much of the one before was saved: what is damaged there is named
// all the same.
func TestCheckBesideADamagedList(t *testing.T) {
	disk, s := openSmall(t)
	tk := plainTicket(working)
	must(t, together(s, tk)[0])
	must(t, together(s, plainTicket(working))[0])
	mustPut(t, s)
	first := s.current.file.name
	s.rollNow = true
	mustPut(t, s)
	second := s.current.file.name
	must(t, s.takeCheckpoint(t.Context()))
	must(t, s.Close())
	disk.Flip(first, int64(tk.at[0]), 1)
	disk.Flip(second, record.HeaderSize, 1)
	problems, err := check(disk)
	must(t, err)
	if !slices.ContainsFunc(problems, func(p Problem) bool { return p.File == first && p.Offset == int64(tk.at[0]) }) {
		t.Errorf("Check = %v, which does not name %s at %d", problems, first, tk.at[0])
	}
}

// TestCheckBesideASegmentThatHasGone has a segment be given up after the checkpoint, which
// speaks of it: Check names nothing.
func TestCheckBesideASegmentThatHasGone(t *testing.T) {
	disk, s := openSmall(t)
	id := mustPut(t, s)
	first := s.current
	s.rollNow = true
	mustPut(t, s)
	must(t, s.takeCheckpoint(t.Context()))
	must(t, s.Drop(t.Context(), id))
	must(t, s.compact(t.Context(), first))
	if s.segments.byNumber[first.number] != nil {
		t.Fatal("the segment is there")
	}
	if problems, err := check(disk.Kill()); err != nil || len(problems) > 0 {
		t.Errorf("Check = %v, %v", problems, err)
	}
}
