package disk

import (
	"errors"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestRoomOfAMessage reckons how much the records of a message take: each string counts with
// its length, in the record that has it. A message is refused if the bound of a record, or
// of all, is one byte less.
func TestRoomOfAMessage(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	m := &queue.Message{From: x(3), Key: x(5), Tenant: x(7), EnvelopeID: x(11), Submitter: x(13), Metadata: map[string]string{x(17): x(19)},
		Recipients: []queue.Recipient{{Address: x(23), OriginalType: x(29), Original: x(31)}, {Address: x(200)}}}
	parts := []queue.Part{{Recipients: []int{0}}, {Recipients: []int{1}}}
	const body = 1000
	head := int64(messageRoom + 3 + 5 + 7 + 11 + 13 + 17 + 19 + pairRoom)
	first, second := int64(deliveryRoom+recipientRoom+23+29+31), int64(deliveryRoom+recipientRoom+200)
	group := head + body + first + second
	l := limits{head: second, group: group}
	if size, err := l.checkRoom(m, parts, body); err != nil || size != group {
		t.Errorf("the records take %d, %v, want %d", size, err, group)
	}
	for field, l := range map[string]limits{
		"Recipients": {head: second - 1, group: group}, "Recipients, all": {head: second, group: group - 1},
	} {
		var bad *queue.MessageError
		if _, err := l.checkRoom(m, parts, body); !errors.As(err, &bad) || bad.Field != "Recipients" || (bad.Index == 1) != (field == "Recipients") {
			t.Errorf("a byte too much in %s: %v", field, err)
		}
	}
	l = limits{head: head, group: group}
	if _, err := l.checkRoom(m, nil, body); err != nil {
		t.Errorf("an envelope that just fits: %v", err)
	}
	var bad *queue.MessageError
	l.head--
	if _, err := l.checkRoom(m, nil, body); !errors.As(err, &bad) || bad.Field != "Metadata" {
		t.Errorf("an envelope that is a byte too long: %v", err)
	}
}

// TestRoomOfReplies has replies that just fit the record of a delivery, and ones that do
// not by one byte, or by far: those are cut, all to the same length.
func TestRoomOfReplies(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	list := func() []record.Recipient {
		one := record.Recipient{Recipient: queue.Recipient{Address: x(10), OriginalType: x(6), Original: x(20)}}
		one.Reply = queue.Reply{Host: x(9), Addr: x(8), Enhanced: x(5), Text: x(100)}
		other := one
		other.Reply.Text = x(50)
		return []record.Recipient{one, other}
	}
	names, replies := int64(deliveryRoom+2*(recipientRoom+36)), int64(2*(9+8+5)+150)
	for _, c := range []struct {
		room int64
		want [4]int // of the host of the first, and its text, and those of the other
	}{
		{replies, [4]int{9, 100, 9, 50}},
		{replies - 1, [4]int{9, 64, 9, 50}},
		{2*(9+8+5) + 100, [4]int{9, 32, 9, 32}},
		{7, [4]int{0, 0, 0, 0}},
		{0, [4]int{0, 0, 0, 0}},
		{-5, [4]int{0, 0, 0, 0}},
	} {
		l, got := limits{head: names + c.room}, list()
		l.fitReplies(got)
		if is := [4]int{len(got[0].Reply.Host), len(got[0].Reply.Text), len(got[1].Reply.Host), len(got[1].Reply.Text)}; is != c.want {
			t.Errorf("room for %d bytes: the replies have %v, want %v", c.room, is, c.want)
		}
	}
}
