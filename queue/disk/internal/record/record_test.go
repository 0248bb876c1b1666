package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

var when = time.Date(2026, 5, 4, 3, 2, 1, 987654321, time.UTC)

func message() record.Message {
	return record.Message{ID: 77, Size: 4096, InFile: true, Moved: 9, Envelope: queue.Message{
		From: "a@example.org", Key: "k", Tenant: "t", EnvelopeID: "env", Submitter: "s@example.org", Priority: -9,
		Arrived: when, NotBefore: when.Add(1), Expires: when.Add(2), TLS: queue.TLSOptional,
		Guarantee: queue.AtMostOnce, Return: queue.ReturnHeaders, Metadata: map[string]string{"x": "y", "": "z"},
	}}
}

func delivery() record.Delivery {
	return record.Delivery{ID: 77, Destination: "example.com", Home: record.Place{Segment: 5, Offset: 99},
		Due: when, AtOnce: true, Tenant: "t", Priority: 9, Size: 4096, InFile: true, AtMostOnce: true,
		Held: true, Warned: true, Marked: true, Because: "site-down",
		Hold: queue.Terms{Since: when, Until: when.Add(1), Reason: "why"}, Recipients: []record.Recipient{
			{Recipient: queue.Recipient{Address: "b@example.com", Notify: queue.NotifyDelay, OriginalType: "rfc822", Original: "o"}},
			{Recipient: queue.Recipient{Address: "c@example.com"}, State: queue.State{Index: 3, Attempts: 2,
				Outcome: queue.Unknown, Tried: when, Reply: queue.Reply{Host: "h", Addr: "192.0.2.1", Code: -1, Enhanced: "4.0.0", Text: "\xff"}}},
		}}
}

func outcomes() record.Outcomes {
	return record.Outcomes{At: record.Place{Segment: 5, Offset: 99}, Time: when, ID: 77, Tenant: "t", Key: "k", List: []record.Outcome{
		{Address: "b@example.com", Index: 3, Attempts: 2, Outcome: queue.Failed, Reply: delivery().Recipients[1].Reply},
		{Address: "c@example.com", Attempts: 1, Outcome: queue.Delivered},
	}}
}

func table() *record.Table {
	return &record.Table{From: record.Place{Segment: 1, Offset: 2}, Next: 3, Last: true, Sum: 4,
		Rows:         []record.Row{{Message: 1, Since: 2, Destination: 3, Tenant: 4, Offset: 5, Size: 6, Home: 7, Record: 8, Priority: -9, Flags: 10}},
		Segments:     []record.SegmentState{{Number: 1, Cost: -2, Gone: map[uint64]int{3: 4}, From: []uint64{5}}},
		Slots:        []record.SlotName{{Slot: 65535, Number: 1}},
		Destinations: []record.DestinationState{{Number: 1, Name: "d", Until: when, Slot: 2, Offset: 3, Oldest: 4}},
		Tenants:      []record.TenantName{{Number: 1, Name: "n"}},
		Keys:         []record.KeyOwner{{Hash: [16]byte{1, 2}, Message: 3}},
		Holds:        []record.HoldEnd{{Message: 4, Until: -5}},
	}
}

