package record_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// FuzzRecord has every decoder read any bytes. What is read must be written and
// read again as the same.
func FuzzRecord(f *testing.F) {
	m, d := message(), delivery()
	f.Add(m.Append(nil))
	f.Add(d.Append(nil))
	o := outcomes()
	f.Add(o.Append(nil))
	f.Add((&record.Gone{ID: 1, Destination: "d", Home: 2}).Append(nil))
	f.Add((&record.Destination{Name: "d", Postponed: when}).Append(nil))
	f.Add((&record.Segments{Next: 1, List: []record.Extent{{Segment: 2, Saved: 3}}}).Append(nil))
	f.Add((&record.Flush{Since: when, Message: 5, Destination: "d"}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := record.ParseMessage(b); err == nil {
			again, err := record.ParseMessage(v.Append(nil))
			same(t, v, again, err)
		}
		if v, err := record.ParseDelivery(b); err == nil {
			again, err := record.ParseDelivery(v.Append(nil))
			same(t, v, again, err)
		}
		if v, err := record.ParseGone(b); err == nil {
			again, err := record.ParseGone(v.Append(nil))
			same(t, v, again, err)
		}
		if v, err := record.ParseDestination(b); err == nil {
			again, err := record.ParseDestination(v.Append(nil))
			same(t, v, again, err)
		}
		if v, err := record.ParseSegments(b); err == nil {
			again, err := record.ParseSegments(v.Append(nil))
			same(t, v, again, err)
		}
		if v, err := record.ParseFlush(b); err == nil {
			again, err := record.ParseFlush(v.Append(nil))
			same(t, v, again, err)
		}
		if v, err := record.ParseSuspension(b); err == nil {
			again, err := record.ParseSuspension(record.AppendSuspension(nil, &v))
			same(t, v, again, err)
		}
		if v, err := record.ParseOutcomes(b); err == nil {
			again, err := record.ParseOutcomes(v.Append(nil))
			same(t, v, again, err)
		}
		if v, err := record.ParseBefore(b); err == nil {
			again, err := record.ParseBefore(v.Append(nil))
			same(t, v, again, err)
		}
		_, _, _ = record.ParseOutcomesState(b)
		_, _ = record.ParseDeliveryState(b)
		_, _ = record.ParseRetired(b)
	})
}

// FuzzTable is the same for checkpoints.
func FuzzTable(f *testing.F) {
	f.Add(table().Append(nil))
	f.Add((&record.Table{}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := record.ParseTable(b); err == nil {
			again, err := record.ParseTable(v.Append(nil))
			same(t, v, again, err)
		}
	})
}

// FuzzScanner has the scanner read any file: it ends, and what it returns lies
// in the file, in order, with gaps in between.
func FuzzScanner(f *testing.F) {
	b, _ := file(5)
	f.Add(b)
	f.Add(b[:len(b)-9])
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = record.ReadHeader(bytes.NewReader(b), record.SegmentFile)
		s := record.NewScanner(bytes.NewReader(b), int64(len(b)), salt, 0)
		end := int64(0)
		for s.Next() {
			if s.Offset() < end || s.End() > int64(len(b)) {
				t.Fatalf("a frame from %d to %d after %d in a file of %d", s.Offset(), s.End(), end, len(b))
			}
			end = s.End()
		}
		if s.Err() != nil {
			t.Fatal(s.Err())
		}
	})
}

func same(t *testing.T, v, again any, err error) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(v, again) {
		t.Fatalf("%+v became %+v, %v", v, again, err)
	}
}
