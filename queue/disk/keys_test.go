package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/keys"
)

// TestKeysOutliveTheLog: keys of messages that have left are known when the
// segments that spoke of them are gone, after a power cut, and without a checkpoint.
func TestKeysOutliveTheLog(t *testing.T) {
	now := time.Unix(1e9, 0)
	fs := crashfs.New(1)
	o := small()
	s, err := openByHand(fs, o)
	must(t, err)
	keyed := func(i int) *queue.Message {
		return &queue.Message{
			Key: fmt.Sprint("key ", i), Content: queue.String("text"),
			Recipients: []queue.Recipient{{Address: "a@b.example"}},
		}
	}
	known := func(when string, ids []string) {
		t.Helper()
		for i, want := range ids {
			if id, err := s.Put(t.Context(), now, keyed(i)); !errors.Is(err, queue.ErrDuplicate) || id != want {
				t.Fatalf("%s: Put of key %d = %q, %v, want %q and ErrDuplicate", when, i, id, err, want)
			}
		}
	}
	var ids []string
	for round := range 4 {
		for range 150 {
			id, err := s.Put(t.Context(), now, keyed(len(ids)))
			must(t, err)
			ids = append(ids, id)
			c, err := s.Claim(t.Context(), now, queue.ClaimOptions{})
			must(t, err)
			for _, d := range c.Deliveries {
				_, err := s.Settle(t.Context(), now, []queue.Settlement{{Lease: d.Lease, Results: []queue.Result{
					{Recipient: d.States[0].Index, Outcome: queue.Delivered},
				}}})
				must(t, err)
			}
		}
		must(t, s.save())
		s.mu.Lock()
		before := len(s.segments.byNumber)
		s.mu.Unlock()
		must(t, s.maintain(t.Context()))
		s.mu.Lock()
		after := len(s.segments.byNumber)
		s.mu.Unlock()
		if after >= before {
			t.Fatalf("%d segments of %d are left: the test means to have them go", after, before)
		}
		if round%2 == 0 {
			fs = fs.Restart()
			_ = s.Close() // its disk is gone
		} else {
			must(t, s.Close())
			must(t, withoutCheckpoints(fs))
		}
		s, err = openByHand(fs, o)
		must(t, err)
		known(fmt.Sprint("round ", round), ids)
	}
	if n, err := s.CountKeys(t.Context()); err != nil || n.Remembered != len(ids) {
		t.Errorf("CountKeys = %+v, %v, want each of %d once", n, err, len(ids))
	}
	must(t, s.Close())
}

// TestKeysAfterASyncThatFailed has the file of the keys shown by a device that has
// not saved it, and the log go that had them too: they are known after a power cut.
func TestKeysAfterASyncThatFailed(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	for seed := range uint64(60) {
		fs := crashfs.New(seed)
		s, err := openByHand(fs, small())
		must(t, err)
		m := textMessage("text")
		m.Key = "key"
		id, err := s.Put(ctx, now, m)
		must(t, err)
		deliverAll(t, s)
		fs.Inject(func(op crashfs.Op, name string) error {
			if op == crashfs.OpSync && strings.HasPrefix(name, keysPrefix) {
				return syscall.EIO
			}
			return nil
		})
		if err := s.takeCheckpoint(ctx); !errors.Is(err, ErrFailed) {
			t.Fatalf("a checkpoint whose keys cannot be saved = %v", err)
		}
		fs = fs.Kill()
		s, err = openByHand(fs, small())
		must(t, err)
		mustPut(t, s)
		must(t, s.takeCheckpoint(ctx))
		s.mu.Lock()
		old := s.segments.byNumber[1]
		s.mu.Unlock()
		must(t, s.compact(ctx, old))
		s, err = openByHand(fs.Restart(), small())
		must(t, err)
		if got, err := s.Put(ctx, now, m); !errors.Is(err, queue.ErrDuplicate) || got != id {
			t.Fatalf("seed %d: Put with the key again = %q, %v, want %q and ErrDuplicate", seed, got, err, id)
		}
	}
}

