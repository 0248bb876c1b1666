package disk

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

func TestOptionsOutOfBounds(t *testing.T) {
	for _, c := range []struct {
		name  string
		o     Options
		names []string // of the fields the error speaks of
	}{
		{"zero", Options{}, nil},
		{"the greatest", Options{SegmentSize: MaxSegmentSize, LargeContent: MaxLargeContent}, nil},
		{"a segment beyond places of 32 bits", Options{SegmentSize: 8 << 30}, []string{"SegmentSize"}},
		{"one byte too many", Options{SegmentSize: MaxSegmentSize + 1}, []string{"SegmentSize"}},
		{"all at once", Options{SegmentSize: -1, LargeContent: 4 << 30}, []string{"SegmentSize", "LargeContent"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open(t.TempDir(), c.o)
			if err == nil {
				must(t, s.Close())
			}
			if (err != nil) != (len(c.names) > 0) {
				t.Fatalf("Open = %v", err)
			}
			for _, name := range c.names {
				if !strings.Contains(err.Error(), "Options."+name) {
					t.Errorf("Open = %v, which does not name %s", err, name)
				}
			}
		})
	}
}

// shape is a message and what becomes of it, about as long as a record may be.
type shape struct {
	recipients, address, original int
	destinations                  int
	metadata                      int
	replies, rounds               int
}

func (w *shape) message() *queue.Message {
	m := &queue.Message{From: "a@example.org", Content: queue.String("text")}
	for i := range w.recipients {
		r := queue.Recipient{Address: fmt.Sprintf("u%d%s@d%d.example", i, strings.Repeat("x", w.address), i%w.destinations)}
		if w.original > 0 {
			r.OriginalType, r.Original = "rfc822", strings.Repeat("o", w.original)
		}
		m.Recipients = append(m.Recipients, r)
	}
	if w.metadata > 0 {
		m.Metadata = map[string]string{"k": strings.Repeat("m", w.metadata)}
	}
	return m
}

// whole puts a message of the shape and defers all of it a few times. What was
// acknowledged must be readable with each of its recipients, before and after a
// restart. It reports whether the message was taken.
func (w *shape) whole(t *testing.T, head, group int64) bool {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	f := crashfs.New(1)
	s, err := openByHand(f, Options{})
	must(t, err)
	s.limits.head, s.limits.group = head, group
	m := w.message()
	id, err := s.Put(ctx, now, m)
	if err != nil {
		var refused *queue.MessageError
		if !errors.As(err, &refused) {
			t.Fatalf("%+v: Put = %v, want a *MessageError", *w, err)
		}
		if _, err := s.Show(ctx, formatID(1<<4)); !errors.Is(err, queue.ErrNotFound) {
			t.Fatalf("%+v: refused, and Show = %v", *w, err)
		}
		return false
	}
	for round := range 1 + w.rounds {
		c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: math.MaxInt})
		must(t, err)
		n := 0
		for _, d := range c.Deliveries {
			n += len(d.Message.Recipients)
		}
		if len(c.Unreadable) > 0 || n != len(m.Recipients) {
			t.Fatalf("%+v: round %d: %d of %d recipients, unreadable %v", *w, round, n, len(m.Recipients), c.Unreadable)
		}
		for _, d := range c.Deliveries {
			b := queue.Settlement{Lease: d.Lease}
			for _, st := range d.States {
				if st.Attempts != round {
					t.Fatalf("%+v: round %d: %d attempts", *w, round, st.Attempts)
				}
				long := strings.Repeat("r", w.replies)
				b.Results = append(b.Results, queue.Result{Recipient: st.Index, Reply: queue.Reply{
					Host: long, Addr: "192.0.2.1", Code: 451, Enhanced: "4.7.1", Text: long}})
			}
			done, err := s.Settle(ctx, now, []queue.Settlement{b})
			must(t, err)
			must(t, done[0].Err)
		}
	}
	longest(t, f, head)
	must(t, s.Close())
	s, err = openByHand(f, Options{})
	must(t, err)
	e, err := s.Show(ctx, id)
	if err != nil || len(e.Message.Recipients) != len(m.Recipients) {
		t.Fatalf("%+v: after a restart %d recipients, %v", *w, len(e.Message.Recipients), err)
	}
	must(t, s.Close())
	return true
}

// longest holds the heads of all records to a bound.
func longest(t *testing.T, f *crashfs.FS, most int64) {
	t.Helper()
	list, err := f.List()
	must(t, err)
	for _, x := range list {
		file, err := f.Open(x.Name, false)
		must(t, err)
		for _, kind := range []record.FileKind{record.SegmentFile, record.CheckpointFile} {
			h, err := record.ReadHeader(file, kind)
			if err != nil {
				continue
			}
			scan := record.NewScanner(file, x.Size, h.Salt, record.HeaderSize)
			for scan.Next() {
				if n := int64(len(scan.Frame().Head)); n > most {
					t.Errorf("%s at %d: a head of %d bytes, want at most %d", x.Name, scan.Offset(), n, most)
				}
			}
		}
		must(t, file.Close())
	}
}

