package disk

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// settled settles in one call and returns the errors of the settlements.
func settled(t *testing.T, s *Spool, now time.Time, batch ...queue.Settlement) (list []error) {
	t.Helper()
	done, err := s.Settle(context.Background(), now, batch)
	must(t, err)
	for i := range done {
		list = append(list, done[i].Err)
	}
	return list
}

// unread is a lease of a message of which a record could not be read when it was
// claimed.
type unread struct {
	fs    *crashfs.FS
	s     *Spool
	id    string
	m     *queue.Message
	lease queue.Lease
	flip  func() // damages the record, or mends it
}

// newUnread has the record of that kind damaged. The message is marked as one that may
// have been sent.
func newUnread(t *testing.T, kind record.Kind) *unread {
	t.Helper()
	ctx, now := context.Background(), time.Unix(1e9, 0)
	u := &unread{m: textMessage("text")}
	u.m.Key, u.m.Guarantee = "key", queue.AtMostOnce
	u.fs, u.s = openSmall(t)
	var err error
	u.id, err = u.s.Put(ctx, now, u.m)
	must(t, err)
	c, err := u.s.Claim(ctx, now, queue.ClaimOptions{Lease: time.Second})
	must(t, err)
	must(t, u.s.Mark(ctx, []queue.Lease{c.Deliveries[0].Lease}))
	u.flip = flipper(t, u.fs, u.s, u.id, kind)
	u.flip()
	c, err = u.s.Claim(ctx, now.Add(2*time.Second), queue.ClaimOptions{Lease: time.Hour})
	must(t, err)
	if len(c.Unreadable) != 1 {
		t.Fatalf("%d deliveries cannot be read, want one", len(c.Unreadable))
	}
	u.lease = c.Unreadable[0].Lease
	return u
}

// flipper returns what flips a bit of the record of a message, or of its only delivery.
func flipper(t *testing.T, fs *crashfs.FS, s *Spool, id string, kind record.Kind) func() {
	t.Helper()
	number, _ := parseID(id)
	place := s.index.Get(s.slots(number)[0]).Record
	name, from := s.segments.list[place.Segment].file.name, int64(place.Offset)
	if kind == record.KindMessage {
		name, from = find(t, fs, number, kind)
	}
	return func() { fs.Flip(name, from+record.FrameSize+1, 1) }
}

// pins is how many segments are in use by somebody who reads them.
func pins(s *Spool) (n int) {
	for _, g := range s.segments.byNumber {
		n += g.pins
	}
	return n
}

