package disk

import (
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

// leftKey is a key whose message leaves; zero where it has none. One without a
// time is forgotten.
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
	number, known = s.keys.known[h]
	return number, known && s.index.Has(number)
}

// rememberKey is for when the message is in the index. The lock is held.
func (s *Spool) rememberKey(h keyHash, number uint64) { s.keys.known[h] = number }

// CountKeys counts what is remembered of messages that have left.
func (s *Spool) CountKeys(ctx context.Context) (queue.KeyCount, error) {
	if err := s.begin(ctx); err != nil {
		return queue.KeyCount{}, err
	}
	defer s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	return queue.KeyCount{Remembered: s.keys.left.Len(), Forgotten: s.keys.left.Forgotten}, nil
}

// awaitKeys waits until no other call is putting a message with the key of one
// of the drafts, and looks which of them belong to messages that have left. The
// lock is held when it returns without an error.
func (s *Spool) awaitKeys(ctx context.Context, now time.Time, drafts []*draft) error {
	for {
		s.mu.Lock()
		if !s.anyReserved(drafts) {
			d := s.unseen(drafts)
			if d == nil {
				return nil
			}
			seen := s.keys.left.Added + 1
			s.mu.Unlock()
			number, known, err := s.leftWith(d.key, now)
			if err != nil {
				return err
			}
			if d.left, d.seen = 0, seen; known {
				d.left = number
			}
			continue
		}
		freed := s.freed
		s.awaited = true
		s.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unseen is a draft whose key may be one of what has left and was not looked up
// since the last was added. The lock is held.
func (s *Spool) unseen(drafts []*draft) *draft {
	for _, d := range drafts {
		if d.keyed && d.seen != s.keys.left.Added+1 && s.keys.left.Len() > 0 {
			return d
		}
	}
	return nil
}

// reserveKey reserves a draft's key until freeKeys, or, where a message has it,
// gives the draft that message's number. The lock is held.
func (s *Spool) reserveKey(d *draft) {
	if !d.keyed {
		return
	}
	if n, known := s.lookUpKey(d.key); known {
		d.number, d.duplicate = n, true
		return
	}
	if d.left != 0 && s.keys.left.Len() > 0 {
		d.number, d.duplicate = d.left, true
		return
	}
	s.keys.reserved[d.key] = d.number
	d.reserved = true
}

func (s *Spool) anyReserved(drafts []*draft) bool {
	for _, d := range drafts {
		if _, reserved := s.keys.reserved[d.key]; d.keyed && reserved {
			return true
		}
	}
	return false
}

// freeKeys gives up what reserveKey reserved.
func (s *Spool) freeKeys(drafts []*draft) {
	if !slices.ContainsFunc(drafts, func(d *draft) bool { return d.reserved }) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range drafts {
		if d.reserved {
			delete(s.keys.reserved, d.key)
			d.reserved = false
		}
	}
	s.notify()
}