// TestRoundTrip has every field of every record at a value that is not zero:
// what is not written, or not read, is missed.
func TestRoundTrip(t *testing.T) {
	m, d := message(), delivery()
	gone := record.Gone{ID: 1, Destination: "d", Home: 2}
	dest := record.Destination{Name: "d", Postponed: when}
	segs := record.Segments{Next: 1, List: []record.Extent{{Segment: 2, Saved: 3}}}
	retired := record.Retired{Segment: 4}
	suspension := queue.Suspension{Subject: queue.Subject{Kind: queue.OfTenant, Name: "t"}, Terms: d.Hold}
	flush := record.Flush{Since: when, Message: 5, Destination: "d"}
	over := outcomes()
	before := record.Before{At: record.Place{Segment: 5, Offset: 99}, Count: 3}
	for name, c := range map[string]struct {
		want any
		head []byte
		read func([]byte) (any, error)
	}{
		"message":     {m, m.Append(nil), func(b []byte) (any, error) { return record.ParseMessage(b) }},
		"delivery":    {d, d.Append(nil), func(b []byte) (any, error) { return record.ParseDelivery(b) }},
		"gone":        {gone, gone.Append(nil), func(b []byte) (any, error) { return record.ParseGone(b) }},
		"destination": {dest, dest.Append(nil), func(b []byte) (any, error) { return record.ParseDestination(b) }},
		"segments":    {segs, segs.Append(nil), func(b []byte) (any, error) { return record.ParseSegments(b) }},
		"retired":     {retired, retired.Append(nil), func(b []byte) (any, error) { return record.ParseRetired(b) }},
		"flush":       {flush, flush.Append(nil), func(b []byte) (any, error) { return record.ParseFlush(b) }},
		"suspension": {suspension, record.AppendSuspension(nil, &suspension), func(b []byte) (any, error) {
			return record.ParseSuspension(b)
		}},
		"outcomes": {over, over.Append(nil), func(b []byte) (any, error) { return record.ParseOutcomes(b) }},
		"before":   {before, before.Append(nil), func(b []byte) (any, error) { return record.ParseBefore(b) }},
		"table":    {table(), table().Append(nil), func(b []byte) (any, error) { return record.ParseTable(b) }},
	} {
		got, err := c.read(c.head)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: read %+v, %v, want %+v", name, got, err, c.want)
		}
		for n := range c.head {
			if _, err := c.read(c.head[:n]); !errors.Is(err, record.ErrDamaged) {
				t.Errorf("%s cut after %d bytes: %v, want ErrDamaged", name, n, err)
			}
		}
		if _, err := c.read(append(bytes.Clone(c.head), 0)); !errors.Is(err, record.ErrDamaged) {
			t.Errorf("%s with a byte too many: %v, want ErrDamaged", name, err)
		}
	}
}

// TestOutcomesAreCounted reads how many outcomes a record has without reading them, and
// fills in its place.
func TestOutcomesAreCounted(t *testing.T) {
	want := outcomes()
	head := want.Append(nil)
	at := record.Place{Segment: 6, Offset: 100}
	record.SetAt(head, at)
	got, n, err := record.ParseOutcomesState(head)
	want.At, want.List = at, nil
	if err != nil || n != 2 || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v with %d outcomes, %v, want 2 at %v", got, n, err, at)
	}
	if _, _, err := record.ParseOutcomesState(head[:20]); !errors.Is(err, record.ErrDamaged) {
		t.Errorf("a part of a head: %v, want ErrDamaged", err)
	}
}

const salt = 0x0123456789abcdef

// file is a file with some frames, and where they begin.
func file(n int) (b []byte, at []int64) {
	b = record.FileHeader{Kind: record.SegmentFile, Number: 1, Salt: salt}.Append(nil)
	for i := range n {
		d := delivery()
		d.ID = uint64(i)
		body := bytes.Repeat([]byte{byte(i)}, i*37)
		f := record.Frame{Kind: record.KindDelivery, Flags: record.First | record.Last, Head: d.Append(nil),
			Body: body, BodySum: record.Sum(body)}
		at = append(at, int64(len(b)))
		b = f.Append(b, salt, int64(len(b)))
	}
	return b, at
}

func scan(b []byte) (at []int64, gaps []record.Gap) {
	s := record.NewScanner(bytes.NewReader(b), int64(len(b)), salt, record.HeaderSize)
	for s.Next() {
		at = append(at, s.Offset())
	}
	return at, s.Gaps()
}

func TestScannerStepsOverDamage(t *testing.T) {
	b, at := file(30)
	if got, gaps := scan(b); !reflect.DeepEqual(got, at) || len(gaps) > 0 {
		t.Fatalf("a sound file has frames at %v and gaps %v, want %v", got, gaps, at)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		hurt := bytes.Clone(b)
		off := int64(record.HeaderSize) + rng.Int64N(int64(len(b)-record.HeaderSize))
		hurt[off] ^= 1 << rng.IntN(8)
		got, gaps := scan(hurt)
		if len(got) < len(at)-1 {
			t.Fatalf("one bit at %d cost %d frames", off, len(at)-len(got))
		}
		if len(got) == len(at) && len(gaps) == 0 && !filling(b, at, off) {
			t.Fatalf("a flipped bit at %d was not noticed", off)
		}
	}
}

// filling reports whether off is among the bytes that mean nothing: four in
// each frame's header, and those behind it.
func filling(b []byte, at []int64, off int64) bool {
	for i, from := range at {
		end := int64(len(b))
		if i+1 < len(at) {
			end = at[i+1]
		}
		if off >= from && off < end {
			h, _ := record.ParseFrameHeader(b[from:], salt, from)
			rel := off - from
			return rel >= 28 && rel < 32 || rel >= 18 && rel < 20 || rel >= record.FrameSize+int64(h.HeadLen+h.BodyLen)
		}
	}
	return false
}