// TestSettleOfWhatCouldNotBeRead settles a delivery whose record, or its message's, could
// not be read when it was claimed. Results need the record, and what is given back does
// not; a lease that could not be settled is good for another try.
func TestSettleOfWhatCouldNotBeRead(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0).Add(3*time.Second)
	delivered := []queue.Result{{Outcome: queue.Delivered}}
	report := []*queue.Message{textMessage("a report")}
	for name, c := range map[string]struct {
		kind    record.Kind
		mended  bool
		reading error // of the system
		b       queue.Settlement
		err     error
		left    int
		due     time.Time // of the delivery, if it stays and has been settled
	}{
		"given back":         {kind: record.KindDelivery, b: queue.Settlement{NotBefore: now.Add(time.Hour)}, left: 1, due: now.Add(time.Hour)},
		"given back at once": {kind: record.KindDelivery, left: 1, due: now},
		"given back, and it can be read by now": {kind: record.KindDelivery, mended: true,
			b: queue.Settlement{NotBefore: now.Add(time.Hour)}, left: 1, due: now.Add(time.Hour)},
		"delivered":           {kind: record.KindDelivery, b: queue.Settlement{Results: delivered}, err: queue.ErrDamaged, left: 1},
		"a report alone":      {kind: record.KindDelivery, b: queue.Settlement{Create: report}, err: queue.ErrDamaged, left: 1},
		"result and report":   {kind: record.KindDelivery, b: queue.Settlement{Results: delivered, Create: report}, err: queue.ErrDamaged, left: 1},
		"no descriptor":       {kind: record.KindDelivery, reading: syscall.EMFILE, b: queue.Settlement{Results: delivered}, err: syscall.EMFILE, left: 1},
		"readable by now":     {kind: record.KindDelivery, mended: true, b: queue.Settlement{Results: delivered}},
		"only the message is": {kind: record.KindMessage, b: queue.Settlement{Results: delivered}},
		"an impossible report": {kind: record.KindDelivery,
			b: queue.Settlement{Results: delivered, Create: []*queue.Message{{Content: queue.String("to nobody")}}}, err: errors.ErrUnsupported, left: 1},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUnread(t, c.kind)
			if c.mended {
				u.flip()
			}
			if c.reading != nil {
				u.fs.Inject(crashfs.FailNth(crashfs.OpRead, 1, true, c.reading))
			}
			before := u.s.changes.Count()
			c.b.Lease = u.lease
			err := settled(t, u.s, now, c.b)[0]
			u.fs.Inject(nil)
			var refused *queue.MessageError
			if impossible := c.err == errors.ErrUnsupported; impossible != errors.As(err, &refused) || !impossible && !errors.Is(err, c.err) {
				t.Errorf("Settle = %v, want %v", err, c.err)
			}
			if c.reading != nil && errors.Is(err, queue.ErrDamaged) {
				t.Errorf("Settle = %v, and nothing is damaged", err)
			}
			if total, err := u.s.Total(ctx); err != nil || total.Messages != c.left {
				t.Errorf("%d messages are there, %v, want %d", total.Messages, err, c.left)
			}
			if n := pins(u.s); n != 0 {
				t.Errorf("%d segments are in use", n)
			}
			if !c.mended && c.kind == record.KindDelivery {
				u.flip()
			}
			again := queue.Settlement{Lease: u.lease, Results: delivered}
			switch {
			case c.left == 0:
				if id, err := u.s.Put(ctx, now, u.m); errors.Is(err, queue.ErrDuplicate) != (c.kind == record.KindDelivery) {
					t.Errorf("Put with the key once more = %s, %v", id, err)
				}
			case c.err != nil:
				if err := settled(t, u.s, now, again)[0]; err != nil {
					t.Errorf("settling once more, when it can be read = %v", err)
				}
			default:
				if err := settled(t, u.s, now, again)[0]; !errors.Is(err, queue.ErrLeaseLost) {
					t.Errorf("settling once more = %v, want ErrLeaseLost", err)
				}
				if u.s.changes.Count() == before {
					t.Error("nobody is told that there is something to claim")
				}
				if !c.b.NotBefore.IsZero() {
					early, err := u.s.Claim(ctx, c.due.Add(-time.Second), queue.ClaimOptions{})
					if err != nil || len(early.Deliveries) > 0 {
						t.Errorf("claimed before it is due: %v, %v", early.Deliveries, err)
					}
				}
				got, err := u.s.Claim(ctx, c.due, queue.ClaimOptions{})
				must(t, err)
				if len(got.Deliveries) != 1 || got.Deliveries[0].Interrupted || !got.Deliveries[0].Due.Equal(c.due) {
					t.Errorf("claimed when it is due: %+v", got)
				}
			}
		})
	}
}

// TestSettleReadsOnlyWhatItNeeds settles some together of which the records of one were
// read when it was claimed, and are damaged by now; those of another could not be read;
// and the lease of one is lost.
func TestSettleReadsOnlyWhatItNeeds(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0).Add(3*time.Second)
	u := newUnread(t, record.KindDelivery)
	known := mustPut(t, u.s)
	c, err := u.s.Claim(ctx, now, queue.ClaimOptions{Lease: time.Hour})
	must(t, err)
	flipper(t, u.fs, u.s, known, record.KindDelivery)()
	delivered := []queue.Result{{Outcome: queue.Delivered}}
	lost := u.lease
	lost.Token++
	batch := []queue.Settlement{
		{Lease: lost, Results: delivered}, {Lease: u.lease, Results: delivered}, {Lease: c.Deliveries[0].Lease, Results: delivered},
	}
	got := settled(t, u.s, now, batch...)
	for i, want := range []error{queue.ErrLeaseLost, queue.ErrDamaged, nil} {
		if !errors.Is(got[i], want) {
			t.Errorf("settlement %d: %v, want %v", i, got[i], want)
		}
	}
	u.flip()
	batch[2] = claimMany(t, u.s, 1)[0]
	for i, err := range settled(t, u.s, now, batch[1:]...) {
		if err != nil {
			t.Errorf("when all can be read, settlement %d: %v", i, err)
		}
	}
}

