package disk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// TestPowerCutInACrowd has many goroutines use a spool at once, with its own
// maintenance, when the power fails.
func TestPowerCutInACrowd(t *testing.T) {
	seeds := uint64(100)
	if long() {
		seeds = 3000
	}
	for seed := range seeds {
		if err := crowd(seed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// told is what the goroutines of a crowd were told.
type told struct {
	mu      sync.Mutex
	content map[string]string // of what was put
	settled map[string]bool   // and a later Put of the same goroutine was answered
	perhaps map[string]bool   // settlements that may or may not be on the disk
}

func crowd(seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 3))
	fs := crashfs.New(seed)
	s, err := open(fs, small())
	if err != nil {
		return err
	}
	fs.CutAt(fs.Writes() + 1 + rng.IntN(300))
	all := &told{content: map[string]string{}, settled: map[string]bool{}, perhaps: map[string]bool{}}
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() { errs[w] = all.use(s, fmt.Sprint(w)) })
	}
	wg.Wait()
	for _, err := range errs {
		if !errors.Is(err, crashfs.ErrPowerCut) {
			return err
		}
	}
	_ = s.Close()
	fs = fs.Restart()
	if s, err = open(fs, small()); err != nil {
		return err
	}
	defer s.Close()
	if len(s.problems) > 0 {
		return fmt.Errorf("a power cut is no damage: %v", s.problems)
	}
	for id, want := range all.content {
		text, err := readContent(s, id)
		gone := errors.Is(err, queue.ErrNotFound)
		switch {
		case all.settled[id] && !gone:
			return fmt.Errorf("%s was settled, saved, and is there: %v", id, err)
		case gone && (all.settled[id] || all.perhaps[id]):
		case err != nil || text != want:
			return fmt.Errorf("%s was put and is not there as it was: %d bytes, %w", id, len(text), err)
		}
	}
	return nil
}

// use puts, claims and settles until the power fails.
func (all *told) use(s *Spool, name string) error {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	var before []string // settled since the last Put
	for n := 0; ; n++ {
		text := strings.Repeat(fmt.Sprint(name, "-", n, "\n"), []int{1, 100, 1000}[n%3])
		id, err := s.Put(ctx, now, &queue.Message{Content: queue.String(text),
			Recipients: []queue.Recipient{{Address: "a@d" + name + ".example"}}})
		if err != nil {
			return err
		}
		all.mu.Lock()
		all.content[id] = text
		for _, id := range before {
			all.settled[id] = true
		}
		all.mu.Unlock()
		before = before[:0]
		c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: n % 3})
		if err != nil {
			return err
		}
		var batch []queue.Settlement
		all.mu.Lock()
		for _, d := range c.Deliveries {
			all.perhaps[d.Lease.Message] = true
			batch = append(batch, queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Outcome: queue.Delivered}}})
		}
		all.mu.Unlock()
		done, err := s.Settle(ctx, now, batch)
		if err != nil {
			return err
		}
		for i, d := range done {
			if d.Err != nil {
				return d.Err
			}
			before = append(before, batch[i].Lease.Message)
		}
	}
}
