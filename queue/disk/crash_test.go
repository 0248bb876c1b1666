package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// long is for what takes too long for every run.
func long() bool { return os.Getenv("NEXTHOP_LONG") != "" }

// seeds is how many seeds a test of random use has. NEXTHOP_SEEDS may make it fewer,
// for who runs the tests again and again.
func seeds(usual, most uint64) uint64 {
	if long() {
		usual = most
	}
	return min(usual, number("NEXTHOP_SEEDS", usual))
}

// TestPowerCut uses a spool at random, cuts the power at a random write, opens
// what is left, compares it with what was acknowledged, and goes on with that,
// the opening itself being cut too, for several generations a seed.
func TestPowerCut(t *testing.T) {
	collectLess(t)
	seeds := seeds(500, 10_000)
	var wg sync.WaitGroup
	next := make(chan uint64)
	for range 2 {
		wg.Go(func() {
			for seed := range next {
				if t.Failed() {
					continue
				}
				if err := powerCuts(seed); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
		})
	}
	for seed := range seeds {
		next <- seed
	}
	close(next)
	wg.Wait()
}

// TestPowerCutOfOldSeeds has the seeds that once found a fault of the spool or of the model:
// keys or outcomes written over, a flush that is found without the one before, or a torn file of
// keys that is found beside later ones.
func TestPowerCutOfOldSeeds(t *testing.T) {
	for _, seed := range []uint64{565, 585, 1951, 2025, 3977, 4537, 6809, 7649, 1297, 1696, 3338, 3526} {
		if err := powerCuts(seed); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

func powerCuts(seed uint64) error {
	l := newLife(seed, small())
	if seed%3 == 1 {
		l.o.SegmentSize = 4 << 10
	}
	if seed%2 == 1 {
		l.fs.SetDevice(crashfs.Device{Shears: l.o.sector})
	}
	if err := l.open(); err != nil {
		return err
	}
	for generation := range 4 {
		l.fs.CutAt(l.fs.Writes() + 1 + l.rng.IntN(120))
		for {
			err := l.step()
			if errors.Is(err, crashfs.ErrPowerCut) {
				break
			}
			if err != nil {
				return fmt.Errorf("generation %d: %w", generation, err)
			}
		}
		l.fs = l.fs.Restart()
		if err := l.reopen(); err != nil {
			return fmt.Errorf("generation %d: %w", generation, err)
		}
	}
	return nil
}

// reopen opens what a power cut has left, with more of them while it does so,
// and compares.
func (l *life) reopen() error {
	for range l.rng.IntN(3) {
		l.fs.CutAt(1 + l.rng.IntN(6))
		_, err := openByHand(l.fs, l.o)
		if err != nil && !errors.Is(err, crashfs.ErrPowerCut) {
			return fmt.Errorf("open: %w", err)
		}
		l.fs = l.fs.Restart()
	}
	l.fs.CutAt(0)
	if err := l.open(); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if err := l.compare(); err != nil {
		return err
	}
	return l.compareWithoutCheckpoint()
}

// TestPowerCutEverywhere lives through the same again and again, with the power
// cut at the first write, at the second, and so on to the last.
func TestPowerCutEverywhere(t *testing.T) {
	collectLess(t)
	const about = 600 // cuts there are
	last, step := 0, 1+int((about-1)/seeds(about, about))
	for cut := 1; ; cut += step {
		l := newLife(42, small())
		l.fs.CutAt(cut)
		err := l.open()
		for step := 0; err == nil && step < 250; step++ {
			err = l.step()
		}
		if err == nil {
			break
		}
		if !errors.Is(err, crashfs.ErrPowerCut) {
			t.Fatalf("cut at write %d: %v", cut, err)
		}
		last = cut
		l.fs = l.fs.Restart()
		if err := l.reopen(); err != nil {
			t.Fatalf("cut at write %d: %v", cut, err)
		}
	}
	if last < 100 {
		t.Errorf("only %d writes were cut", last)
	}
}

// TestHalfACompaction has a compaction cut off when one of two messages has been
// moved, so that the old copy is still in use. The message is delivered, and what
// can be given up is: the delivered message must not come back by its old copy.
func TestHalfACompaction(t *testing.T) {
	ctx := context.Background()
	l := newLife(7, small())
	must(t, l.open())
	moved := mustPut(t, l.s)
	stays := mustPut(t, l.s)
	must(t, l.s.Hold(ctx, stays))
	l.s.rollNow = true
	mustPut(t, l.s)
	moveOne(t, l.s, moved)
	l.fs = l.fs.Kill()
	must(t, l.open())

	deliverAll(t, l.s)
	last := l.s.current
	l.s.rollNow = true
	mustPut(t, l.s)
	must(t, l.s.maintain(ctx))
	must(t, l.s.compact(ctx, last)) // it has the end of the moved message
	must(t, l.s.save())
	l.fs = l.fs.Restart()
	must(t, withoutCheckpoints(l.fs))
	must(t, l.open())
	if _, err := l.s.Show(ctx, moved); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("the message that was delivered: %v, want ErrNotFound", err)
	}
	if _, err := l.s.Show(ctx, stays); err != nil {
		t.Errorf("the message on hold: %v", err)
	}
}

// moveOne moves one message out of the first segment, as a compaction does that
// gets no further.
func moveOne(t *testing.T, s *Spool, id string) {
	t.Helper()
	g := s.segments.byNumber[1]
	c := &compaction{s: s, g: g, ctx: context.Background(), slots: map[index.Slot]bool{}}
	number, _ := parseID(id)
	scan := record.NewScanner(g.file, g.size, g.salt, record.HeaderSize)
	for scan.Next() {
		if m, err := record.ParseMessage(scan.Frame().Head); err == nil && m.ID == number {
			must(t, c.message(uint32(scan.Offset()), &m))
		}
	}
	must(t, c.flush())
}

func mustPut(t *testing.T, s *Spool) string {
	t.Helper()
	id, err := s.Put(context.Background(), time.Unix(1e9, 0), &queue.Message{
		Recipients: []queue.Recipient{{Address: "a@example.com"}}, Content: queue.String("hello")})
	must(t, err)
	return id
}

func deliverAll(t *testing.T, s *Spool) {
	t.Helper()
	c, err := s.Claim(context.Background(), time.Unix(1e9, 0), queue.ClaimOptions{})
	must(t, err)
	for _, d := range c.Deliveries {
		_, err := s.Settle(context.Background(), time.Unix(1e9, 0), []queue.Settlement{{Lease: d.Lease,
			Results: []queue.Result{{Outcome: queue.Delivered}}}})
		must(t, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