// TestForgedFrame has a message whose content is a frame. Nobody who does not
// know the salt can make the scanner take it for one.
func TestForgedFrame(t *testing.T) {
	d := delivery()
	inner := record.Frame{Kind: record.KindDelivery, Flags: record.First | record.Last, Head: d.Append(nil)}
	for _, guess := range []uint64{0, salt + 1} {
		b := record.FileHeader{Kind: record.SegmentFile, Number: 1, Salt: salt}.Append(nil)
		at := int64(len(b)) + record.FrameSize + 8
		body := inner.Append(make([]byte, 0, 1000), guess, at)
		outer := record.Frame{Kind: record.KindMessage, Head: make([]byte, 8), Body: body, BodySum: record.Sum(body)}
		b = outer.Append(b, salt, int64(len(b)))
		b[record.HeaderSize] ^= 1 // the outer frame's length is damaged
		if got, _ := scan(b); len(got) > 0 {
			t.Errorf("with the salt %x a content passed for a frame at %v", guess, got)
		}
	}
}

func TestHeader(t *testing.T) {
	want := record.FileHeader{Kind: record.ContentFile, Number: 7, Salt: 8}
	good := want.Append(nil)
	newer := func(b []byte) []byte {
		for _, c := range [][]byte{b, b[512:]} {
			c[8]++
			binary.LittleEndian.PutUint32(c[32:], record.Sum(c[:32]))
		}
		return b
	}
	for name, c := range map[string]struct {
		hurt func([]byte) []byte
		err  error
	}{
		"sound":             {func(b []byte) []byte { return b }, nil},
		"first copy gone":   {func(b []byte) []byte { clear(b[:512]); return b }, nil},
		"second copy gone":  {func(b []byte) []byte { clear(b[512:]); return b }, nil},
		"both damaged":      {func(b []byte) []byte { b[9]++; b[521]++; return b }, record.ErrDamaged},
		"empty":             {func([]byte) []byte { return nil }, record.ErrDamaged},
		"of another kind":   {func([]byte) []byte { return record.FileHeader{Kind: record.SegmentFile}.Append(nil) }, record.ErrDamaged},
		"newer":             {newer, record.ErrNewer},
		"newer, first gone": {func(b []byte) []byte { newer(b); clear(b[:512]); return b }, record.ErrNewer},
		"another magic": {func(b []byte) []byte {
			for _, c := range [][]byte{b, b[512:]} {
				c[0]++
				binary.LittleEndian.PutUint32(c[32:], record.Sum(c[:32]))
			}
			return b
		}, record.ErrDamaged},
		"cut in the first copy": {func(b []byte) []byte { return b[:35] }, record.ErrDamaged},
		"the copies differ": {func(b []byte) []byte {
			return append(b[:512], record.FileHeader{Kind: record.ContentFile, Number: 9, Salt: 9}.Append(nil)[512:]...)
		}, nil},
		"another program's": {func(b []byte) []byte { return bytes.Repeat([]byte("x"), len(b)) }, record.ErrDamaged},
	} {
		got, err := record.ReadHeader(bytes.NewReader(c.hurt(bytes.Clone(good))), record.ContentFile)
		if !errors.Is(err, c.err) || err == nil && got != want || errors.Is(err, record.ErrDamaged) && c.err != record.ErrDamaged {
			t.Errorf("%s: %+v, %v, want %v", name, got, err, c.err)
		}
	}
	b := bytes.NewReader(good)
	for name, c := range map[string]struct {
		r   io.ReaderAt
		err error
	}{
		"the first copy cannot be read": {failing{b, 0, 512, syscall.EIO}, nil},
		"neither can be read":           {failing{b, 0, 1024, syscall.EIO}, record.ErrDamaged},
		"reading fails":                 {failing{b, 0, 512, errElse}, errElse},
		"reading fails beyond it":       {failing{b, 36, 1024, errElse}, nil},
	} {
		if got, err := record.ReadHeader(c.r, record.ContentFile); !errors.Is(err, c.err) || err == nil && got != want {
			t.Errorf("%s: %+v, %v, want %v", name, got, err, c.err)
		}
	}
}
