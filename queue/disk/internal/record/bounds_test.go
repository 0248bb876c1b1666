package record_test

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestNothingElseIsRead has records of which one thing is said at a time: nothing
// else may be read of them.
func TestNothingElseIsRead(t *testing.T) {
	message := func(change func(*record.Message)) {
		t.Helper()
		m := record.Message{}
		change(&m)
		got, err := record.ParseMessage(m.Append(nil))
		same(t, m, got, err)
	}
	none := func(*record.Message) {}
	for _, change := range []func(*record.Message){none,
		func(m *record.Message) { m.InFile = true },
		func(m *record.Message) { m.Envelope.UTF8 = true },
		func(m *record.Message) { m.Envelope.Submitter = "s" },
		func(m *record.Message) { m.Envelope.Metadata = map[string]string{"k": "v"} },
	} {
		message(change)
	}
	for _, change := range []func(*record.Delivery){
		func(*record.Delivery) {},
		func(d *record.Delivery) { d.AtMostOnce = true },
		func(d *record.Delivery) { d.Held = true },
		func(d *record.Delivery) { d.Held, d.Hold = true, queue.Terms{Reason: "why"} },
		func(d *record.Delivery) { d.Warned = true },
		func(d *record.Delivery) { d.Marked = true },
		func(d *record.Delivery) { d.AtOnce = true },
		func(d *record.Delivery) { d.InFile = true },
		func(d *record.Delivery) { d.Because = "why" },
	} {
		d := record.Delivery{}
		change(&d)
		head := d.Append(nil)
		got, err := record.ParseDelivery(head)
		same(t, d, got, err)
		got, err = record.ParseDeliveryState(head)
		same(t, d, got, err)
	}
	left := record.Gone{ID: 1, Destination: "d", Home: 2, Key: [16]byte{3, 15: 4}, Left: when}
	head := left.Append(nil)
	gone, err := record.ParseGone(head)
	same(t, left, gone, err)
	for n := 5; n < len(head); n++ { // 4 bytes are the end of one without a key
		if _, err := record.ParseGone(head[:n]); !errors.Is(err, record.ErrDamaged) {
			t.Errorf("an end with a key, cut after %d bytes: %v, want ErrDamaged", n, err)
		}
	}
	got, err := record.ParseTable((&record.Table{}).Append(nil))
	same(t, &record.Table{}, got, err)
}

// TestShortRecords has records that say little take few bytes.
func TestShortRecords(t *testing.T) {
	const fixed, aTime = 12, 9 + 1 // the time is that of year 1, which is none
	for name, c := range map[string]struct {
		record interface{ Append([]byte) []byte }
		want   int
	}{
		"delivery":                        {&record.Delivery{}, fixed + 2 + aTime + 5},
		"delivery on hold, for no reason": {&record.Delivery{Held: true}, fixed + 2 + aTime + 5},
		"delivery that was on hold":       {&record.Delivery{Hold: queue.Terms{Reason: "why"}}, fixed + 2 + aTime + 5},
		"message":                         {&record.Message{}, 4 + 4 + 1 + 3*aTime + 4},
		"end":                             {&record.Gone{}, 3},
		"end with a key":                  {&record.Gone{Left: time.Unix(0, 0)}, 3 + 16 + 2},
	} {
		if got := len(c.record.Append(nil)); got > c.want {
			t.Errorf("a %s takes %d bytes, want %d", name, got, c.want)
		}
	}
}

// TestNumbersOutOfBounds has heads with numbers that no record has. They are damaged,
// and those on the bound are not.
func TestNumbersOutOfBounds(t *testing.T) {
	const none = "\x00"
	uvarint := func(v uint64) string { return string(binary.AppendUvarint(nil, v)) }
	delivery := func(size, flags uint64) string {
		return "home of it  " + "\x01" + none + none + none + none + none + uvarint(size) + uvarint(flags) + none
	}
	destination := func(nanoseconds uint64) string { return none + none + uvarint(nanoseconds) + none }
	table := func(slot uint64, holds string) string {
		flags := none
		if holds != "" {
			flags = "\x02"
		}
		return none + none + none + flags + none + none + "\x01" + uvarint(slot) + none + none + none + none + none + holds
	}
	endless := string(make([]byte, 0, 11)) + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
	readDelivery := func(b []byte) error { _, err := record.ParseDelivery(b); return err }
	readDestination := func(b []byte) error { _, err := record.ParseDestination(b); return err }
	readTable := func(b []byte) error { _, err := record.ParseTable(b); return err }
	readRetired := func(b []byte) error { _, err := record.ParseRetired(b); return err }
	for name, c := range map[string]struct {
		head    string
		read    func([]byte) error
		damaged bool
	}{
		"the largest size":                   {delivery(1<<32-1, 0), readDelivery, false},
		"a size of 33 bits":                  {delivery(1<<32, 0), readDelivery, true},
		"terms of a hold":                    {delivery(1, 2+64) + none + none + none + none + none, readDelivery, false},
		"terms of no hold":                   {delivery(1, 64) + none + none + none + none + none, readDelivery, true},
		"the last nanosecond":                {destination(1e9 - 1), readDestination, false},
		"a second of nanoseconds":            {destination(1e9), readDestination, true},
		"the last slot":                      {table(1<<16-1, ""), readTable, false},
		"a slot of 17 bits":                  {table(1<<16, ""), readTable, true},
		"a hold":                             {table(0, "\x01"+"\x01"+"\x01"), readTable, false},
		"a hold whose end is not there":      {table(0, "\x01"+"\x80\x01"), readTable, true},
		"a hold whose end does not end":      {table(0, "\x01"+"\x01"+endless), readTable, true},
		"more holds than there is room":      {table(0, "\x02"+"\x01"+"\x01"), readTable, true},
		"a number that does not end":         {endless, readRetired, true},
		"a delivery with nothing but a home": {"home of it  ", readDelivery, true},
	} {
		if err := c.read([]byte(c.head)); errors.Is(err, record.ErrDamaged) != c.damaged || !c.damaged && err != nil {
			t.Errorf("%s: %v, want damage: %v", name, err, c.damaged)
		}
	}
}

func TestPlacesInOrder(t *testing.T) {
	for _, c := range []struct {
		a, b record.Place
		want bool
	}{
		{record.Place{Segment: 1, Offset: 9}, record.Place{Segment: 2, Offset: 1}, true},
		{record.Place{Segment: 2, Offset: 1}, record.Place{Segment: 1, Offset: 9}, false},
		{record.Place{Segment: 1, Offset: 1}, record.Place{Segment: 1, Offset: 2}, true},
		{record.Place{Segment: 1, Offset: 2}, record.Place{Segment: 1, Offset: 1}, false},
		{record.Place{Segment: 1, Offset: 1}, record.Place{Segment: 1, Offset: 1}, false},
	} {
		if got := c.a.Before(c.b); got != c.want {
			t.Errorf("%v before %v: %v", c.a, c.b, got)
		}
	}
}

// TestHomeIsFilledIn has the place of the message's record filled in afterwards.
func TestHomeIsFilledIn(t *testing.T) {
	d := delivery()
	head := d.Append([]byte("before"))[len("before"):]
	d.Home = record.Place{Segment: 1 << 40, Offset: 1<<32 - 1}
	record.SetHome(head, d.Home)
	if got, err := record.ParseDelivery(head); err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("read %+v, %v, want %+v", got, err, d)
	}
}
