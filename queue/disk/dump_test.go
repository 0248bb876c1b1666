package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/keys"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestDumpShowsEveryRecord has a record of each kind in one group, and ones whose heads
// say nothing: each has a line with its place, its length, its flags and what it says.
func TestDumpShowsEveryRecord(t *testing.T) {
	now := time.Unix(1e9, 0).UTC()
	head := func(n byte) []byte { return bytes.Repeat([]byte{n}, 3) }
	fs, s := openSmall(t)
	mustPut(t, s)
	tk := plainTicket(working)
	tk.frames[0].Mark = 1 // which is what is saved when it is written
	shows := []string{fmt.Sprintf("saved %d", s.current.saved)}
	add := func(kind record.Kind, head []byte, text string) {
		f := frame{}
		f.Kind, f.Head = kind, head
		tk.frames, shows = append(tk.frames, f), append(shows, text)
	}
	add(record.KindMessage, (&record.Message{ID: 7, Envelope: queue.Message{From: "from@example.org"}}).Append(nil), "message \"*from@example.org*\"")
	add(record.KindMessage, head(255), "message: ")
	add(record.KindDelivery, (&record.Delivery{ID: 7, Destination: "to.example"}).Append(nil), "delivery \"*to.example*\"")
	add(record.KindDelivery, head(255), "delivery: ")
	add(record.KindGone, (&record.Gone{ID: 7, Destination: "gone.example"}).Append(nil), "gone \"*gone.example*\"")
	add(record.KindGone, head(255), "gone: ")
	add(record.KindDestination, (&record.Destination{Name: "slow.example", Reason: "why"}).Append(nil), "destination \"*slow.example*\"")
	add(record.KindDestination, head(255), "destination: ")
	add(record.KindSegments, (&record.Segments{Next: 4711}).Append(nil), "segments \"*4711*\"")
	add(record.KindSegments, head(255), "segments: ")
	add(record.KindRetired, (&record.Retired{Segment: 4712}).Append(nil), "retired \"*4712*\"")
	add(record.KindRetired, head(255), "retired: ")
	add(record.KindFlush, (&record.Flush{Since: now, Destination: "flushed.example"}).Append(nil), "flush \"*flushed.example*\"")
	add(record.KindFlush, head(255), "flush: ")
	add(record.KindBlock, nil, "block")
	add(record.KindKeys, make([]byte, 3*keys.EntrySize), "keys of 3 messages that have left")
	add(record.KindSuspension, record.AppendSuspension(nil, &queue.Suspension{Subject: queue.Subject{Name: "halted.example"}}), "suspension \"*halted.example*\"")
	add(record.KindSuspension, head(255), "suspension: ")
	add(record.KindOutcomes, (&record.Outcomes{Time: now, ID: 7, List: []record.Outcome{{Address: "a@b.example"}}}).Append(nil), "outcomes \"*a@b.example*\"")
	add(record.KindOutcomes, head(255), "outcomes: ")
	add(record.KindBefore, record.Before{Count: 4713}.Append(nil), "before \"*4713*\"")
	add(record.KindBefore, head(255), "before: ")
	add(record.KindFill, nil, "fill")
	add(record.KindTable, (&record.Table{From: record.Place{Segment: 3, Offset: 4}, Rows: make([]record.Row, 2),
		Destinations: make([]record.DestinationState, 1), Slots: make([]record.SlotName, 5), Last: true}).Append(nil),
		"table from {3 4}: 2 rows, 1 destinations, 5 segments, last true")
	add(record.KindTable, head(255), "table: ")
	add(200, nil, "unknown \"<nil>\"")
	must(t, together(s, tk)[0])

	var out bytes.Buffer
	must(t, dump(fs.Copy(), &out))
	name := s.current.file.name
	lines := strings.Split(out.String(), "\n")
	for i, off := range tk.at {
		flags := map[bool]string{true: "f", false: "-"}[i == 0] + map[bool]string{true: "l", false: "-"}[i == len(tk.at)-1]
		begin := fmt.Sprintf("%s %d +%d %s ", name, off, tk.frames[i].Len(), flags)
		line := ""
		for _, l := range lines {
			if strings.HasPrefix(l, begin) {
				line = strings.TrimPrefix(l, begin)
			}
		}
		before, after, part := strings.Cut(shows[i], "*")
		inside, after, _ := strings.Cut(after, "*")
		switch {
		case part && strings.HasPrefix(line, before) && strings.Contains(line, inside) && strings.HasSuffix(line, after):
		case strings.HasSuffix(shows[i], ": ") && strings.HasPrefix(line, shows[i]) && strings.HasSuffix(line, record.ErrDamaged.Error()):
		case line == shows[i]:
		default:
			t.Errorf("the line of record %d begins with %q and goes on with %q, want %q", i, begin, line, shows[i])
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

// TestDumpShowsDamageAtItsPlace has records of a segment, the end of a group and of the
// file, and the header of another file be damaged or unreadable: that is shown where it
// is, once, and the rest is shown as well.
func TestDumpShowsDamageAtItsPlace(t *testing.T) {
	fs, s := openSmall(t)
	var at []uint32
	for range 4 {
		tk := plainTicket(working)
		must(t, together(s, tk)[0])
		at = append(at, tk.at[0])
	}
	two := plainTicket(working)
	two.join(plainTicket(working))
	two.apply = func(*hold, *segment, []uint32) {}
	two.more[0].apply = two.apply
	must(t, together(s, two)[0])
	at = append(at, two.at[0])
	segment := s.current.file.name
	must(t, s.takeCheckpoint(t.Context()))
	fs = fs.Kill() // so that the last record is the end of the file
	checkpoint := fileName(checkpointPrefix, newestCheckpoint(t, fs))
	fs.Flip(segment, int64(at[0]), 1)
	fs.Spoil(segment, int64(at[2]), int64(at[2])+record.FrameSize)
	fs.Flip(segment, int64(two.at[1]), 1)
	fill := two.at[1] + record.FrameSize // behind the last record, to the end of the file
	fs.Flip(segment, int64(fill), 1)
	fs.Spoil(checkpoint, 0, 1024)
	f, err := fs.Create("notes") // which are somebody else's
	must(t, err)
	must(t, f.Close())

	var out bytes.Buffer
	must(t, dump(fs, &out))
	var lines []string
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, segment) {
			lines = append(lines, strings.TrimSuffix(strings.TrimPrefix(line, segment), "\n"))
		}
	}
	where := func(what string) (found int) {
		found = -1
		for i, line := range lines {
			if strings.HasPrefix(line, what) {
				if found >= 0 {
					t.Errorf("%q is shown twice", what)
				}
				found = i
			}
		}
		return found
	}
	list := []int{
		where(": number 1, salt "), where(fmt.Sprintf(" %d: no record in %d bytes", at[0], record.FrameSize)), where(fmt.Sprintf(" %d +", at[1])),
		where(fmt.Sprintf(" %d: no record in %d bytes: ", at[2], at[3]-at[2])), where(fmt.Sprintf(" %d +", at[3])),
		where(fmt.Sprintf(" %d +", two.at[0])), where(fmt.Sprintf(" %d: no record in ", two.at[1])),
	}
	for i, line := range list {
		if line < 0 || i > 0 && line <= list[i-1] {
			t.Fatalf("what is to be shown is in the lines %v of\n%s", list, out.String())
		}
	}
	for i, line := range lines {
		if part := strings.HasSuffix(line, " (part of a group)"); part != (i == list[5]) {
			t.Errorf("a line is %q", line)
		}
	}
	if !strings.HasSuffix(lines[list[1]], " bytes") || strings.Contains(lines[list[1]], syscall.EIO.Error()) || !strings.Contains(lines[list[3]], syscall.EIO.Error()) {
		t.Errorf("what has changed is shown as %q, and what cannot be read as %q", lines[list[1]], lines[list[3]])
	}
	if !strings.Contains(out.String(), checkpoint+": ") || strings.Contains(out.String(), "table") || strings.Contains(out.String(), "notes") {
		t.Errorf("the checkpoint's header cannot be read, and Dump shows\n%s", out.String())
	}
}

// TestDumpThatFails has each write of the output fail, and each call of the file system:
// Dump says so, or shows it, and leaves nothing open.
func TestDumpThatFails(t *testing.T) {
	odd := errors.New("odd")
	fs, _ := filled(t, 40)
	fs.Flip(fileName(segmentPrefix, 1), 2000, 1)
	fs.Spoil(fileName(checkpointPrefix, 1), 0, 1024)
	for n, failed := 1, true; failed; n++ {
		writes := 0
		failed = false
		err := dump(fs, writerFunc(func(p []byte) (int, error) {
			if writes++; writes == n {
				failed = true
				return 0, odd
			}
			return len(p), nil
		}))
		if failed != errors.Is(err, odd) || failed && writes > n {
			t.Errorf("write %d of the output fails: %v, and %d were made", n, err, writes)
		}
	}
	for _, op := range []crashfs.Op{crashfs.OpList, crashfs.OpOpen, crashfs.OpRead} {
		for n, hit := 1, true; hit; n++ {
			hit = false
			nth := crashfs.FailNth(op, n, false, odd)
			fs.Inject(func(o crashfs.Op, name string) error {
				err := nth(o, name)
				hit = hit || err != nil
				return err
			})
			var out bytes.Buffer
			err := dump(fs, &out)
			fs.Inject(nil)
			if shown := strings.Contains(out.String(), odd.Error()); hit && !shown && !errors.Is(err, odd) {
				t.Errorf("%v %d fails: %v, and it is shown: %v", op, n, err, shown)
			}
		}
	}
	must(t, dump(fs, io.Discard)) // which has the lock
	if n := fs.Descriptors(); n > 0 {
		t.Errorf("%d files are open", n)
	}
}
