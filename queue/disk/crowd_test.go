package disk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// TestCrowd has several owners of messages use every method of one spool at
// once, beside its own maintenance and with a clock that steps both ways, until
// the machine or the program ends; then they compare, and go on for several
// generations. Each seed is on another kind of device.
//
// NEXTHOP_CROWD is how many seeds are run, NEXTHOP_CROWD_FIRST the first,
// NEXTHOP_CROWD_ONLY the name of the one kind of device that is to have any.
func TestCrowd(t *testing.T) {
	collectLess(t)
	seeds := number("NEXTHOP_CROWD", seeds(112, 200_000))
	first := number("NEXTHOP_CROWD_FIRST", 0)
	var group sync.WaitGroup
	var next atomic.Uint64
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for n := next.Add(1) - 1; n < seeds && !t.Failed(); n = next.Add(1) - 1 {
				seed := first + n
				trouble := troubles[seed%uint64(len(troubles))]
				if only := os.Getenv("NEXTHOP_CROWD_ONLY"); only != "" && only != trouble.name {
					continue
				}
				if err := newCrowd(seed, trouble).run(); err != nil {
					t.Errorf("seed %d (%s): %v", seed, trouble.name, err)
				}
			}
		})
	}
	group.Wait()
}

func number(env string, otherwise uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv(env), 10, 64); err == nil {
		return n
	}
	return otherwise
}

// trouble is what goes wrong on a device beside power cuts.
type trouble struct {
	name   string
	ops    []crashfs.Op // fail now and then
	cause  error        // with this
	device func(rng *rand.Rand) crashfs.Device
}

var troubles = []trouble{
	{name: "power cuts alone"},
	{name: "no room to write now and then", ops: []crashfs.Op{crashfs.OpWrite}, cause: syscall.ENOSPC},
	{name: "no room for files now and then", ops: []crashfs.Op{crashfs.OpCreate}, cause: syscall.ENOSPC},
	{name: "no room for either", ops: []crashfs.Op{crashfs.OpWrite, crashfs.OpCreate}, cause: syscall.EDQUOT},
	{name: "a small device", cause: syscall.ENOSPC, device: func(rng *rand.Rand) crashfs.Device {
		return crashfs.Device{Room: 40<<10 + rng.Int64N(160<<10)}
	}},
	{name: "a small device that copies on write", cause: syscall.ENOSPC, device: func(rng *rand.Rand) crashfs.Device {
		return crashfs.Device{Room: 60<<10 + rng.Int64N(160<<10), CopyOnWrite: true}
	}},
	{name: "no room at a sync", ops: []crashfs.Op{crashfs.OpSync}, cause: syscall.ENOSPC},
	{name: "no descriptors now and then", cause: syscall.EMFILE,
		ops: []crashfs.Op{crashfs.OpCreate, crashfs.OpOpen, crashfs.OpList}},
	{name: "a device that fails to sync", ops: []crashfs.Op{crashfs.OpSync}, cause: syscall.EIO},
	{name: "a directory that fails to sync", ops: []crashfs.Op{crashfs.OpSyncDir}, cause: syscall.EIO},
	{name: "writes that fail", ops: []crashfs.Op{crashfs.OpWrite}, cause: syscall.EIO},
	{name: "reads that fail", ops: []crashfs.Op{crashfs.OpRead}, cause: syscall.EIO},
	{name: "removals that fail", ops: []crashfs.Op{crashfs.OpRemove}, cause: syscall.EROFS},
	{name: "open files that cannot be removed", device: func(*rand.Rand) crashfs.Device {
		return crashfs.Device{KeepsOpen: true}
	}},
}

// crowd is the owners and the device.
type crowd struct {
	rng     *rand.Rand
	fs      *crashfs.FS
	device  crashfs.Device
	trouble trouble
	owners  []*owner
	reader  follower
}

func newCrowd(seed uint64, tr trouble) *crowd {
	c := &crowd{rng: rand.New(rand.NewPCG(seed, 9)), fs: crashfs.New(seed), trouble: tr}
	var d crashfs.Device
	if tr.device != nil {
		d = tr.device(c.rng)
	}
	if c.rng.IntN(3) == 0 && !vfsFull(tr.cause) { // without room sectors are shared at times
		d.Shears = 512
	}
	c.device = d
	c.fs.SetDevice(d)
	c.reader = follower{heard: map[string]bool{}, lossy: loses(tr.cause, tr.ops...)}
	for i := range 6 {
		w := newOwner(fmt.Sprint("o", i), rand.New(rand.NewPCG(seed, uint64(i))), tr.cause)
		w.keys = !vfsFull(tr.cause) && tr.cause != syscall.EMFILE // else they may not be saved
		w.unsure = slices.Contains(tr.ops, crashfs.OpSync) && tr.cause == syscall.ENOSPC
		c.owners = append(c.owners, w)
	}
	return c
}

