package disk

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// keyHash stands for a tenant and a key. At 128 bits no two meet by chance.
type keyHash [16]byte

func hashKey(tenant, key string) keyHash {
	b := binary.AppendUvarint(make([]byte, 0, 64), uint64(len(tenant)))
	b = append(append(b, tenant...), key...)
	sum := sha256.Sum256(b)
	return keyHash(sum[:16])
}

// keyTable tells which message has a key. A key whose message has left stays
// until the next sweep and means nothing.
type keyTable struct {
	known    map[keyHash]uint64
	reserved map[keyHash]uint64 // of messages on their way in
	sweepAt  int
}

func newKeyTable() keyTable {
	return keyTable{known: map[keyHash]uint64{}, reserved: map[keyHash]uint64{}, sweepAt: 1024}
}

// lookUpKey returns the message that has a key. The lock is held.
func (s *Spool) lookUpKey(h keyHash) (number uint64, known bool) {
	number, known = s.keys.known[h]
	return number, known && s.index.Has(number)
}

// rememberKey is for when the message is in the index. The lock is held.
func (s *Spool) rememberKey(h keyHash, number uint64) {
	s.keys.known[h] = number
	if len(s.keys.known) < s.keys.sweepAt {
		return
	}
	for h, number := range s.keys.known {
		if !s.index.Has(number) {
			delete(s.keys.known, h)
		}
	}
	s.keys.sweepAt = max(1024, 2*len(s.keys.known))
}

// awaitKeys waits until no other call is putting a message with the key of one
// of the drafts. The lock is held when it returns without an error.
func (s *Spool) awaitKeys(ctx context.Context, drafts []*draft) error {
	for {
		s.mu.Lock()
		if !s.anyReserved(drafts) {
			return nil
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
