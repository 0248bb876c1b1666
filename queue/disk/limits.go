package disk

import (
	"errors"
	"fmt"
	"math"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// The bounds of the options.
const (
	// MaxSegmentSize is the greatest Options.SegmentSize.
	MaxSegmentSize = 1 << 30

	// MaxLargeContent is the greatest Options.LargeContent. Smaller contents are read and
	// written in one piece.
	MaxLargeContent = 256 << 20

	// MinOpenSegments is the least Options.OpenSegments other than zero.
	MinOpenSegments = 4
)

// Places in a segment have 32 bits. A group of records is not split, so that a
// segment may get as long as SegmentSize and the longest group together.
const (
	maxGroup  = 2 << 30 // records that are written as one, in bytes
	maxNumber = 1 << 44 // ordinals of messages: an id has 48 bits, four of which are not part of the ordinal
	maxName   = 1 << 10 // bytes of a destination that is postponed
)

// What the records of a message take in addition to their strings, at most.
const (
	recipientRoom = 64   // numbers of a recipient, and of its last outcome without the reply
	deliveryRoom  = 1800 // a delivery's numbers, destination and tenant, and two reasons
	messageRoom   = 256  // numbers of a message
	pairRoom      = 10   // lengths of a name and a value of the metadata
)

var (
	errTooLarge = errors.New("4 GiB or more")
	errTooMany  = errors.New("more than fit one record")
)

// check reports the options that are out of bounds, all at once.
func (o Options) check() error {
	var list []error
	for _, v := range []struct {
		name            string
		value, from, to int64
	}{
		{"SegmentSize", o.SegmentSize, 1, MaxSegmentSize},
		{"LargeContent", o.LargeContent, 1, MaxLargeContent},
		{"OpenSegments", int64(o.OpenSegments), MinOpenSegments, math.MaxInt32},
	} {
		if v.value != 0 && (v.value < v.from || v.value > v.to) {
			list = append(list, fmt.Errorf("Options.%s: %d is not from %d to %d", v.name, v.value, v.from, v.to))
		}
	}
	return errors.Join(list...)
}

// limits are the limits of what is written, so that all of it can be read again. Tests
// make them small.
type limits struct {
	head  int64  // of a record
	group int64  // records that are written as one
	next  uint64 // no message gets this ordinal
}

func defaultLimits() limits {
	return limits{head: record.MaxHead, group: maxGroup, next: maxNumber}
}

// checkRoom refuses a message whose records would be too long to be read, now or after
// settlements, which cut replies. It returns the size of the records.
func (l *limits) checkRoom(m *queue.Message, parts []queue.Part, body int64) (size int64, err error) {
	size = messageRoom + int64(len(m.From)+len(m.Key)+len(m.Tenant)+len(m.EnvelopeID)+len(m.Submitter))
	for name, value := range m.Metadata {
		size += int64(len(name)+len(value)) + pairRoom
	}
	if size > l.head {
		return 0, &queue.MessageError{Field: "Metadata", Index: -1, Enhanced: "5.3.4", Err: errTooMany}
	}
	size += body
	for _, p := range parts {
		n := int64(deliveryRoom)
		for _, i := range p.Recipients {
			r := &m.Recipients[i]
			n += int64(len(r.Address)+len(r.OriginalType)+len(r.Original)) + recipientRoom
		}
		if n > l.head {
			return 0, tooMany(p.Recipients[0])
		}
		size += n
	}
	if size > l.group {
		return 0, tooMany(-1)
	}
	return size, nil
}

// tooMany is the error of a message with more recipients than can be stored, at
// the destination of one of them or in all.
func tooMany(index int) error {
	return &queue.MessageError{Field: "Recipients", Index: index, Enhanced: "5.5.3", Err: errTooMany}
}

func tooLarge() error {
	return &queue.MessageError{Field: "Content", Index: -1, Enhanced: "5.3.4", Err: errTooLarge}
}

// fitReplies cuts the replies of recipients where the record of their delivery
// would be too long to be read: each to the same length, the longest that does.
func (l *limits) fitReplies(list []record.Recipient) {
	room := l.head - deliveryRoom
	for i := range list {
		r := &list[i]
		room -= int64(len(r.Address)+len(r.OriginalType)+len(r.Original)) + recipientRoom
	}
	for most := queue.MaxReplyText; ; most /= 2 {
		need := int64(0)
		for i := range list {
			for _, s := range replyStrings(&list[i].Reply) {
				need += int64(min(len(*s), most))
			}
		}
		if need > room && most > 0 {
			continue
		}
		if most == queue.MaxReplyText {
			return
		}
		for i := range list {
			for _, s := range replyStrings(&list[i].Reply) {
				*s = (*s)[:min(len(*s), most)]
			}
		}
		return
	}
}

func replyStrings(r *queue.Reply) [4]*string {
	return [...]*string{&r.Host, &r.Addr, &r.Enhanced, &r.Text}
}