// TestDamageToTheKeysOfWhatHasLeft has a sector of their file that cannot be read:
// the others are known, Check and Dump name it, and mail goes on.
func TestDamageToTheKeysOfWhatHasLeft(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	ids := map[string]string{}
	for i := range 8 {
		m := textMessage("text")
		m.Key = fmt.Sprint("key ", i)
		ids[m.Key], err = s.Put(ctx, now, m)
		must(t, err)
		deliverAll(t, s)
		must(t, s.takeCheckpoint(ctx)) // each in a sector of its own
	}
	must(t, s.Close())
	name := fileName(keysPrefix, 1)
	fs.Spoil(name, 2048, 2560)
	problems, err := check(fs)
	must(t, err)
	if len(problems) != 1 || problems[0].File != name {
		t.Errorf("Check says %v, want a problem of %s", problems, name)
	}
	var out strings.Builder
	if err := dump(fs, &out); err != nil || !strings.Contains(out.String(), "keys of 1 messages") || !strings.Contains(out.String(), syscall.EIO.Error()) {
		t.Errorf("Dump = %v, and shows neither the keys nor the damage, or not both", err)
	}
	s, err = openByHand(fs, small())
	must(t, err)
	known := 0
	for key, id := range ids {
		m := textMessage("text")
		m.Key = key
		switch got, err := s.Put(ctx, now, m); {
		case errors.Is(err, queue.ErrDuplicate) && got == id:
			known++
		case err != nil:
			t.Errorf("Put with %s = %q, %v", key, got, err)
		}
	}
	if known < 6 || known == 8 {
		t.Errorf("%d of 8 keys are known beside a bad sector, want all but one or two", known)
	}
	must(t, s.Close())
}

// TestKeyOfWhatEndedBeforeItsLogWent has a message to two destinations in a
// checkpoint, and then the record that one of them has ended go with its segment:
// when the other ends, the message has left, and its key is known.
func TestKeyOfWhatEndedBeforeItsLogWent(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	fs := crashfs.New(1)
	s, err := openByHand(fs, small())
	must(t, err)
	m := textMessage("text")
	m.Key = "key"
	m.Recipients = []queue.Recipient{{Address: "a@a.example"}, {Address: "b@b.example"}}
	id, err := s.Put(ctx, now, m)
	must(t, err)
	must(t, s.takeCheckpoint(ctx))
	settle := func(destination string) {
		c, err := s.Claim(ctx, now, queue.ClaimOptions{Destinations: []string{destination}})
		must(t, err)
		d := c.Deliveries[0]
		_, err = s.Settle(ctx, now, []queue.Settlement{{Lease: d.Lease,
			Results: []queue.Result{{Recipient: d.States[0].Index, Outcome: queue.Delivered}}}})
		must(t, err)
		must(t, s.save())
	}
	first := s.current
	s.rollNow = true
	mustPut(t, s)
	settle("a.example")
	second := s.current
	s.rollNow = true
	mustPut(t, s)
	must(t, s.compact(ctx, first))
	must(t, s.compact(ctx, second))
	settle("b.example")
	for range 2 {
		s, err = openByHand(fs.Kill(), small())
		must(t, err)
		if got, err := s.Put(ctx, now, m); !errors.Is(err, queue.ErrDuplicate) || got != id {
			t.Fatalf("Put with the key again = %q, %v, want %q and ErrDuplicate", got, err, id)
		}
	}
	fs = fs.Kill()
	s, err = openByHand(fs, small())
	must(t, err)
	later := now.Add(2 * DefaultKeepKeys)
	next, err := s.Put(ctx, later, m)
	must(t, err)
	for range 2 {
		s, err = openByHand(fs.Kill(), small())
		must(t, err)
		for _, when := range []time.Time{later, now} { // the clock is set back
			if got, err := s.Put(ctx, when, m); !errors.Is(err, queue.ErrDuplicate) || got != next {
				t.Fatalf("Put with the key of the next message again at %v = %q, %v, want %q and ErrDuplicate", when, got, err, next)
			}
		}
	}
}

// TestKeysAreRememberedAsAsked has a message with a key leave: the key is known for as
// long as the options say, and not at all if they say so.
func TestKeysAreRememberedAsAsked(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	for what, c := range map[string]struct {
		o    Options
		keep time.Duration // zero if not at all
	}{
		"by default":        {Options{}, DefaultKeepKeys},
		"for an hour":       {Options{KeepKeys: time.Hour}, time.Hour},
		"a few":             {Options{MaxKeys: 3}, DefaultKeepKeys},
		"for no time":       {Options{KeepKeys: -1}, 0},
		"none":              {Options{MaxKeys: -1}, 0},
		"an hour, but none": {Options{KeepKeys: time.Hour, MaxKeys: -1}, 0},
	} {
		for _, again := range []bool{false, true} {
			fs := crashfs.New(1)
			s, err := openByHand(fs, c.o)
			must(t, err)
			m := textMessage("text")
			m.Key = "key"
			id, err := s.Put(ctx, now, m)
			must(t, err)
			mustPut(t, s) // without a key
			deliverAll(t, s)
			if again {
				must(t, s.Close())
				s, err = openByHand(fs, c.o)
				must(t, err)
			}
			if n, err := s.CountKeys(ctx); err != nil || (n.Remembered == 1) != (c.keep > 0) || n.Remembered > 1 {
				t.Errorf("%s, opened again %v: %d keys are remembered, %v", what, again, n.Remembered, err)
			}
			if c.keep > 0 {
				if got, err := s.Put(ctx, now.Add(c.keep-time.Second), m); !errors.Is(err, queue.ErrDuplicate) || got != id {
					t.Errorf("%s, opened again %v: a second before it is forgotten, Put = %q, %v", what, again, got, err)
				}
			}
			if got, err := s.Put(ctx, now.Add(c.keep+time.Second), m); err != nil || got == id {
				t.Errorf("%s, opened again %v: a second after it is forgotten, Put = %q, %v", what, again, got, err)
			}
		}
	}
}

