package disk

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestSegmentsComeAndGo begins and gives up more segments than there may be at a time: each
// gets the place of one that has gone, and what is in it can be read.
func TestSegmentsComeAndGo(t *testing.T) {
	ctx := context.Background()
	_, s := openSmall(t)
	s.segments.most = 6
	for range 20 {
		s.rollNow = true
		id := mustPut(t, s)
		if _, err := s.Show(ctx, id); err != nil {
			t.Fatal(err)
		}
		must(t, s.Drop(ctx, id))
		must(t, s.maintain(ctx))
	}
	if n := len(s.segments.list); n > s.segments.most {
		t.Errorf("there are %d places, want at most %d", n, s.segments.most)
	}
}

// TestSegmentWithWhatWasMoved gives up a segment, and then the one that its messages were
// moved to: it does not wait for the one that has gone.
func TestSegmentWithWhatWasMoved(t *testing.T) {
	ctx := context.Background()
	_, s := openSmall(t)
	mustPut(t, s)
	first := s.current
	s.rollNow = true
	mustPut(t, s)
	second := s.current
	must(t, s.compact(ctx, first))
	deliverAll(t, s)
	s.rollNow = true
	mustPut(t, s)
	must(t, s.save())
	must(t, s.maintain(ctx))
	if s.segments.byNumber[second.number] != nil {
		t.Errorf("the segment is there, and waits for %v", second.from)
	}
}

// TestMoreSegmentsThanCanBeTold opens a directory with more segments than the index can
// tell apart: it fails.
func TestMoreSegmentsThanCanBeTold(t *testing.T) {
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	segmentsOfOne(t, s, 4)
	must(t, s.Close())
	for _, most := range []int{3, 4} {
		s := newSpool(fs, small())
		s.segments.most = most
		if err := s.recover(true); (err == nil) != (most >= 4) {
			t.Errorf("4 segments where there may be %d: %v", most, err)
		}
		s.closeFiles()
	}
}

// TestListThatCannotBeParsed has the newest segment begin with a list of segments that is
// sound and says nothing that can be read: the segments before it count.
func TestListThatCannotBeParsed(t *testing.T) {
	ctx := context.Background()
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	ids := segmentsOfOne(t, s, 3)
	name := s.current.file.name
	must(t, s.Close())
	file, err := fs.Open(name, true)
	must(t, err)
	rewrite(t, file, record.HeaderSize, func(f *record.Frame) { // numbers that do not end
		for i := range f.Head {
			f.Head[i] = 0xff
		}
	})
	s, err = openByHand(fs, small())
	must(t, err)
	for i, id := range ids {
		if _, err := s.Show(ctx, id); err != nil {
			t.Errorf("message %d: %v", i, err)
		}
	}
}

// TestNewerFilesOfEachKind has each kind of file of a later version of the format: the
// spool cannot be opened, and the error names the file.
func TestNewerFilesOfEachKind(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs := crashfs.New(1)
	s, err := openByHand(fs, keeping())
	must(t, err)
	m := keyedMessage("key")
	_, err = s.Put(ctx, now, m)
	must(t, err)
	deliverAll(t, s)
	must(t, s.Suspend(ctx, now, queue.Suspension{Subject: queue.Subject{Kind: queue.OfDestination, Name: "halted.example"}}))
	must(t, s.saveOutcomes())
	must(t, s.takeCheckpoint(ctx))
	fs = fs.Kill()
	for prefix, kind := range map[string]record.FileKind{
		segmentPrefix: record.SegmentFile, checkpointPrefix: record.CheckpointFile, keysPrefix: record.KeysFile,
		suspendedPrefix: record.SuspendedFile, outcomesPrefix: record.OutcomesFile,
	} {
		hurt := fs.Copy()
		list, err := hurt.List()
		must(t, err)
		name := ""
		for _, f := range list {
			if _, ok := numberOf(f.Name, prefix); ok {
				name = f.Name
			}
		}
		f, err := hurt.Open(name, true)
		if err != nil {
			t.Fatalf("there is no file %s", prefix)
		}
		number, _ := numberOf(name, prefix)
		head := record.FileHeader{Kind: kind, Number: number, Salt: 1}.Append(nil)
		for _, at := range []int{0, 512} {
			head[at+8] = record.Version + 1
			sum := record.Sum(head[at : at+32])
			copy(head[at+32:], []byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24)})
		}
		_, err = f.WriteAt(head, 0)
		must(t, err)
		if _, err := openByHand(hurt, keeping()); !errors.Is(err, ErrNewer) {
			t.Errorf("with a newer %s: %v, want ErrNewer", name, err)
		}
	}
}
