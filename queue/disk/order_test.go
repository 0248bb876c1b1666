package disk

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// behindASync runs the calls one after the other into one batch: each is in line
// before the next begins, and the device is busy until all are.
func behindASync(t *testing.T, fs *crashfs.FS, s *Spool, calls ...func()) {
	t.Helper()
	saving, goOn := make(chan struct{}), make(chan struct{})
	var busy atomic.Bool
	fs.Meanwhile(func() {
		if busy.CompareAndSwap(false, true) {
			close(saving)
			<-goOn
		}
	})
	var group sync.WaitGroup
	group.Go(func() { mustPut(t, s) })
	<-saving
	for i, call := range calls {
		group.Go(call)
		for inLine(s) <= i {
			runtime.Gosched()
		}
	}
	close(goOn)
	group.Wait()
}

func openSmall(t *testing.T) (*crashfs.FS, *Spool) {
	t.Helper()
	fs := crashfs.New(1)
	s, err := openByHand(fs, Options{})
	must(t, err)
	return fs, s
}

// TestFlushOfWhatIsBeingHeld has a message put on hold and flushed in one batch. The
// one that is first in line counts first: a message that was flushed before it was
// put on hold is due when the hold ends, also after a restart, and no other is.
func TestFlushOfWhatIsBeingHeld(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, flushFirst := range []bool{true, false} {
		fs, s := openSmall(t)
		m := &queue.Message{NotBefore: now.Add(time.Hour), Content: queue.String("text"),
			Recipients: []queue.Recipient{{Address: "a@later.example"}}}
		id, err := s.Put(ctx, now, m)
		must(t, err)
		flushed := 0
		hold := func() { must(t, s.Hold(ctx, id)) }
		flush := func() {
			n, err := s.Flush(ctx, now, queue.Selection{Message: id})
			must(t, err)
			flushed = n
		}
		if flushFirst {
			behindASync(t, fs, s, flush, hold)
		} else {
			behindASync(t, fs, s, hold, flush)
		}
		want := map[bool]int{true: 1}[flushFirst]
		if flushed > want { // by the time it is counted, it may be on hold
			t.Errorf("flushed first %v: %d flushed, want %d", flushFirst, flushed, want)
		}
		due := func(s *Spool) int {
			e, err := s.Show(ctx, id)
			must(t, err)
			if e.Waiting[0].Next.IsZero() {
				return 1
			}
			return 0
		}
		must(t, s.Release(ctx, id))
		if n := due(s); n != want {
			t.Errorf("flushed first %v: %d deliveries due, want %d", flushFirst, n, want)
		}
		s, err = openByHand(fs.Kill(), Options{})
		must(t, err)
		if n := due(s); n != want {
			t.Errorf("flushed first %v: %d deliveries due after a restart, want %d", flushFirst, n, want)
		}
		must(t, s.Close())
	}
}

// TestPostponeWhileItsSegmentIsGivenUp has a destination postponed anew, before
// and after what its old record says is moved: the new one counts, and does so
// after a restart too.
func TestPostponeWhileItsSegmentIsGivenUp(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	const name = "slow.example"
	for _, first := range []bool{true, false} {
		fs, s := openSmall(t)
		m := &queue.Message{Content: queue.String("text"), Recipients: []queue.Recipient{{Address: "a@" + name}}}
		_, err := s.Put(ctx, now, m)
		must(t, err)
		must(t, s.Postpone(ctx, now, queue.Postponement{Destination: name, Until: now.Add(time.Hour)}))
		old := s.current
		s.rollNow = true
		mustPut(t, s)
		must(t, s.takeCheckpoint(ctx)) // or compact would begin with it
		postpone := func() {
			must(t, s.Postpone(ctx, now, queue.Postponement{Destination: name, Until: now.Add(2 * time.Hour)}))
		}
		compact := func() { must(t, s.compact(ctx, old)) }
		if first {
			behindASync(t, fs, s, postpone, compact)
		} else {
			behindASync(t, fs, s, compact, postpone)
		}
		until := func(s *Spool) time.Time {
			c, err := s.Claim(ctx, now, queue.ClaimOptions{Destinations: []string{name}})
			must(t, err)
			return c.Next
		}
		if got := until(s); !got.Equal(now.Add(2 * time.Hour)) {
			t.Errorf("postponed first %v: postponed until %v, want %v", first, got, now.Add(2*time.Hour))
		}
		must(t, s.Close())
		must(t, withoutCheckpoints(fs))
		s, err = openByHand(fs, Options{})
		must(t, err)
		if got := until(s); !got.Equal(now.Add(2 * time.Hour)) {
			t.Errorf("postponed first %v: postponed until %v after a restart, want %v", first, got, now.Add(2*time.Hour))
		}
		must(t, s.Close())
	}
}

