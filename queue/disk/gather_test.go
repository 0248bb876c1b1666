package disk

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// syncTime is what the device of slowDevice takes to save.
const syncTime = time.Millisecond

// slowDevice runs do, in virtual time, with a spool whose device takes a moment
// to save, and tells how often it did.
func slowDevice(t *testing.T, do func(t *testing.T, s *Spool, syncs *int)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fs := crashfs.New(1)
		s, err := open(fs, Options{})
		must(t, err)
		mustPut(t, s) // so that there is a segment
		syncs := 0
		fs.Meanwhile(func() {
			syncs++
			time.Sleep(syncTime)
		})
		do(t, s, &syncs)
		must(t, s.Close())
	})
}

// putEvery puts messages one after the other, each some time after the one
// before was answered.
func putEvery(t *testing.T, s *Spool, n int, pause time.Duration) {
	t.Helper()
	m := &queue.Message{Recipients: []queue.Recipient{{Address: "a@example.com"}}, Content: queue.String("text")}
	for range n {
		if _, err := s.Put(context.Background(), time.Now(), m); err != nil {
			t.Error(err)
		}
		time.Sleep(pause)
	}
}

// TestThoseWhoComeAgainShareASync has callers who each put a message a moment
// after their last was answered: one sync does for all of them.
func TestThoseWhoComeAgainShareASync(t *testing.T) {
	slowDevice(t, func(t *testing.T, s *Spool, syncs *int) {
		const callers, rounds = 8, 100
		var group sync.WaitGroup
		for i := range callers {
			group.Go(func() { putEvery(t, s, rounds, time.Duration(50+10*i)*time.Microsecond) })
		}
		group.Wait()
		if *syncs > rounds+rounds/10 {
			t.Errorf("%d syncs for %d rounds of %d callers, want one each", *syncs, rounds, callers)
		}
	})
}

// TestNobodyWaitsInVainForLong has a crowd leave, and has another caller come now
// and then: who puts one message after the other waits for the device, and hardly
// ever for somebody who does not come: less often than the other comes.
func TestNobodyWaitsInVainForLong(t *testing.T) {
	slowDevice(t, func(t *testing.T, s *Spool, _ *int) {
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() { putEvery(t, s, 20, 0) })
		}
		group.Wait()
		begun := time.Now()
		putEvery(t, s, 100, 0)
		if took := time.Since(begun); took > 102*syncTime {
			t.Errorf("100 messages of one caller took %v, want %v and one wait", took, 100*syncTime)
		}
	})
	slowDevice(t, func(t *testing.T, s *Spool, _ *int) {
		var group sync.WaitGroup
		const messages, shared = 400, 80
		group.Go(func() { putEvery(t, s, shared, 5*syncTime) })
		begun := time.Now()
		putEvery(t, s, messages, 0)
		if took := time.Since(begun); took > (messages+shared*3/4)*syncTime {
			t.Errorf("%d messages beside another caller, who rarely comes, took %v, want at most %v",
				messages, took, (messages+shared*3/4)*syncTime)
		}
		group.Wait()
	})
}

// TestCrowdThatComesBackSharesASync has a time in which waiting for others was mostly in
// vain, so that nobody waits any more, or in which it was not, until they left, and then a
// crowd: it shares syncs soon.
func TestCrowdThatComesBackSharesASync(t *testing.T) {
	const callers, rounds = 8, 200
	crowd := func(t *testing.T, s *Spool, rounds int) {
		var group sync.WaitGroup
		for i := range callers {
			group.Go(func() { putEvery(t, s, rounds, time.Duration(50+10*i)*time.Microsecond) })
		}
		group.Wait()
	}
	for name, before := range map[string]func(t *testing.T, s *Spool){
		"mostly in vain": func(t *testing.T, s *Spool) {
			var group sync.WaitGroup
			group.Go(func() { putEvery(t, s, 40, 5*syncTime) })
			putEvery(t, s, 200, 0)
			group.Wait()
		},
		"not in vain": func(t *testing.T, s *Spool) {
			crowd(t, s, 2*rounds)
			putEvery(t, s, 3, 0)
		},
	} {
		slowDevice(t, func(t *testing.T, s *Spool, syncs *int) {
			before(t, s)
			*syncs = 0
			crowd(t, s, rounds)
			if most := rounds + maxSkip + rounds/10; *syncs > most {
				t.Errorf("waiting was %s: %d syncs for %d rounds of %d callers, want at most %d", name, *syncs, rounds, callers, most)
			}
		})
	}
}
