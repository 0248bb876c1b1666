package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/keys"
)

// keyHash stands for a tenant and a key. At 128 bits no two meet by chance.
type keyHash = keys.Hash

func hashKey(tenant, key string) keyHash {
	b := binary.AppendUvarint(make([]byte, 0, 64), uint64(len(tenant)))
	b = append(append(b, tenant...), key...)
	sum := sha256.Sum256(b)
	return keyHash(sum[:16])
}

// keyTable tells which message has a key, or had it not long ago.
type keyTable struct {
	known    map[keyHash]uint64
	reserved map[keyHash]uint64 // of messages on their way in
	left     *keys.Keys         // those whose messages have left
}

func newKeyTable(o *Options) keyTable {
	t := keyTable{known: map[keyHash]uint64{}, reserved: map[keyHash]uint64{}}
	keep, most := o.KeepKeys, o.MaxKeys
	if keep == 0 {
		keep = DefaultKeepKeys
	}
	if most == 0 {
		most = DefaultMaxKeys
	}
	t.left = keys.New(keep.Microseconds(), most)
	return t
}

// leftKey is the key of a message that leaves; zero if it has none. One without a time
// is forgotten.
type leftKey struct {
	key keyHash
	at  time.Time
}

// left is the key of a message that leaves at a time.
func (c *claimed) left(at time.Time) leftKey {
	if !c.keyed {
		return leftKey{}
	}
	return leftKey{c.key, at}
}

// leave is for when a message has left the index. The lock is held.
func (t *keyTable) leave(l leftKey, number uint64) {
	if t.known[l.key] == number {
		delete(t.known, l.key)
	}
	if !l.at.IsZero() {
		t.left.Add(keys.Entry{Hash: l.key, Message: number, Left: index.Micros(l.at)})
	}
}

// sweep forgets the keys of messages that are not there: of those that were
// dropped, or damaged. Only recover uses it.
func (t *keyTable) sweep(x *index.Index) {
	maps.DeleteFunc(t.known, func(_ keyHash, number uint64) bool { return !x.Has(number) })
}

// lookUpKey returns the message in the queue that has a key. The lock is held.
func (s *Spool) lookUpKey(h keyHash) (number uint64, known bool) {
	number = s.keys.known[h] // zero, which no message has, where it is not known
	return number, s.index.Has(number)
}

// rememberKey is for when the message is in the index. The lock is held.
func (s *Spool) rememberKey(h keyHash, number uint64) { s.keys.known[h] = number }

// CountKeys counts the remembered keys of messages that have left.
func (s *Spool) CountKeys(ctx context.Context) (queue.KeyCount, error) {
	if err := s.begin(ctx); err != nil {
		return queue.KeyCount{}, err
	}
	defer s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	return queue.KeyCount{Remembered: s.keys.left.Len(), Forgotten: s.keys.left.Forgotten}, nil
}

// claimKeys reserves the keys of drafts until freeKeys. If a message has a key already,
// or had it recently, it gives the draft that message's number. Of drafts with the same
// key the first counts. A put of a message with a key waits until no other call has
// reserved it; all calls reserve in the same order, so that two never wait for each
// other. The keys of messages that have left are looked up after the reservation,
// because until it is released no message with the key can come and leave.
func (s *Spool) claimKeys(ctx context.Context, now time.Time, drafts []*draft) error {
	keyed := withKeys(drafts)
	for next := 0; next < len(keyed); {
		freed := s.reserveSome(keyed, &next)
		if freed == nil {
			continue
		}
		select {
		case <-freed:
		case <-ctx.Done():
			s.freeKeys(drafts)
			return ctx.Err()
		}
	}
	for _, d := range keyed {
		if !d.reserved {
			continue
		}
		number, known, err := s.leftWith(d.key, now)
		if err != nil {
			s.freeKeys(drafts)
			return err
		}
		if known {
			d.number, d.duplicate = number, true
		}
	}
	for i, d := range keyed[min(1, len(keyed)):] {
		if first := keyed[i]; first.key == d.key {
			d.number, d.duplicate = first.number, true
		}
	}
	return nil
}

// withKeys is the drafts that have a key, in the order of those.
func withKeys(drafts []*draft) []*draft {
	keyed := make([]*draft, 0, len(drafts))
	for _, d := range drafts {
		if d.keyed {
			keyed = append(keyed, d)
		}
	}
	slices.SortStableFunc(keyed, func(a, b *draft) int { return bytes.Compare(a.key[:], b.key[:]) })
	return keyed
}

// reserveSome continues with the next drafts until one has a key that another call has
// reserved. Then it returns a channel that is closed when some are freed.
func (s *Spool) reserveSome(keyed []*draft, next *int) chan struct{} {
	h := s.hold()
	defer h.end()
	for ; *next < len(keyed); *next++ {
		h.step(1)
		d := keyed[*next]
		if *next > 0 && keyed[*next-1].key == d.key {
			continue
		}
		if n, known := s.lookUpKey(d.key); known {
			d.number, d.duplicate = n, true
			continue
		}
		if _, reserved := s.keys.reserved[d.key]; reserved {
			s.awaited = true
			return s.freed
		}
		s.keys.reserved[d.key] = d.number
		d.reserved = true
	}
	return nil
}

// freeKeys gives up what claimKeys reserved.
func (s *Spool) freeKeys(drafts []*draft) {
	if !slices.ContainsFunc(drafts, func(d *draft) bool { return d.reserved }) {
		return
	}
	h := s.hold()
	defer h.end()
	for _, d := range drafts {
		h.step(1)
		if d.reserved {
			delete(s.keys.reserved, d.key)
			d.reserved = false
		}
	}
	s.notify()
}