// TestCompactionBesideAPostponement moves what a segment says of a destination while
// another postponement of that is in line: the later one counts, also after a restart.
func TestCompactionBesideAPostponement(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, lifted := range []bool{false, true} {
		fs, s := openSmall(t)
		const name = "one.example"
		mustPut(t, s)
		must(t, s.Postpone(ctx, now, queue.Postponement{Destination: name, Until: now.Add(time.Hour)}))
		must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "two.example", Until: now.Add(time.Hour)}))
		old := s.current
		s.rollNow = true
		mustPut(t, s)
		second := queue.Postponement{Destination: name, Until: now.Add(2 * time.Hour)}
		if lifted {
			second.Until = time.Time{}
		}
		behindASync(t, fs, s,
			func() { must(t, s.Postpone(ctx, now, second)) },
			func() { must(t, s.compact(ctx, old)) },
		)
		if s.segments.byNumber[old.number] != nil {
			t.Errorf("the segment is still in use")
		}
		must(t, s.save())
		for _, when := range []string{"before", "after"} {
			until, _ := s.index.Postponed(name)
			other, _ := s.index.Postponed("two.example")
			if !until.Equal(second.Until) || !other.Equal(now.Add(time.Hour)) {
				t.Errorf("%s a restart it is postponed until %v, want %v, and the other until %v", when, until.UTC(), second.Until.UTC(), other.UTC())
			}
			var err error
			s, err = openByHand(fs.Restart(), Options{})
			must(t, err)
		}
	}
}

// TestPostponeBehindAFlush has a destination postponed and flushed in one batch that is
// saved, which the postponement need not be. The one that is later in the log counts,
// at once and after a restart: the index follows the log, not the order in which who
// waits is answered. Where the device says at the sync that there is no room, what need
// not be saved is written anew before the rest, and the index follows that too.
func TestPostponeBehindAFlush(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	const name = "slow.example"
	for _, of := range []struct {
		what       string
		flushFirst bool
		full       bool // the first sync of the batch finds no room
		again      bool // it is postponed already
		postponed  time.Time
		want       time.Time
	}{
		{what: "flushed first", flushFirst: true, postponed: now.Add(2 * time.Hour), want: now.Add(2 * time.Hour), again: true},
		{what: "flushed first, not postponed before", flushFirst: true, postponed: now.Add(2 * time.Hour), want: now.Add(2 * time.Hour)},
		{what: "flushed first, then lifted", flushFirst: true, again: true},
		{what: "postponed first", postponed: now.Add(2 * time.Hour), again: true},
		{what: "flushed first, no room at the sync", flushFirst: true, postponed: now.Add(2 * time.Hour), again: true, full: true},
		{what: "postponed first, no room at the sync", postponed: now.Add(2 * time.Hour), again: true, full: true},
	} {
		for _, what := range []queue.Selection{{}, {Destination: name}} {
			fs, s := openSmall(t)
			_, err := s.Put(ctx, now, &queue.Message{NotBefore: now.Add(time.Hour), Content: queue.String("text"),
				Recipients: []queue.Recipient{{Address: "a@" + name}}})
			must(t, err)
			if of.again {
				must(t, s.Postpone(ctx, now, queue.Postponement{Destination: name, Until: now.Add(3 * time.Hour)}))
			}
			must(t, s.save())
			calls := []func(){
				func() { mustPut(t, s) }, // so that the batch is saved
				func() {
					_, err := s.Flush(ctx, now, what)
					must(t, err)
				},
				func() { must(t, s.Postpone(ctx, now, queue.Postponement{Destination: name, Until: of.postponed})) },
			}
			if !of.flushFirst {
				calls[1], calls[2] = calls[2], calls[1]
			}
			if of.full {
				syncs := 0
				fs.Inject(func(op crashfs.Op, _ string) error {
					if op == crashfs.OpSync {
						if syncs++; syncs == 2 { // the first is of what the batch waits behind
							return syscall.ENOSPC
						}
					}
					return nil
				})
			}
			behindASync(t, fs, s, calls...)
			fs.Inject(nil)
			if wrote := s.mends > 0; wrote != of.full {
				t.Errorf("%s, %+v: the batch was written anew: %v", of.what, what, wrote)
			}
			before, _ := s.index.Postponed(name)
			if !of.full && !before.Equal(of.want) {
				t.Errorf("%s, %+v: postponed until %v, want %v", of.what, what, before.UTC(), of.want.UTC())
			}
			must(t, s.save())
			s, err = openByHand(fs.Kill(), Options{})
			must(t, err)
			if after, _ := s.index.Postponed(name); !after.Equal(before) {
				t.Errorf("%s, %+v: postponed until %v, and after a restart until %v", of.what, what, before.UTC(), after.UTC())
			}
			must(t, s.Close())
		}
	}
}
