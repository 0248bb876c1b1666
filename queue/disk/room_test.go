package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// TestFullAtEachSync has one sync after the other say that there is no room: of the
// log, of a new segment, of a large content, of a checkpoint. The call it was for
// answers ErrFull and has done nothing, what was answered before is there, and
// everything goes on.
func TestFullAtEachSync(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		for nth := 1; nth < 30; nth++ {
			f := crashfs.New(uint64(nth))
			o := Options{SegmentSize: 16 << 10, LargeContent: 2000}
			s, err := openByHand(f, o)
			must(t, err)
			f.Inject(crashfs.FailNth(crashfs.OpSync, nth, false, cause))
			var there []string
			refused := 0
			for i := range 30 {
				id, err := putSize(s, fmt.Sprintf("d%d.example", i%3), 100+i%4*800)
				switch {
				case err == nil:
					there = append(there, id)
				case errors.Is(err, queue.ErrFull) && errors.Is(err, cause):
					refused++
				default:
					t.Fatalf("sync %d: Put = %v", nth, err)
				}
				if i%5 == 4 { // what nobody waits to be saved
					c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 2})
					must(t, err)
					if len(c.Unreadable) > 0 {
						t.Fatalf("sync %d: unreadable: %v", nth, c.Unreadable[0].Err)
					}
					for j, d := range c.Deliveries {
						r := &fullRig{t: t, s: s, now: now, sent: map[string]int{}}
						r.settle(&d, always([]queue.Outcome{queue.Delivered, queue.Deferred}[j]))
						if j == 0 {
							there = slices.DeleteFunc(there, func(id string) bool { return id == d.Lease.Message })
						}
					}
				}
				if i == 20 {
					if err := s.takeCheckpoint(ctx); err != nil && !errors.Is(err, queue.ErrFull) {
						t.Fatalf("sync %d: checkpoint: %v", nth, err)
					}
				}
			}
			if refused > 1 {
				t.Errorf("sync %d: %d messages were refused for one sync", nth, refused)
			}
			must(t, s.save())
			end := f.Kill
			if nth%2 == 0 {
				end = f.Restart
			}
			s, err = openByHand(end(), o)
			must(t, err)
			if err := readsAll(s, there); err != nil {
				t.Errorf("sync %d: %v", nth, err)
			}
			if total, _ := s.Total(ctx); total.Messages != len(there) || len(s.problems) > 0 {
				t.Errorf("sync %d: %d messages, want %d; problems %v", nth, total.Messages, len(there), s.problems)
			}
		}
	}
}

// TestCheckpointThatDoesNotFit has no room for a checkpoint: what nobody needs is
// deleted all the same, and one that failed is not begun again for each message.
func TestCheckpointThatDoesNotFit(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	f := crashfs.New(1)
	s, err := openByHand(f, Options{SegmentSize: 16 << 10, sector: 512})
	must(t, err)
	defer s.Close()
	for i := range 2000 { // a backlog: its checkpoint takes 80 KB
		_, err := s.Put(ctx, now, &queue.Message{NotBefore: now.Add(time.Hour), Content: queue.String("x"),
			Recipients: []queue.Recipient{{Address: fmt.Sprintf("a@d%d.example", i%10)}}})
		must(t, err)
	}
	for range 400 { // and what has come and gone
		mustPut(t, s)
	}
	for range 5 {
		deliverAll(t, s)
	}
	var mu sync.Mutex
	begun := 0
	f.Inject(func(op crashfs.Op, name string) error {
		mu.Lock()
		defer mu.Unlock()
		if !strings.HasPrefix(name, checkpointPrefix) {
			return nil
		}
		if op == crashfs.OpCreate {
			begun++
		}
		if op == crashfs.OpWrite {
			return syscall.ENOSPC
		}
		return nil
	})
	if err := s.maintain(ctx); err != nil && !errors.Is(err, queue.ErrFull) {
		t.Fatal(err)
	}
	s.mu.Lock()
	for _, g := range s.segments.list {
		if g != nil && g != s.current && s.needless(g) {
			t.Errorf("segment %d, of which nothing is needed, is still there", g.number)
		}
	}
	s.mu.Unlock()
	begun = 0
	for range 50 {
		_, _ = putSize(s, "x.example", 10)
		s.mu.Lock()
		due := s.maintenanceDue()
		s.mu.Unlock()
		if due {
			_ = s.maintain(ctx)
		}
	}
	if begun > 5 {
		t.Errorf("50 messages put began %d checkpoints", begun)
	}
	t.Logf("%d checkpoints begun for 50 messages", begun)
	before := begun
	for range 50 {
		s.mu.Lock()
		due := s.maintenanceDue()
		s.mu.Unlock()
		if due {
			_ = s.maintain(ctx)
		}
	}
	if begun-before > 8 {
		t.Errorf("%d checkpoints were begun while nothing happened", begun-before)
	}
}

// TestRoomOfLargeMessages has the room of a large message when it has left, however
// that came about, without a wait for another write.
func TestRoomOfLargeMessages(t *testing.T) {
	ctx := context.Background()
	for name, leave := range map[string]func(s *Spool, id string) error{
		"dropped":   func(s *Spool, id string) error { return s.Drop(ctx, id) },
		"delivered": func(s *Spool, id string) error { return settleOne(s, queue.Delivered, nil) },
		"failed": func(s *Spool, id string) error {
			return settleOne(s, queue.Failed, []*queue.Message{textMessage("report")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := crashfs.New(1)
			f.SetDevice(crashfs.Device{Room: 1 << 20})
			s, err := openByHand(f, Options{LargeContent: 64 << 10})
			must(t, err)
			id, err := putSize(s, "a.example", 700<<10)
			must(t, err)
			if _, err := putSize(s, "a.example", 700<<10); !errors.Is(err, queue.ErrFull) {
				t.Fatalf("Put of what does not fit = %v", err)
			}
			must(t, leave(s, id))
			next, err := putSize(s, "b.example", 700<<10)
			if err != nil {
				t.Errorf("Put after the other has left = %v", err)
			}
			must(t, s.Drop(ctx, next))
			must(t, s.Close())
			list, err := f.List()
			must(t, err)
			for _, x := range list {
				if strings.HasPrefix(x.Name, contentPrefix) {
					t.Errorf("after Close %s, of a message that has left, takes %d bytes", x.Name, x.Size)
				}
			}
		})
	}
}

func settleOne(s *Spool, o queue.Outcome, create []*queue.Message) error {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 1})
	if err != nil {
		return err
	}
	done, err := s.Settle(ctx, now, []queue.Settlement{{Lease: c.Deliveries[0].Lease,
		Results: []queue.Result{{Outcome: o}}, Create: create}})
	if err != nil {
		return err
	}
	return done[0].Err
}
