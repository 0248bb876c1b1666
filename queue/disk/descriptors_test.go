package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// putSize puts a message of some size.
func putSize(s *Spool, to string, size int) (string, error) {
	return s.Put(context.Background(), time.Unix(1e9, 0), &queue.Message{From: "a@example.org",
		Recipients: []queue.Recipient{{Address: "a@" + to}}, Content: queue.Bytes(make([]byte, size))})
}

// segmentsOfOne fills a spool with segments of one message each.
func segmentsOfOne(t *testing.T, s *Spool, n int) (ids []string) {
	t.Helper()
	for i := range n {
		s.rollNow = true
		id, err := putSize(s, fmt.Sprintf("d%d.example", i), 10)
		must(t, err)
		ids = append(ids, id)
	}
	return ids
}

func segmentFiles(t *testing.T, fs vfs.FS) (n int) {
	t.Helper()
	list, err := fs.List()
	must(t, err)
	for _, f := range list {
		if strings.HasPrefix(f.Name, segmentPrefix) {
			n++
		}
	}
	return n
}

// readsAll shows every message and reads its content.
func readsAll(s *Spool, ids []string) error {
	for _, id := range ids {
		if _, err := s.Show(context.Background(), id); err != nil {
			return fmt.Errorf("show %s: %w", id, err)
		}
		c, err := s.Open(context.Background(), id)
		if err != nil {
			return err
		}
		r, err := c.Open()
		if err != nil {
			return fmt.Errorf("open %s: %w", id, err)
		}
		n, err := io.Copy(io.Discard, r)
		_ = r.Close()
		if err != nil || n != c.Size() {
			return fmt.Errorf("%s: %d bytes, %w", id, n, err)
		}
	}
	return nil
}

// TestOpenSegments reads from many more segments than may be open, by several at
// once, with not one descriptor more than is documented.
func TestOpenSegments(t *testing.T) {
	for _, most := range []int{0, MinOpenSegments} {
		f := crashfs.New(1)
		s, err := openByHand(f, Options{OpenSegments: most})
		must(t, err)
		f.SetDevice(crashfs.Device{Descriptors: s.files.most + 2}) // and the lock and the reserve
		ids := segmentsOfOne(t, s, 100)
		var readers sync.WaitGroup
		for range 8 {
			readers.Go(func() {
				if err := readsAll(s, ids); err != nil {
					t.Errorf("at most %d segments: %v", s.files.most, err)
				}
			})
		}
		readers.Wait()
		must(t, s.maintain(t.Context()))
		must(t, s.Close())
		s, err = openByHand(f, Options{OpenSegments: most})
		must(t, err)
		if err := readsAll(s, ids); err != nil {
			t.Errorf("opened again: %v", err)
		}
		must(t, s.Close())
	}
}

// TestNoDescriptor takes every descriptor away for a while: what needs one answers
// an error that says so, what needs none goes on, nothing is damaged or failed, and
// everything works again afterwards.
func TestNoDescriptor(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	f := crashfs.New(1)
	s, err := openByHand(f, Options{LargeContent: 1000, SegmentSize: 8 << 10})
	must(t, err)
	large, err := putSize(s, "large.example", 2000)
	must(t, err)
	ids := segmentsOfOne(t, s, 40)
	content, err := s.Open(ctx, large)
	must(t, err)
	c, err := s.Claim(ctx, now, queue.ClaimOptions{Destinations: []string{"large.example"}})
	must(t, err)

	none := func(op crashfs.Op, _ string) error {
		if op == crashfs.OpOpen || op == crashfs.OpCreate || op == crashfs.OpList {
			return syscall.EMFILE
		}
		return nil
	}
	f.Inject(none)
	if _, err := content.Open(); !errors.Is(err, syscall.EMFILE) || errors.Is(err, queue.ErrDamaged) {
		t.Errorf("Open of a large content = %v, want EMFILE", err)
	}
	if _, err := putSize(s, "x.example", 2000); !errors.Is(err, syscall.EMFILE) || errors.Is(err, ErrFailed) {
		t.Errorf("Put of a large content = %v, want EMFILE", err)
	}
	for range 100 { // more than a segment takes
		id, err := putSize(s, "x.example", 500)
		if err != nil {
			t.Fatalf("Put of a small message = %v", err)
		}
		ids = append(ids, id)
	}
	done, err := s.Settle(ctx, now, []queue.Settlement{{Lease: c.Deliveries[0].Lease,
		Results: []queue.Result{{Outcome: queue.Deferred}}}})
	if err != nil || done[0].Err != nil {
		t.Errorf("Settle = %v, %v", done, err)
	}
	for range 3 {
		got, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 1000})
		switch {
		case len(got.Unreadable) > 0:
			t.Errorf("unreadable for want of a descriptor: %v", got.Unreadable[0].Err)
		case err == nil && len(got.Deliveries) == 0:
			t.Error("Claim found nothing and says nothing")
		case err == nil && got.Next.After(now):
			t.Errorf("there is more, and Next is %v", got.Next)
		case err != nil && !errors.Is(err, syscall.EMFILE):
			t.Errorf("Claim = %v, want EMFILE", err)
		}
		for _, d := range got.Deliveries {
			_, err := s.Extend(ctx, now, []queue.Lease{d.Lease}, 0)
			must(t, err)
		}
	}
	if err := s.maintain(ctx); errors.Is(err, ErrFailed) {
		t.Errorf("maintenance = %v", err)
	}

	f.Inject(nil)
	if err := readsAll(s, append(ids, large)); err != nil {
		t.Error(err)
	}
	if _, err := putSize(s, "x.example", 2000); err != nil {
		t.Errorf("Put of a large content when there are descriptors again = %v", err)
	}
	segmentsOfOne(t, s, 2)
	must(t, s.maintain(ctx))
	must(t, s.Close())
}

// TestSmallSegmentsMerge is many programs that put one message each: how many
// segments there are grows as the logarithm of how many there were, and so does how
// often a message is moved.
func TestSmallSegmentsMerge(t *testing.T) {
	const openings = 200
	dir := t.TempDir()
	most, sizes := 0, int64(0)
	var ids []string
	for range openings {
		s, err := Open(dir, Options{})
		must(t, err)
		ids = append(ids, mustPut(t, s))
		must(t, s.Close())
		most = max(most, segmentFiles(t, vfs.OS(dir)))
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	for _, f := range files {
		info, err := os.Stat(f)
		must(t, err)
		sizes += info.Size()
	}
	s, err := Open(dir, Options{})
	must(t, err)
	defer s.Close()
	if err := readsAll(s, ids); err != nil {
		t.Error(err)
	}
	if most > 40 {
		t.Errorf("%d segments at a time after %d openings", most, openings)
	}
	if moved := s.nextSegment; moved > 2*openings {
		t.Errorf("%d segments were begun for %d openings", moved, openings)
	}
	t.Logf("at most %d segments, %d bytes in the end", most, sizes)
}