// TestSettleTwiceInACall names a lease twice in a call: the first settlement counts, and
// the lease is lost for the second.
func TestSettleTwiceInACall(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0).Add(3*time.Second)
	delivered := []queue.Result{{Outcome: queue.Delivered}}
	for name, b := range map[string]queue.Settlement{
		"given back":  {},
		"deferred":    {Results: []queue.Result{{Outcome: queue.Deferred}}},
		"delivered":   {Results: delivered},
		"with report": {Results: delivered, Create: []*queue.Message{textMessage("report")}},
	} {
		for _, read := range []bool{true, false} {
			if !read && name != "given back" {
				continue
			}
			u := newUnread(t, record.KindDelivery)
			if read {
				u.flip()
			}
			b.Lease = u.lease
			other := mustPut(t, u.s)
			c, err := u.s.Claim(ctx, now, queue.ClaimOptions{})
			must(t, err)
			second := queue.Settlement{Lease: u.lease}
			if read {
				second.Results = delivered
			}
			got := settled(t, u.s, now, b, queue.Settlement{Lease: c.Deliveries[0].Lease, Results: delivered}, second)
			if got[0] != nil || got[1] != nil || !errors.Is(got[2], queue.ErrLeaseLost) {
				t.Errorf("%s, read %v: %v, want ErrLeaseLost of the last alone", name, read, got)
			}
			if _, err := u.s.Show(ctx, other); !errors.Is(err, queue.ErrNotFound) {
				t.Errorf("%s: what was settled in between is there: %v", name, err)
			}
		}
	}
}

// claimMany puts messages and claims them.
func claimMany(t *testing.T, s *Spool, n int) []queue.Settlement {
	t.Helper()
	ctx, now := context.Background(), time.Unix(1e9, 0)
	m := &queue.Message{Content: queue.String("text")}
	for i := range n {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("a@d%d.example", i)})
	}
	_, err := s.Put(ctx, now, m)
	must(t, err)
	c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: n})
	must(t, err)
	var batch []queue.Settlement
	for _, d := range c.Deliveries {
		batch = append(batch, queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Recipient: d.States[0].Index, Outcome: queue.Delivered}}})
	}
	if len(batch) != n {
		t.Fatalf("%d of %d deliveries were claimed", len(batch), n)
	}
	return batch
}

// TestSettleWaitsForItsTurn settles deliveries that another call is changing, some of them
// named twice, in no order and more than one hold of the lock takes: it waits, and settles
// each once.
func TestSettleWaitsForItsTurn(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, n := range []int{3, holdMax + 3} {
		for _, busy := range []bool{true, false} {
			for _, given := range []string{"", "canceled", "failed"} {
				if !busy && given != "" {
					continue
				}
				_, s := openSmall(t)
				batch := claimMany(t, s, n)
				slices.Reverse(batch)
				batch = append(batch, batch[0], batch[n-1])
				slot, _ := s.slotOf(&batch[0].Lease)
				if busy && !s.reserved.take(slot) {
					t.Fatal("it is reserved already")
				}
				cut, cancel := context.WithCancel(ctx)
				var done []queue.Settled
				var err error
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					done, err = s.Settle(cut, now, batch)
				}()
				for waits := !busy; !waits; runtime.Gosched() {
					s.mu.Lock()
					waits = s.reserved[slot] != nil
					s.mu.Unlock()
				}
				switch given {
				case "canceled":
					cancel()
					<-ended
				case "failed":
					_ = s.fail(syscall.EIO)
				}
				if busy {
					s.release([]index.Slot{slot})
				}
				<-ended
				cancel()
				if given == "canceled" {
					if !errors.Is(err, context.Canceled) || done != nil {
						t.Errorf("%d, canceled while it waits: %v, %v", n, done, err)
					}
					done, err = s.Settle(ctx, now, batch)
				}
				must(t, err)
				for i := range done {
					want := error(nil)
					if i >= n {
						want = queue.ErrLeaseLost
					}
					if given == "failed" {
						want = ErrFailed
					}
					if !errors.Is(done[i].Err, want) {
						t.Fatalf("%d deliveries, busy %v, %s: settlement %d: %v, want %v", n, busy, given, i, done[i].Err, want)
					}
				}
				if len(s.reserved) > 0 {
					t.Errorf("%d deliveries are reserved still", len(s.reserved))
				}
				if total, err := s.Total(ctx); given != "failed" && (err != nil || total.Messages > 0) {
					t.Errorf("%d messages are left, %v", total.Messages, err)
				}
			}
		}
	}
}

