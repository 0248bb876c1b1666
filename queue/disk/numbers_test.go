package disk

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// ordinalOf is the how-manieth a message of a spool is.
func ordinalOf(id string) uint64 {
	number, _ := parseID(id)
	return index.Ordinal(number)
}

// TestNumbersAreNotGivenTwice opens a spool again: messages go on with the next number,
// also if nothing is left of those before, and beyond that of a content that nobody
// speaks of, if something of the log cannot be read.
func TestNumbersAreNotGivenTwice(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	last := ""
	for range 3 {
		last = mustPut(t, s)
	}
	s, err := openByHand(fs.Kill(), Options{})
	must(t, err)
	if id := mustPut(t, s); ordinalOf(id) != ordinalOf(last)+1 {
		t.Errorf("after a restart %d follows %d", ordinalOf(id), ordinalOf(last))
	}

	fs, s = openSmall(t)
	last = mustPut(t, s)
	deliverAll(t, s)
	s.rollNow = true
	must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "slow.example", Until: now.Add(time.Hour)}))
	must(t, s.compact(ctx, s.segments.byNumber[1]))
	must(t, s.save())
	if len(s.segments.byNumber) != 1 {
		t.Fatalf("%d segments are in use", len(s.segments.byNumber))
	}
	fs = fs.Restart()
	must(t, withoutCheckpoints(fs))
	s, err = openByHand(fs, Options{})
	must(t, err)
	if id := mustPut(t, s); ordinalOf(id) != ordinalOf(last)+1 {
		t.Errorf("when nothing is left of %d, %d follows", ordinalOf(last), ordinalOf(id))
	}

	fs, s = openSmall(t)
	mustPut(t, s)
	s.rollNow = true
	mustPut(t, s)
	fs = fs.Kill()
	must(t, fs.Remove(fileName(segmentPrefix, 1)))
	f, err := fs.Create(fileName(contentPrefix, index.Number(1<<30, 1)))
	must(t, err)
	must(t, f.Close())
	s, err = openByHand(fs, small())
	must(t, err)
	id, err := s.Put(ctx, now, textMessage(strings.Repeat("large ", 2000)))
	must(t, err)
	if ordinalOf(id) <= 1<<30 {
		t.Errorf("beside the content of %d, %d is put", 1<<30, ordinalOf(id))
	}
}

// TestNumbersThatCannotBeRead has the last message of a spool damaged, so that nothing
// tells its number: it is not given to another.
func TestNumbersThatCannotBeRead(t *testing.T) {
	fs, s := openSmall(t)
	mustPut(t, s)
	id := mustPut(t, s)
	number, _ := parseID(id)
	slot := s.slots(number)[0]
	name, at := s.current.file.name, int64(s.index.Get(slot).Record.Offset)
	d, h, err := s.readDelivery(slot, number)
	must(t, err)
	s.unpin(h.segment)
	must(t, s.Close())
	must(t, withoutCheckpoints(fs))
	fs.Flip(name, at, 1)
	fs.Flip(name, int64(d.Home.Offset), 1)
	s, err = openByHand(fs.Kill(), Options{})
	must(t, err)
	if again := mustPut(t, s); ordinalOf(again) <= ordinalOf(id) {
		t.Errorf("%d is put, and %d was there", ordinalOf(again), ordinalOf(id))
	}
}

// TestCheckpointsInOrder has a checkpoint taken after a restart: it comes after the one
// that was there, which is deleted.
func TestCheckpointsInOrder(t *testing.T) {
	fs, s := openSmall(t)
	mustPut(t, s)
	must(t, s.takeCheckpoint(context.Background()))
	fs = fs.Kill()
	s, err := openByHand(fs, Options{})
	must(t, err)
	mustPut(t, s)
	must(t, s.takeCheckpoint(context.Background()))
	if _, err := sizeOf(fs, fileName(checkpointPrefix, 2)); err != nil {
		t.Error(err)
	}
	if _, err := sizeOf(fs, fileName(checkpointPrefix, 1)); err == nil {
		t.Error("the checkpoint before is there still")
	}
}

// TestDamageAtTheEndOfASegment has a bit flipped in the last message of a segment. That
// it was saved is in the list of the next one alone: it is damage and nothing that a
// power cut tore, so the message is known as damaged.
func TestDamageAtTheEndOfASegment(t *testing.T) {
	ctx := context.Background()
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	mustPut(t, s)
	id := mustPut(t, s)
	number, _ := parseID(id)
	home := s.slots(number)[0]
	g, off := s.segments.list[s.index.Get(home).Record.Segment], int64(s.index.Get(home).Record.Offset)
	d, h, err := s.readDelivery(home, number)
	must(t, err)
	s.unpin(h.segment)
	if d.Home.Segment != g.number || int64(d.Home.Offset) <= off {
		t.Fatalf("the message is at %v", d.Home)
	}
	s.rollNow = true
	mustPut(t, s)
	fs.Flip(g.file.name, int64(d.Home.Offset)+40, 1)
	fs = fs.Kill()
	problems, err := check(fs.Copy())
	must(t, err)
	if len(problems) == 0 || problems[0].File != g.file.name || problems[0].Offset != int64(d.Home.Offset) {
		t.Errorf("Check says %v", problems)
	}
	s, err = openByHand(fs, small())
	must(t, err)
	if _, err := s.Show(ctx, id); !errors.Is(err, queue.ErrDamaged) {
		t.Errorf("the message is %v, want ErrDamaged", err)
	}
}
