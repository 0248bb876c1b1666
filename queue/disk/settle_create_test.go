package disk

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// contentFiles is how many files of contents there are.
func contentFiles(t *testing.T, fs *crashfs.FS) (n int) {
	t.Helper()
	list, err := fs.List()
	must(t, err)
	for _, f := range list {
		if strings.HasPrefix(f.Name, contentPrefix) {
			n++
		}
	}
	return n
}

// TestContentsOfWhatIsNotCreated has a settlement create messages with large contents: the
// files of those that are not put go.
func TestContentsOfWhatIsNotCreated(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	large := func(key string) *queue.Message {
		m := textMessage(strings.Repeat("large ", 1000))
		m.Key = key
		return m
	}
	for name, c := range map[string]struct {
		create []*queue.Message
		spoil  func(fs *crashfs.FS, s *Spool, b *queue.Settlement)
		failed bool
		files  int
	}{
		"put":                      {create: []*queue.Message{large(""), large("new")}, files: 2},
		"one is there":             {create: []*queue.Message{large("there"), large("")}, files: 1},
		"one comes twice":          {create: []*queue.Message{large("new"), large("new")}, files: 1},
		"one is impossible":        {create: []*queue.Message{large(""), {Content: queue.String("to nobody")}}, failed: true},
		"the lease is lost":        {create: []*queue.Message{large("")}, failed: true, spoil: func(_ *crashfs.FS, _ *Spool, b *queue.Settlement) { b.Lease.Token++ }},
		"as much as fits":          {create: []*queue.Message{large(""), large("")}, files: 2, spoil: groupOf(large(""), 2, 0)},
		"one byte more than fits":  {create: []*queue.Message{large(""), large("")}, failed: true, spoil: groupOf(large(""), 2, -1)},
		"the log cannot be grown":  {create: []*queue.Message{large("")}, failed: true, spoil: failLog(crashfs.OpWrite)},
		"and what is there of two": {create: []*queue.Message{large(""), large("there")}, failed: true, spoil: failLog(crashfs.OpWrite)},
	} {
		t.Run(name, func(t *testing.T) {
			fs := crashfs.New(1)
			s, err := openByHand(fs, Options{LargeContent: 2000})
			must(t, err)
			there := textMessage("text")
			there.Key = "there"
			_, err = s.Put(ctx, now, there)
			must(t, err)
			b := claimMany(t, s, 1)[0]
			b.Create = c.create
			if c.spoil != nil {
				c.spoil(fs, s, &b)
			}
			if err := settled(t, s, now, b)[0]; (err != nil) != c.failed {
				t.Errorf("Settle = %v", err)
			}
			fs.Inject(nil)
			if n := contentFiles(t, fs); n != c.files {
				t.Errorf("there are %d files of contents, want %d", n, c.files)
			}
		})
	}
}

// groupOf bounds what is written as one by the records of so many messages.
func groupOf(m *queue.Message, n int, more int64) func(*crashfs.FS, *Spool, *queue.Settlement) {
	return func(_ *crashfs.FS, s *Spool, _ *queue.Settlement) {
		parts, _ := queue.Split(m)
		one, _ := s.limits.checkRoom(m, parts, 0)
		s.limits.group = int64(n)*one + more
	}
}

// failLog has calls fail that are about the log.
func failLog(op crashfs.Op) func(*crashfs.FS, *Spool, *queue.Settlement) {
	return func(fs *crashfs.FS, _ *Spool, _ *queue.Settlement) {
		fs.Inject(func(o crashfs.Op, name string) error {
			if o == op && strings.HasPrefix(name, segmentPrefix) {
				return syscall.EIO
			}
			return nil
		})
	}
}

// TestSettlementThatIsOutWaitsForNobody has a settlement that creates an impossible
// message create another as well, whose key another call has reserved.
func TestSettlementThatIsOutWaitsForNobody(t *testing.T) {
	_, s := openSmall(t)
	b := claimMany(t, s, 1)[0]
	keyed := textMessage("report")
	keyed.Key = "key"
	s.keys.reserved[hashKey("", "key")] = 1
	b.Create = []*queue.Message{keyed, {Content: queue.String("to nobody")}}
	var refused *queue.MessageError
	if err := settled(t, s, time.Unix(1e9, 0), b)[0]; !errors.As(err, &refused) {
		t.Errorf("Settle = %v, want a *MessageError", err)
	}
}

// TestSettleWaitsForAKey has a settlement create a message whose key another call has
// reserved. The call is canceled: nothing is settled, and nothing is left of it.
func TestSettleWaitsForAKey(t *testing.T) {
	now := time.Unix(1e9, 0)
	fs := crashfs.New(1)
	s, err := openByHand(fs, Options{LargeContent: 1000})
	must(t, err)
	b := claimMany(t, s, 1)[0]
	keyed := textMessage(strings.Repeat("x", 1000))
	keyed.Key = "key"
	b.Create = []*queue.Message{keyed}
	for i := range 10 {
		b.Create = append(b.Create, keyedMessage(fmt.Sprint("key ", i)))
	}
	s.keys.reserved[hashKey("", "key")] = 1
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		done, err := s.Settle(ctx, now, []queue.Settlement{b})
		if done != nil {
			t.Errorf("Settle = %v", done)
		}
		ended <- err
	}()
	for waits := false; !waits; runtime.Gosched() {
		s.mu.Lock()
		waits = s.awaited
		s.mu.Unlock()
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Settle = %v, want Canceled", err)
	}
	if n := contentFiles(t, fs); n != 0 || len(s.reserved) > 0 {
		t.Errorf("%d files of contents and %d reservations are left", n, len(s.reserved))
	}
	if len(s.keys.reserved) != 1 {
		t.Errorf("%d keys are reserved still", len(s.keys.reserved)-1)
	}
	delete(s.keys.reserved, hashKey("", "key"))
	if err := settled(t, s, now, b)[0]; err != nil {
		t.Errorf("Settle once more = %v", err)
	}
}

// TestSettleCreatesAKeyOnce creates messages of which some have the same key: of each key
// there is the first, and the others are told its id.
func TestSettleCreatesAKeyOnce(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	_, s := openSmall(t)
	b := claimMany(t, s, 1)[0]
	var names []string
	for i := range 30 {
		names = append(names, fmt.Sprint("key ", i*7%10))
		b.Create = append(b.Create, keyedMessage(names[i]))
	}
	done, err := s.Settle(ctx, now, []queue.Settlement{b})
	must(t, err)
	must(t, done[0].Err)
	ids := map[string]string{}
	for i, id := range done[0].Created {
		if first := ids[names[i]]; first != "" && id != first {
			t.Errorf("%s is created as %s and %s", names[i], first, id)
		}
		ids[names[i]] = id
	}
	if n := s.index.Messages(); n != 10 || len(done[0].Created) != 30 {
		t.Errorf("%d messages are there, and %d ids are told", n, len(done[0].Created))
	}
}