// TestSettleGivesATurnOnce has two callers wait for a delivery that a call settles which
// names it twice: one of them has it next, and the other waits on.
func TestSettleGivesATurnOnce(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, n := range []int{2, holdMax + 2} {
		fs, s := openSmall(t)
		batch := claimMany(t, s, n)
		batch[0].Create = []*queue.Message{textMessage("a report, which is saved")}
		batch = append(batch, batch[0])
		slot, _ := s.slotOf(&batch[0].Lease)
		var first, second *turn
		fs.Meanwhile(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if first == nil {
				first, second = s.reserved.wait(slot), s.reserved.wait(slot)
			}
		})
		settled(t, s, now, batch...)
		select {
		case <-first.given:
		default:
			t.Errorf("%d settlements: nobody has the delivery next", n)
		}
		select {
		case <-second.given:
			t.Errorf("%d settlements: two have the delivery at once", n)
		default:
		}
	}
}

// TestSettleReadsWhenItIsItsTurn settles what could not be read when it was claimed, and
// can be by now, while another call is changing it.
func TestSettleReadsWhenItIsItsTurn(t *testing.T) {
	u := newUnread(t, record.KindDelivery)
	u.flip()
	slot, _ := u.s.slotOf(&u.lease)
	u.s.reserved.take(slot)
	ended := make(chan error)
	go func() {
		ended <- settled(t, u.s, time.Unix(1e9, 0), queue.Settlement{Lease: u.lease, Results: []queue.Result{{Outcome: queue.Delivered}}})[0]
	}()
	for waits := false; !waits; runtime.Gosched() {
		u.s.mu.Lock()
		waits = u.s.reserved[slot] != nil
		u.s.mu.Unlock()
	}
	u.s.release([]index.Slot{slot})
	if err := <-ended; err != nil {
		t.Errorf("Settle = %v", err)
	}
	if total, err := u.s.Total(context.Background()); err != nil || total.Messages > 0 {
		t.Errorf("%d messages are left, %v", total.Messages, err)
	}
}

// TestSettleOfADeviceThatHasFailed gives back what could not be read, once the device has
// failed while the call waited for its turn.
func TestSettleOfADeviceThatHasFailed(t *testing.T) {
	u := newUnread(t, record.KindDelivery)
	slot, _ := u.s.slotOf(&u.lease)
	u.s.reserved.take(slot)
	ended := make(chan error)
	go func() { ended <- settled(t, u.s, time.Unix(1e9, 0), queue.Settlement{Lease: u.lease})[0] }()
	for waits := false; !waits; runtime.Gosched() {
		u.s.mu.Lock()
		waits = u.s.reserved[slot] != nil
		u.s.mu.Unlock()
	}
	_ = u.s.fail(syscall.EIO)
	u.s.release([]index.Slot{slot})
	if err := <-ended; !errors.Is(err, ErrFailed) {
		t.Errorf("Settle = %v, want ErrFailed", err)
	}
}

