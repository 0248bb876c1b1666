package disk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestFullDeviceKeepsOutcomes has mail leave a device that Put has filled, while outcomes
// are kept: mail leaves nevertheless, and each outcome is known once, from memory if there
// is no room for it. After a restart none of those that are left is known twice or wrong.
func TestFullDeviceKeepsOutcomes(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(map[bool]string{false: "in one life", true: "with restarts"}[restart], func(t *testing.T) {
			fullDevices(t, func(t *testing.T, r *fullRig) {
				r.o.KeepOutcomes = time.Hour
				must(t, r.s.Close())
				r.open()
				told := follower{heard: map[string]bool{}, lossy: restart}
				for list := r.claim(); len(list) > 0; list = r.claim() {
					for i := range list[:(len(list)+1)/2] {
						r.settle(&list[i], always([]queue.Outcome{queue.Delivered, queue.Failed}[i%2]))
						r.work()
					}
					must(t, told.read(r.s, 100))
					if restart {
						r.kill()
					} else {
						r.now = r.now.Add(queue.DefaultLease)
					}
				}
				must(t, told.read(r.s, 100))
				total, err := r.s.Total(context.Background())
				must(t, err)
				if total.Messages > 0 {
					t.Errorf("%d messages are left of %d", total.Messages, len(r.put))
				}
				if n := len(told.heard); n != 2*len(r.put) {
					t.Errorf("%d outcomes of %d recipients", n, 2*len(r.put))
				}
				must(t, r.s.Close())
			})
		})
	}
}

// TestForgottenOutcomesMakeRoom has no room for a file of outcomes but that of another, of
// which everything is forgotten: that one goes, and the outcomes are in a file.
func TestForgottenOutcomesMakeRoom(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	fs := crashfs.New(1)
	s, err := openByHand(fs, keeping())
	must(t, err)
	mustEnd(t, s)
	must(t, s.takeCheckpoint(ctx))
	later := now.Add(2 * time.Hour)
	id, err := s.Put(ctx, later, textMessage("text"))
	must(t, err)
	c, err := s.Claim(ctx, later, queue.ClaimOptions{})
	must(t, err)
	_, err = s.Settle(ctx, later, []queue.Settlement{{Lease: c.Deliveries[0].Lease, Results: []queue.Result{{Outcome: queue.Delivered}}}})
	must(t, err)
	gone := false
	fs.Inject(func(op crashfs.Op, name string) error {
		gone = gone || op == crashfs.OpRemove && name == fileName(outcomesPrefix, 1)
		if op == crashfs.OpCreate && name == fileName(outcomesPrefix, 2) && !gone {
			return syscall.ENOSPC
		}
		return nil
	})
	must(t, s.takeCheckpoint(ctx))
	if s.outcomes.Waiting() > 0 {
		t.Error("outcomes wait for room that forgotten ones take")
	}
	s, err = openByHand(fs.Kill(), keeping())
	must(t, err)
	if got, _ := messagesOf(t, s, ""); len(got) != 1 || got[0] != id {
		t.Errorf("after a kill the outcomes are those of %v, want %s", got, id)
	}
}

// TestForgottenOutcomesThatMadeNoRoom deletes a file of outcomes of which everything is
// forgotten, but there is no room for another even so. After a kill, whoever had read only
// some of the former is told that outcomes are missed, and whoever reads on is not.
func TestForgottenOutcomesThatMadeNoRoom(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	fs := crashfs.New(1)
	s, err := openByHand(fs, keeping())
	must(t, err)
	mustEnd(t, s)
	mustEnd(t, s)
	_, page := messagesOf(t, s, "")
	behind := page.Outcomes[0].Position
	must(t, s.takeCheckpoint(ctx))
	later := now.Add(2 * time.Hour)
	id, err := s.Put(ctx, later, textMessage("text"))
	must(t, err)
	c, err := s.Claim(ctx, later, queue.ClaimOptions{})
	must(t, err)
	_, err = s.Settle(ctx, later, []queue.Settlement{{Lease: c.Deliveries[0].Lease, Results: []queue.Result{{Outcome: queue.Delivered}}}})
	must(t, err)
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpCreate && name == fileName(outcomesPrefix, 2) {
			return syscall.ENOSPC
		}
		return nil
	})
	must(t, s.saveOutcomes())
	s, err = openByHand(fs.Kill(), keeping())
	must(t, err)
	got, page := messagesOf(t, s, behind)
	if len(got) != 1 || got[0] != id || !page.Missed {
		t.Errorf("a reader that was behind gets the outcomes of %v, missed %v, want %s, and that some were missed", got, page.Missed, id)
	}
	last := page.Next
	mustEnd(t, s)
	mustEnd(t, s)
	for range 3 {
		if _, page = messagesOf(t, s, last); page.Missed {
			t.Errorf("a reader that goes on after %s is told that it missed some", last)
		}
		if last = page.Next; len(page.Outcomes) > 0 {
			last = page.Outcomes[0].Position
		}
	}
}

