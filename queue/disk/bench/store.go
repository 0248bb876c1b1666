package bench

import (
	"context"
	"encoding/binary"
	"io"
	"strconv"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

// store is what is measured. Life puts a message, waits until it would survive
// a power cut, reads one back with its envelope and deletes it.
type store interface {
	life(id uint64, data []byte) error
	close() error
}

// backlog is how many messages wait in each store while it is measured: a queue
// is seldom empty.
const backlog = 20_000

var now = time.Unix(1e9, 0)

// message is mail of which the stores keep all that the spool does.
func message(id uint64, data []byte, notBefore time.Time) *queue.Message {
	return &queue.Message{From: "sender@example.org", Content: queue.Bytes(data), Arrived: now, NotBefore: notBefore,
		Recipients: []queue.Recipient{{Address: "someone@d" + strconv.FormatUint(id%1000, 10) + ".example"}}}
}

// parts is what the other stores write of a message: the envelope before the
// content, and a key for the order in which deliveries are due.
func parts(id uint64, m *queue.Message) (record, due []byte, err error) {
	split, err := queue.Split(m)
	if err != nil {
		return nil, nil, err
	}
	add := func(b []byte, s string) []byte { return append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	data := queue.BytesOf(m.Content)
	record = make([]byte, 0, len(data)+128)
	for _, s := range []string{m.From, m.Tenant, m.Key, m.EnvelopeID, m.Recipients[0].Address, split[0].Destination} {
		record = add(record, s)
	}
	record = binary.AppendVarint(record, m.Arrived.UnixNano())
	record = append(record, data...)
	due = add(nil, split[0].Destination)
	due = binary.BigEndian.AppendUint64(due, uint64(max(0, m.NotBefore.Unix())))
	due = binary.BigEndian.AppendUint64(due, id)
	return record, due, nil
}

// spool is the store this repository has.
type spool struct{ *disk.Spool }

func openSpool(dir string) (store, error) {
	s, err := disk.Open(dir, disk.Options{})
	return spool{s}, err
}

func (s spool) wait(id uint64, data []byte) error {
	_, err := s.Put(context.Background(), now, message(id, data, now.Add(time.Hour)))
	return err
}

func (s spool) life(id uint64, data []byte) error {
	ctx := context.Background()
	if _, err := s.Put(ctx, now, message(id, data, time.Time{})); err != nil {
		return err
	}
	c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 1})
	if err != nil || len(c.Deliveries) == 0 {
		return err
	}
	d := &c.Deliveries[0]
	content, err := s.Open(ctx, d.Lease.Message)
	if err != nil {
		return err
	}
	r, err := content.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	done, err := s.Settle(ctx, now, []queue.Settlement{{Lease: d.Lease,
		Results: []queue.Result{{Recipient: 0, Outcome: queue.Delivered}}}})
	if err != nil {
		return err
	}
	return done[0].Err
}

func (s spool) close() error { return s.Close() }