// TestClassOfASettlement: what a settlement may use of the reserve depends on what it
// does. Messages have none of what is kept for ends.
func TestClassOfASettlement(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	both := func(a, b queue.Outcome) []queue.Result {
		return []queue.Result{{Outcome: a}, {Recipient: 1, Outcome: b}}
	}
	for name, c := range map[string]struct {
		results []queue.Result
		create  bool
		as      class // of who retries it
		want    class
	}{
		"both are delivered":         {results: both(queue.Delivered, queue.Delivered), want: ending},
		"both fail, with a report":   {results: both(queue.Failed, queue.Failed), create: true, want: working},
		"one fails, with a report":   {results: both(queue.Failed, queue.Deferred), create: true, as: partial, want: working},
		"one is delivered":           {results: both(queue.Delivered, queue.Deferred), want: working},
		"one is delivered, at last":  {results: both(queue.Delivered, queue.Deferred), as: partial, want: partial},
		"both are deferred, at last": {results: both(queue.Deferred, queue.Deferred), as: partial, want: working},
	} {
		_, s := openSmall(t)
		_, err := s.Put(ctx, now, &queue.Message{Content: queue.String("text"),
			Recipients: []queue.Recipient{{Address: "a@a.example"}, {Address: "b@a.example"}}})
		must(t, err)
		got, err := s.Claim(ctx, now, queue.ClaimOptions{})
		must(t, err)
		b := queue.Settlement{Lease: got.Deliveries[0].Lease, Results: c.results}
		if c.create {
			b.Create = []*queue.Message{textMessage("report")}
		}
		one := &settling{s: s, now: now, batch: []queue.Settlement{b}, settled: make([]queue.Settled, 1), tickets: make([]*ticket, 1), class: c.as}
		one.read(ctx)
		must(t, one.all(ctx))
		must(t, one.settled[0].Err)
		if one.tickets[0].class != c.want {
			t.Errorf("%s: class %d, want %d", name, one.tickets[0].class, c.want)
		}
	}
}

// TestEndsAreCounted: what ends makes maintenance due, and another look for room worth
// while. No file is looked for of a content in the log.
func TestEndsAreCounted(t *testing.T) {
	fs := crashfs.New(1)
	s, err := openByHand(fs, Options{SegmentSize: 16 << 10})
	must(t, err)
	for range 4 {
		_, err := putSize(s, "a.example", 4096)
		must(t, err)
	}
	must(t, s.maintain(context.Background()))
	s.mu.Lock()
	due, ends := s.maintenanceDue(), s.ends
	s.mu.Unlock()
	if due {
		t.Fatal("maintenance is due at once")
	}
	fs.Inject(func(op crashfs.Op, name string) error {
		if strings.HasPrefix(name, contentPrefix) {
			t.Errorf("%v of %s", op, name)
		}
		return nil
	})
	deliverAll(t, s)
	must(t, s.save())
	s.mu.Lock()
	due = s.maintenanceDue()
	s.mu.Unlock()
	if !due || s.ends != ends+4 {
		t.Errorf("when all has left maintenance is due: %v, and %d ends were counted", due, s.ends-ends)
	}
}

// TestRecordsWrittenAgainAreCounted has no room be found, and a delivery be written again
// then: a segment with nothing but what it was before is deleted for the room.
func TestRecordsWrittenAgainAreCounted(t *testing.T) {
	ctx := context.Background()
	fs, s := openSmall(t)
	id := mustPut(t, s)
	s.rollNow = true
	must(t, s.Hold(ctx, id))
	g := s.current
	for s.reclaim(ctx) { // the reserve was larger than it need be
	}
	s.futile = s.ends // as if there had been something to look at
	s.rollNow = true
	must(t, s.Release(ctx, id))
	if !s.reclaim(ctx) {
		t.Error("no room was found")
	}
	if _, err := sizeOf(fs, g.file.name); err == nil {
		t.Error("a segment is there of which nothing is needed")
	}
}

// TestSegmentOfEndsIsNeeded has a segment of nothing but the ends of what is in another one:
// all of it is needed while that is there, and none of it is then.
func TestSegmentOfEndsIsNeeded(t *testing.T) {
	ctx := context.Background()
	_, s := openSmall(t)
	ended := mustPut(t, s)
	must(t, s.Hold(ctx, mustPut(t, s)))
	first := s.current
	s.rollNow = true
	must(t, s.Drop(ctx, ended))
	second := s.current
	s.rollNow = true
	mustPut(t, s)
	if live, useless := s.live(second); live != second.size || useless != 0 {
		t.Errorf("of %d bytes %d are needed and %d not", second.size, live, useless)
	}
	must(t, s.compact(ctx, first))
	if live, useless := s.live(second); live != 0 || useless != second.size {
		t.Errorf("of %d bytes %d are needed and %d not, when the first segment has gone", second.size, live, useless)
	}
}