// TestKeyIsLookedUpOnce has keys be remembered all the time while messages with keys are
// put and created: whoever looks one up need not begin again.
func TestKeyIsLookedUpOnce(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	keyed := func(n int) *queue.Message {
		m := textMessage("text")
		m.Key = fmt.Sprint("key ", n)
		return m
	}
	for name, do := range map[string]func(*Spool) error{
		"Put": func(s *Spool) error { _, err := s.Put(ctx, now, keyed(1)); return err },
		"Settle": func(s *Spool) error {
			c, err := s.Claim(ctx, now, queue.ClaimOptions{})
			if err != nil {
				return err
			}
			var create []*queue.Message
			for n := range 100 {
				create = append(create, keyed(n))
			}
			done, err := s.Settle(ctx, now, []queue.Settlement{{
				Lease: c.Deliveries[0].Lease, Results: []queue.Result{{Outcome: queue.Delivered}}, Create: create,
			}})
			if err == nil && len(done[0].Created) != len(create) {
				err = fmt.Errorf("%d of %d were created: %w", len(done[0].Created), len(create), done[0].Err)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := openByHand(crashfs.New(1), small())
			must(t, err)
			mustPut(t, s)
			holds := 0
			s.mu.watch = stateWatch(func() {
				if holds++; holds < 5000 {
					e := keys.Entry{Message: uint64(holds), Left: now.UnixMicro()}
					binary.BigEndian.PutUint64(e.Hash[:], uint64(holds)<<32)
					s.keys.left.Add(e)
				}
			})
			err = do(s)
			s.mu.watch = nil
			must(t, err)
			if holds > 300 {
				t.Errorf("the lock was taken %d times", holds)
			}
		})
	}
}

// TestKeysThatCannotBeLookedUp has no descriptor left to look a key up in the file of
// those that have left: the message is not put, and neither is it in the way of a later
// try, which finds the key.
func TestKeysThatCannotBeLookedUp(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	id, err := s.Put(ctx, now, keyedMessage("key"))
	must(t, err)
	deliverAll(t, s)
	must(t, s.takeCheckpoint(ctx))
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpOpen && strings.HasPrefix(name, keysPrefix) {
			return syscall.EMFILE
		}
		return nil
	})
	mustPut(t, s)
	if got, err := s.Put(ctx, now, keyedMessage("key")); !errors.Is(err, syscall.EMFILE) || got != "" {
		t.Errorf("Put = %q, %v, want EMFILE", got, err)
	}
	fs.Inject(nil)
	if len(s.keys.reserved) > 0 {
		t.Fatal("the key is reserved still")
	}
	if got, err := s.Put(ctx, now, keyedMessage("key")); !errors.Is(err, queue.ErrDuplicate) || got != id {
		t.Errorf("when there are descriptors again Put = %q, %v, want %q and ErrDuplicate", got, err, id)
	}
}

// TestKeyThatIsReservedByAnotherNow has a call claim its key twice, as a settlement does
// that tries again. The second time another message has the key, which is dropped, and a
// third call reserves it: the reservation is that call's to give up.
func TestKeyThatIsReservedByAnotherNow(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	_, s := openSmall(t)
	d := &draft{keyed: true, key: hashKey("", "key"), number: 1 << 20}
	must(t, s.claimKeys(ctx, now, []*draft{d}))
	if d.duplicate || len(s.keys.reserved) != 1 {
		t.Fatalf("it is a duplicate: %v, and %d keys are reserved", d.duplicate, len(s.keys.reserved))
	}
	s.freeKeys([]*draft{d})
	id, err := s.Put(ctx, now, keyedMessage("key"))
	must(t, err)
	must(t, s.claimKeys(ctx, now, []*draft{d}))
	if formatID(d.number) != id || !d.duplicate {
		t.Errorf("the key is that of %s, want %s", formatID(d.number), id)
	}
	must(t, s.Drop(ctx, id))
	s.keys.reserved[d.key] = 1
	s.freeKeys([]*draft{d})
	if len(s.keys.reserved) != 1 {
		t.Error("the key that another call has reserved was given up")
	}
}