// TestSettlementsOfACallWithoutRoomForOutcomes settles two deliveries alike in one call, and
// there is room only when it has been asked for so often: if the first is recorded as a
// whole, so is the second.
func TestSettlementsOfACallWithoutRoomForOutcomes(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	seen, bare := map[bool]int{}, false
	for tries := range 12 {
		fs := crashfs.New(1)
		s, err := openByHand(fs, keeping())
		must(t, err)
		var batch []queue.Settlement
		for range 2 {
			m := textMessage("text")
			m.Recipients = append(m.Recipients, queue.Recipient{Address: "b@example.com"})
			_, err := s.Put(ctx, now, m)
			must(t, err)
			c, err := s.Claim(ctx, now, queue.ClaimOptions{})
			must(t, err)
			batch = append(batch, queue.Settlement{Lease: c.Deliveries[0].Lease, Results: []queue.Result{
				{Outcome: queue.Failed}, {Recipient: 1, Outcome: queue.Failed},
			}})
		}
		asked := 0
		fs.Inject(func(op crashfs.Op, name string) error {
			switch {
			case op != crashfs.OpWrite:
			case name == reserveName:
				return syscall.ENOSPC
			case strings.HasPrefix(name, segmentPrefix) && asked < tries:
				asked++
				return syscall.ENOSPC
			}
			return nil
		})
		list, err := s.Settle(ctx, now, batch)
		must(t, err)
		fs.Inject(nil)
		var left []int
		for i := range batch {
			e, err := s.Show(ctx, batch[i].Lease.Message)
			if err != nil && !errors.Is(err, queue.ErrNotFound) {
				t.Fatal(err)
			}
			left = append(left, len(e.Waiting))
		}
		if left[0] == 0 && left[1] != 0 {
			t.Errorf("room after %d tries: the second has %d recipients left, and the first has none: %+v", tries, left[1], list)
		}
		seen[left[0] == 0]++
		bare = bare || left[0] == 0 && asked > 0
	}
	if seen[true] == 0 || seen[false] == 0 || !bare {
		t.Errorf("the first was recorded as a whole %d times, not %d times, and after another try: %v", seen[true], seen[false], bare)
	}
}

// TestLongRepliesWithoutRoomForOutcomes settles a message to many recipients, with replies as
// long as they get, where there is no room for their outcomes in the log: each is known once,
// in pages of any length, and when they are read from their file. Replies are cut short where
// one record has all of them, and only there.
func TestLongRepliesWithoutRoomForOutcomes(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	const n = 150
	bare := 0
	for tries := range 6 {
		fs := crashfs.New(1)
		o := keeping()
		o.SegmentSize = 1 << 20
		s, err := openByHand(fs, o)
		must(t, err)
		s.limits.head = 200 << 10 // too little for all replies in one record
		m := &queue.Message{Content: queue.String("text")}
		var results []queue.Result
		for i := range n {
			m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("a%d@a.example", i)})
			results = append(results, queue.Result{Recipient: i, Outcome: queue.Failed, Reply: queue.Reply{
				Code: 550, Text: strings.Repeat("no ", queue.MaxReplyText/3),
			}})
		}
		id, err := s.Put(ctx, now, m)
		must(t, err)
		c, err := s.Claim(ctx, now, queue.ClaimOptions{})
		must(t, err)
		asked := 0
		fs.Inject(func(op crashfs.Op, name string) error {
			switch {
			case op != crashfs.OpWrite:
			case name == reserveName:
				return syscall.ENOSPC
			case strings.HasPrefix(name, segmentPrefix) && asked < tries:
				asked++
				return syscall.ENOSPC
			}
			return nil
		})
		list, err := s.Settle(ctx, now, []queue.Settlement{{Lease: c.Deliveries[0].Lease, Results: results}})
		must(t, err)
		fs.Inject(nil)
		if _, err := s.Show(ctx, id); !errors.Is(err, queue.ErrNotFound) {
			continue // it stays, with all of its recipients
		}
		must(t, list[0].Err)
		s.mu.Lock()
		_, waiting := s.outcomes.After(record.Place{}, record.Place{Segment: 1 << 60}, 1<<20)
		s.mu.Unlock()
		if len(waiting) == 1 {
			bare++
		}
		if pieces := (n + outcomesPiece - 1) / outcomesPiece; tries == 0 && len(waiting) != pieces {
			t.Errorf("%d records, and there is room for %d", len(waiting), pieces)
		}
		for i := range waiting {
			if got := int64(len(waiting[i].Head)); got > s.limits.head {
				t.Errorf("%d tries: a record has %d bytes, and takes at most %d", tries, got, s.limits.head)
			}
		}
		for round := range 3 {
			for _, most := range []int{7, n} {
				told, after := map[int]bool{}, ""
				for more := true; more; {
					page, err := s.Outcomes(ctx, queue.OutcomeOptions{After: after, Max: most})
					must(t, err)
					for _, one := range page.Outcomes {
						if told[one.Recipient] || one.Reply.Code != 550 {
							t.Errorf("%d tries, round %d: recipient %d is told again, or with %d", tries, round, one.Recipient, one.Reply.Code)
						}
						told[one.Recipient] = true
						if whole := one.Reply.Text == results[0].Reply.Text; whole == (len(waiting) == 1) {
							t.Errorf("%d tries, %d records: the reply has %d bytes", tries, len(waiting), len(one.Reply.Text))
						}
					}
					after, more = page.Next, page.More
				}
				if len(told) != n || len(s.problems) > 0 {
					t.Errorf("%d tries, round %d, pages of %d: %d outcomes, want %d; %v", tries, round, most, len(told), n, s.problems)
				}
			}
			must(t, giveUp(s))
			if round > 0 {
				s, err = openByHand(fs.Kill(), o)
				must(t, err)
			}
		}
	}
	if bare == 0 {
		t.Error("no outcomes were without records of their own in the log")
	}
}