// TestEdgeOfARecord goes up to the longest message that is taken, and beyond it,
// in each of the ways in which one can be long.
func TestEdgeOfARecord(t *testing.T) {
	const head = 16 << 10
	for _, c := range []struct {
		name string
		at   func(n int) shape
	}{
		{"recipients of one destination", func(n int) shape {
			return shape{recipients: n, destinations: 1, replies: queue.MaxReplyText, rounds: 2}
		}},
		{"long addresses", func(n int) shape {
			return shape{recipients: n, address: 55, original: 500, destinations: 1, replies: 900, rounds: 1}
		}},
		{"destinations", func(n int) shape {
			return shape{recipients: n, destinations: n, replies: queue.MaxReplyText, rounds: 1}
		}},
		{"metadata", func(n int) shape {
			return shape{recipients: 1, destinations: 1, metadata: 64 * n}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			taken, refused := 0, 0
			for n := 1; n < 400; n += 1 + n/16 {
				w := c.at(n)
				if w.whole(t, head, 4*head) {
					taken++
				} else {
					refused++
				}
			}
			if taken == 0 || refused == 0 {
				t.Errorf("%d taken, %d refused: not at the edge", taken, refused)
			}
		})
	}
}

// FuzzSizes puts and settles messages of any shape where records may be short.
func FuzzSizes(f *testing.F) {
	f.Add(uint16(1), uint8(0), uint16(0), uint8(1), uint16(0), uint16(0), uint8(1), uint16(4096))
	f.Add(uint16(100), uint8(20), uint16(300), uint8(1), uint16(100), uint16(2048), uint8(2), uint16(16384))
	f.Add(uint16(60), uint8(50), uint16(500), uint8(40), uint16(0), uint16(2048), uint8(2), uint16(9000))
	f.Fuzz(func(t *testing.T, recipients uint16, address uint8, original uint16, destinations uint8,
		metadata, replies uint16, rounds uint8, head uint16) {
		w := shape{
			recipients: 1 + int(recipients)%300, address: int(address) % 56, original: int(original) % 501,
			destinations: 1 + int(destinations)%64, metadata: int(metadata), replies: int(replies) % 5000, rounds: int(rounds) % 4,
		}
		w.whole(t, 1024+int64(head), 4096+3*int64(head))
	})
}

// TestRecordsBeyondTheFormat is the edge of the format itself, which no test goes
// along: 64 MiB of head.
func TestRecordsBeyondTheFormat(t *testing.T) {
	l := defaultLimits()
	m := &queue.Message{Recipients: []queue.Recipient{{Address: strings.Repeat("x", 60) + "@big.example"}}}
	for _, n := range []int{100_000, 1_000_000} {
		p := queue.Part{Destination: "big.example", Recipients: make([]int, n)}
		_, err := l.checkRoom(m, []queue.Part{p}, 0)
		if refused := err != nil; refused != (n == 1_000_000) {
			t.Errorf("%d recipients at one destination: %v", n, err)
		}
	}
	many := make([]queue.Part, 3_000_000)
	for i := range many {
		many[i].Recipients = []int{0}
	}
	if _, err := l.checkRoom(m, many, 0); err == nil {
		t.Error("a group of more than 1 GiB is taken")
	}
}

// A settlement whose messages are too much together is out as a whole.
func TestCreatedBeyondAGroup(t *testing.T) {
	_, s := openSmall(t)
	defer s.Close()
	s.limits.group = 12 << 10
	mustPut(t, s)
	c, err := s.Claim(t.Context(), time.Unix(1e9, 0), queue.ClaimOptions{})
	must(t, err)
	b := queue.Settlement{Lease: c.Deliveries[0].Lease, Results: []queue.Result{{Outcome: queue.Failed}}}
	for range 6 {
		b.Create = append(b.Create, &queue.Message{Content: queue.Bytes(make([]byte, 1000)),
			Recipients: []queue.Recipient{{Address: "a@b.example"}}})
	}
	done, err := s.Settle(t.Context(), time.Unix(1e9, 0), []queue.Settlement{b})
	must(t, err)
	var refused *queue.MessageError
	if !errors.As(done[0].Err, &refused) {
		t.Errorf("Settle = %v, want a *MessageError", done[0].Err)
	}
	b.Create = b.Create[:3]
	done, err = s.Settle(t.Context(), time.Unix(1e9, 0), []queue.Settlement{b})
	must(t, err)
	must(t, done[0].Err)
	if n := s.index.Messages(); n != 3 {
		t.Errorf("%d messages, want the 3 that were created", n)
	}
}

