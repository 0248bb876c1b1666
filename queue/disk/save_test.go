package disk

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// TestContentsAreDeletedOnce deletes the contents of what has left, once, and tries no more
// where that fails.
func TestContentsAreDeletedOnce(t *testing.T) {
	for _, cause := range []error{nil, syscall.EIO} {
		fs := crashfs.New(1)
		s, err := openByHand(fs, Options{LargeContent: 1000})
		must(t, err)
		_, err = putSize(s, "a.example", 2000)
		must(t, err)
		var removed []string
		fs.Inject(func(op crashfs.Op, name string) error {
			if op == crashfs.OpRemove {
				removed = append(removed, name)
				return cause
			}
			return nil
		})
		given := s.given.Load()
		deliverAll(t, s)
		if len(removed) > 0 {
			t.Errorf("%v: removed %v before it is saved that the message has left", cause, removed)
		}
		must(t, s.save())
		for range 3 {
			mustPut(t, s)
		}
		if len(removed) != 1 || !slices.ContainsFunc(removed, func(n string) bool { return strings.HasPrefix(n, contentPrefix) }) {
			t.Errorf("%v: removed %v, want the content", cause, removed)
		}
		if s.given.Load() == given {
			t.Errorf("%v: nobody is told that there may be room", cause)
		}
	}
}

// TestWhatNobodyWaitsForIsSaved settles without a message, time and again: a second later
// that is saved.
func TestWhatNobodyWaitsForIsSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := crashfs.New(1)
		s, err := open(fs, Options{})
		must(t, err)
		for range 3 {
			mustPut(t, s)
		}
		for n := range 3 {
			must(t, settleOne(s, queue.Delivered, nil))
			if n == 1 {
				must(t, s.save()) // by somebody else meanwhile
			}
			time.Sleep(time.Second)
			s.mu.Lock()
			unsaved := s.unsaved
			s.mu.Unlock()
			if unsaved {
				t.Errorf("settlement %d is not saved a second later", n)
			}
		}
		must(t, s.Close())
	})
}

// TestCloseSavesAtOnce closes a spool a moment after settlements that nobody waited to be
// saved: it does not wait for the time when they would have been.
func TestCloseSavesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := open(crashfs.New(1), Options{})
		must(t, err)
		for range 3 {
			mustPut(t, s)
		}
		for range 3 {
			must(t, settleOne(s, queue.Delivered, nil))
		}
		begun := time.Now()
		must(t, s.Close())
		if took := time.Since(begun); took > 0 {
			t.Errorf("Close took %v", took)
		}
	})
}

// TestNothingIsSavedAfterClose has a settlement written while the spool is being closed,
// which saves it: nobody does later.
func TestNothingIsSavedAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := open(crashfs.New(1), Options{})
		must(t, err)
		mustPut(t, s)
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		must(t, settleOne(s, queue.Delivered, nil))
		s.mu.Lock()
		if !s.unsaved || s.saver != nil || s.saving {
			t.Errorf("it is unsaved: %v, and to be saved later: %v", s.unsaved, s.saver != nil)
		}
		s.closed = false
		s.mu.Unlock()
		must(t, s.Close())
	})
}
