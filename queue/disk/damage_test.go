package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// filled is a closed spool with 60 messages, in several segments and files, and
// a checkpoint taken after so many.
func filled(t *testing.T, checkpoint int) (*crashfs.FS, map[string]string) {
	t.Helper()
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	if err != nil {
		t.Fatal(err)
	}
	content := map[string]string{}
	ctx := context.Background()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 60 {
		text := strings.Repeat(fmt.Sprintf("message %d\n", i), []int{1, 100, 700}[i%3])
		id, err := s.Put(ctx, now, &queue.Message{From: "a@example.org", Content: queue.String(text),
			Recipients: []queue.Recipient{{Address: fmt.Sprintf("b@d%d.example", i%5)}}})
		if err != nil {
			t.Fatal(err)
		}
		content[id] = text
		if i+1 == checkpoint {
			if err := s.takeCheckpoint(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return fs, content
}

// TestFlippedBits flips a bit anywhere. Nothing of what was not hit may be lost
// or changed, nothing changed may be handed out, and Check names what was hit.
func TestFlippedBits(t *testing.T) {
	for _, checkpoint := range []int{0, 40} {
		fs, content := filled(t, checkpoint)
		list, err := fs.List()
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		rounds := int(seeds(300, 5000))
		named, lost := 0, 0
		for range rounds {
			f := list[rng.IntN(len(list))]
			if f.Size == 0 || !strings.HasPrefix(f.Name, segmentPrefix) && rng.IntN(4) > 0 {
				continue
			}
			off := rng.Int64N(f.Size)
			hurt := fs.Copy()
			hurt.Flip(f.Name, off, 1<<rng.IntN(8))
			bad, missing, err := survivors(hurt, content)
			if err != nil {
				t.Fatalf("%s at %d (checkpoint %v): %v", f.Name, off, checkpoint, err)
			}
			if strings.HasPrefix(f.Name, segmentPrefix) {
				named, lost = named+bad, lost+missing
			}
		}
		// A message whose record is hit is known still by its delivery.
		if named < rounds/50 || lost > named {
			t.Errorf("in segments %d messages were named as damaged, and %d were just missing", named, lost)
		}
	}
}

// survivors opens a damaged spool, checks every message in it and returns how
// many could not be read, and how many nothing is known of. One bit damages one record, or one file of a content.
func survivors(fs *crashfs.FS, content map[string]string) (bad, missing int, err error) {
	problems, err := check(fs.Copy())
	if err != nil {
		return 0, 0, fmt.Errorf("check: %w", err)
	}
	s, err := openByHand(fs, small())
	if err != nil {
		return 0, 0, fmt.Errorf("open: %w", err)
	}
	defer s.Close()
	page, err := s.List(context.Background(), queue.ListOptions{Max: 1000})
	if err != nil {
		return 0, 0, err
	}
	damaged := slices.Clone(page.Unreadable)
	seen := len(page.Unreadable)
	for _, e := range page.Entries {
		text, err := readContent(s, e.Message.ID)
		seen++
		switch {
		case errors.Is(err, queue.ErrDamaged):
			damaged = append(damaged, e.Message.ID)
		case err != nil || text != content[e.Message.ID]:
			return 0, 0, fmt.Errorf("%s: %d bytes, %v", e.Message.ID, len(text), err)
		}
	}
	missing = len(content) - seen
	bad = len(damaged)
	if bad+missing > 1 {
		return 0, 0, fmt.Errorf("%d messages lost to one bit, and %v unreadable", missing, damaged)
	}
	if bad+missing > 0 && len(problems) == 0 {
		return 0, 0, fmt.Errorf("Check says nothing of %v, %d missing", damaged, missing)
	}
	for _, id := range damaged {
		if !slices.ContainsFunc(problems, func(p Problem) bool { return slices.Contains(p.Messages, id) }) {
			return 0, 0, fmt.Errorf("Check does not name %s: %v", id, problems)
		}
	}
	return bad, missing, nil
}

func TestMissingSegment(t *testing.T) {
	for _, checkpoint := range []int{0, 60} {
		fs, content := filled(t, checkpoint)
		name := fileName(segmentPrefix, 2)
		if err := fs.Remove(name); err != nil {
			t.Fatal(err)
		}
		problems, err := check(fs.Copy())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(problems, func(p Problem) bool { return p.File == name }) {
			t.Errorf("Check says %v, want it to name %s", problems, name)
		}
		s, err := openByHand(fs, small())
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Claim(context.Background(), time.Now(), queue.ClaimOptions{Max: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Deliveries) == 0 || len(c.Deliveries) == len(content) {
			t.Errorf("%d of %d messages are left", len(c.Deliveries), len(content))
		}
		for _, d := range c.Deliveries {
			if text, err := readContent(s, d.Lease.Message); text != content[d.Lease.Message] {
				t.Errorf("the content of %s is not what was put: %v", d.Lease.Message, err)
			}
		}
		if checkpoint > 0 && len(c.Unreadable)+len(c.Deliveries) != len(content) {
			t.Errorf("%d of %d deliveries are known, and %d of them unreadable",
				len(c.Unreadable)+len(c.Deliveries), len(content), len(c.Unreadable))
		}
		if _, err := s.Put(context.Background(), time.Now(), &queue.Message{Content: queue.String("x"),
			Recipients: []queue.Recipient{{Address: "a@b.example"}}}); err != nil {
			t.Errorf("Put beside damage: %v", err)
		}
		s.Close()
	}
}

func TestTwoOwners(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"Open":  func() error { _, err := Open(dir, Options{}); return err },
		"Check": func() error { _, err := Check(dir); return err },
		"Dump":  func() error { return Dump(dir, &bytes.Buffer{}) },
	} {
		if err := call(); !errors.Is(err, ErrLocked) {
			t.Errorf("%s of an open spool = %v, want ErrLocked", name, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, Options{}); err != nil {
		t.Fatalf("Open after Close: %v", err)
	}
	s.Close()
}

func TestNewerFormat(t *testing.T) {
	for _, name := range []string{fileName(segmentPrefix, 1), fileName(checkpointPrefix, 1)} {
		fs, _ := filled(t, 40)
		f, err := fs.Open(name, true)
		if err != nil {
			t.Fatal(err)
		}
		kind := record.SegmentFile
		if strings.HasPrefix(name, checkpointPrefix) {
			kind = record.CheckpointFile
		}
		head := record.FileHeader{Kind: kind, Number: 1, Salt: 1}.Append(nil)
		for _, at := range []int{0, 512} {
			head[at+8] = record.Version + 1
			sum := record.Sum(head[at : at+32])
			copy(head[at+32:], []byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24)})
		}
		if _, err := f.WriteAt(head, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := openByHand(fs, small()); !errors.Is(err, ErrNewer) {
			t.Errorf("Open with a newer %s = %v, want ErrNewer", name, err)
		}
	}
}

func TestCheckAndDump(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{LargeContent: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var id string
	for _, size := range []int{10, 5000} {
		id, err = s.Put(context.Background(), time.Now(), &queue.Message{
			Recipients: []queue.Recipient{{Address: "someone@example.com"}}, Content: queue.String(strings.Repeat("x", size))})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if problems, err := Check(dir); err != nil || len(problems) > 0 {
		t.Errorf("Check of a sound spool = %v, %v", problems, err)
	}
	var out bytes.Buffer
	if err := Dump(dir, &out); err != nil || !strings.Contains(out.String(), "someone@example.com") {
		t.Errorf("Dump = %v, %q", err, out.String())
	}
	number, _ := parseID(id)
	large := filepath.Join(dir, fileName(contentPrefix, number))
	data, err := os.ReadFile(large)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-20] ^= 1
	if err := os.WriteFile(large, data, 0o600); err != nil {
		t.Fatal(err)
	}
	problems, err := Check(dir)
	if err != nil || len(problems) != 1 || !slices.Equal(problems[0].Messages, []string{id}) || !errors.Is(problems[0].Err, queue.ErrDamaged) {
		t.Errorf("Check of a damaged content = %v, %v, want one problem with %s", problems, err, id)
	}
}