func TestLastNumber(t *testing.T) {
	f, s := openSmall(t)
	s.nextMessage.Store(maxNumber - 1)
	id := mustPut(t, s)
	_, err := s.Put(t.Context(), time.Unix(1e9, 0), &queue.Message{
		Recipients: []queue.Recipient{{Address: "a@example.com"}}, Content: queue.String("hello")})
	if !errors.Is(err, queue.ErrFull) {
		t.Errorf("Put after the last number = %v, want ErrFull", err)
	}
	must(t, s.Close())
	s, err = openByHand(f, Options{})
	must(t, err)
	defer s.Close()
	if _, err := s.Show(t.Context(), id); err != nil {
		t.Errorf("Show of the last number: %v", err)
	}
}

func TestMaxInt(t *testing.T) {
	s, err := openByHand(crashfs.New(1), keeping())
	must(t, err)
	defer s.Close()
	mustEnd(t, s)
	for range 3 {
		mustPut(t, s)
	}
	ctx := t.Context()
	for _, most := range []int{math.MaxInt, math.MaxInt - 1, math.MaxInt / 2, math.MaxInt / 4} {
		page, err := s.List(ctx, queue.ListOptions{Max: most})
		if err != nil || len(page.Entries) != 3 || page.Next != "" {
			t.Errorf("List of at most %d: %d entries, next %q, %v", most, len(page.Entries), page.Next, err)
		}
		survey, err := s.Survey(ctx, "", most)
		if err != nil || len(survey) != 1 {
			t.Errorf("Survey of at most %d: %v, %v", most, survey, err)
		}
		outcomes, err := s.Outcomes(ctx, queue.OutcomeOptions{Max: most})
		if err != nil || len(outcomes.Outcomes) != 1 {
			t.Errorf("Outcomes, at most %d: %v, %v", most, outcomes, err)
		}
	}
	c, err := s.Claim(ctx, time.Unix(1e9, 0), queue.ClaimOptions{
		Max: math.MaxInt, PerDestination: math.MaxInt, PerTenant: math.MaxInt, Lease: math.MaxInt64})
	if err != nil || len(c.Deliveries) != 3 {
		t.Errorf("Claim of at most MaxInt: %d deliveries, %v", len(c.Deliveries), err)
	}
}

// A destination that is longer than any can be is refused or selects nothing, so
// that no record of it is too long to be read.
func TestEndlessDestination(t *testing.T) {
	f, s := openSmall(t)
	mustPut(t, s)
	endless := strings.Repeat("x", record.MaxHead)
	if err := s.Postpone(t.Context(), time.Unix(1e9, 0), queue.Postponement{Destination: endless, Until: time.Unix(2e9, 0)}); err == nil {
		t.Error("Postpone took it")
	}
	if n, err := s.Flush(t.Context(), time.Unix(1e9, 0), queue.Selection{Destination: endless}); n != 0 || err != nil {
		t.Errorf("Flush = %d, %v", n, err)
	}
	longest(t, f, 1<<16)
	must(t, s.Close())
}

// TestCheckpointInPieces has more keys, tenants and ends of deliveries of other
// segments than one piece takes.
func TestCheckpointInPieces(t *testing.T) {
	f, s := openSmall(t)
	mustPut(t, s)
	const n = 3*pieceLen + 7
	for i := range n {
		s.keys.known[keyHash{byte(i), byte(i >> 8), byte(i >> 16)}] = index.Number(1000, 1) // which is there
	}
	for i := range 40_000 {
		s.index.Add([]index.Entry{{Message: index.Number(uint64(1000+i), 1), Destination: "d.example", Tenant: fmt.Sprint(strings.Repeat("tenant", 5), i),
			Home: s.current.slot, Record: s.current.place(0), AtOnce: true}})
	}
	must(t, s.takeCheckpoint(t.Context()))
	longest(t, f, 1_400_000)
	if most := int64(5_000_000); s.checkpointSize > most {
		t.Errorf("the checkpoint has %d bytes, want at most %d", s.checkpointSize, most)
	}
	must(t, s.Close())
	s, err := openByHand(f, Options{})
	must(t, err)
	defer s.Close()
	tenants, _ := s.index.Tenants(nil, 0, math.MaxInt32)
	if len(s.problems) > 0 || len(s.keys.known) != n || len(tenants) < 40_000 {
		t.Errorf("%d of %d keys, %d tenants, problems %v", len(s.keys.known), n, len(tenants), s.problems)
	}
}

// TestPutStreamsFromMemory has a large content that is in memory: it is not copied
// as a whole on its way into the file.
func TestPutStreamsFromMemory(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	must(t, err)
	defer s.Close()
	m := &queue.Message{Content: queue.Bytes(make([]byte, 8<<20)), Recipients: []queue.Recipient{{Address: "a@b.example"}}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = s.Put(t.Context(), time.Unix(1e9, 0), m)
	must(t, err)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
		t.Errorf("Put of 8 MiB that are in memory allocated %d KiB", n>>10)
	}
}