func (c *crowd) run() error {
	for generation := range 4 {
		if err := c.generation(); err != nil {
			return fmt.Errorf("generation %d: %w", generation, err)
		}
	}
	return nil
}

func (c *crowd) generation() error {
	o := Options{SegmentSize: 16 << 10, LargeContent: 2 << 10, KeepKeys: 1e6 * time.Hour, KeepOutcomes: 1e6 * time.Hour, sector: 512}
	for range c.rng.IntN(3) { // openings that are cut
		c.fs.CutAt(1 + c.rng.IntN(12))
		s, err := open(c.fs, o)
		if err != nil && !errors.Is(err, crashfs.ErrPowerCut) {
			return fmt.Errorf("open: %w", err)
		}
		c.fs = c.fs.Restart()
		if err == nil {
			_ = s.Close()
		}
	}
	s, err := open(c.fs, o)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if len(s.problems) > 0 {
		return fmt.Errorf("a power cut is no damage: %v", s.problems)
	}
	if s.tail != nil { // what is shown is not saved before there is room
		more := c.device
		more.Room *= 2
		c.fs.SetDevice(more)
		if err := s.save(); err != nil || s.tail != nil {
			return fmt.Errorf("saving the end of the log when there is room: %w", err)
		}
		c.fs.SetDevice(c.device)
	}
	for _, w := range c.owners {
		if err := w.compare(s); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	if err := c.reader.read(s, 0); err != nil {
		return fmt.Errorf("outcomes: %w", err)
	}
	for _, w := range c.owners {
		if err := c.reader.compare(s, w); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	c.fs.CutAt(c.fs.Writes() + 20 + c.rng.IntN(600))
	c.inject()
	errs := make([]error, len(c.owners))
	var group, upkeep sync.WaitGroup
	stop := make(chan struct{})
	if c.rng.IntN(2) == 0 {
		s.mu.Lock()
		s.byHand = true
		s.mu.Unlock()
		rng := rand.New(rand.NewPCG(c.rng.Uint64(), 1))
		upkeep.Go(func() { c.keepUp(s, rng, stop) })
	}
	for i, w := range c.owners {
		group.Go(func() {
			for n := 0; n < 300 && errs[i] == nil; n++ {
				errs[i] = w.step(s)
			}
		})
	}
	var learns error
	upkeep.Go(func() { learns = c.reader.follow(s, c.owners[0].tell, stop) })
	group.Wait()
	close(stop)
	upkeep.Wait()
	for i, err := range append([]error{learns}, errs...) {
		if err != nil && !errors.Is(err, crashfs.ErrPowerCut) && !errors.Is(err, ErrFailed) {
			return fmt.Errorf("%d: %w", i, err)
		}
	}
	if c.rng.IntN(4) == 0 { // the program ends, and the machine does not
		c.fs = c.fs.Kill()
		_ = s.Close()
		return nil
	}
	_ = s.Close()
	c.fs = c.fs.Restart()
	return nil
}

// keepUp does maintenance all the time, due or not, and gives up any segment,
// whatever is in it.
func (c *crowd) keepUp(s *Spool, rng *rand.Rand, stop chan struct{}) {
	ctx := context.Background()
	for {
		select {
		case <-stop:
			return
		default:
		}
		var err error
		switch rng.IntN(5) {
		case 0:
			err = s.maintain(ctx)
		case 1:
			s.maintenance <- struct{}{}
			err = s.takeCheckpoint(ctx)
			<-s.maintenance
		case 2:
			err = s.save()
		default:
			var list []*segment
			s.maintenance <- struct{}{}
			s.mu.Lock()
			for _, g := range s.segments.list {
				if g != nil && g != s.current && len(g.from) == 0 && !g.broken {
					list = append(list, g)
				}
			}
			s.mu.Unlock()
			if len(list) > 0 {
				err = s.compact(ctx, list[rng.IntN(len(list))])
			}
			<-s.maintenance
		}
		if errors.Is(err, crashfs.ErrPowerCut) || errors.Is(err, ErrFailed) {
			return
		}
		runtime.Gosched()
	}
}

// inject has some operations fail, each kind once in so many.
func (c *crowd) inject() {
	if len(c.trouble.ops) == 0 {
		return
	}
	op, every, n := c.trouble.ops[c.rng.IntN(len(c.trouble.ops))], 3+c.rng.IntN(30), 0
	c.fs.Inject(func(o crashfs.Op, _ string) error {
		if o != op {
			return nil
		}
		if n++; n%every == 0 {
			return c.trouble.cause
		}
		return nil
	})
}

// refused reports whether an error says that nothing of a call was done, for the
// trouble there is.
func (w *owner) refused(err error) bool {
	switch {
	case err == nil, errors.Is(err, crashfs.ErrPowerCut), errors.Is(err, ErrFailed):
		return false
	}
	return w.cause != nil && errors.Is(err, w.cause) || vfsFull(w.cause) && errors.Is(err, queue.ErrFull)
}

func vfsFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
