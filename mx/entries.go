package mx

import (
	"time"

	"github.com/nexthop-mail/nexthop/internal/age"
)

// key is what an entry of a Cache is found by.
type key struct {
	name string
	t    Type
}

// entry is one outcome a Cache knows, in a ring in the order of use.
type entry struct {
	key          key
	asked        Type // the type that was asked for
	answer       Answer
	err          error
	expires      time.Time
	cost         int
	newer, older *entry
}

// entries is a map of bounded cost that forgets the least recently used entry. The zero
// value is empty.
type entries struct {
	byKey map[key]*entry
	ring  entry // ring.older is the newest entry, ring.newer the oldest
	cost  int
}

// get is the entry of k while it is good, which makes it the newest.
func (s *entries) get(k key, now time.Time) *entry {
	e := s.byKey[k]
	if e == nil {
		return nil
	}
	s.unlink(e)
	if age.Past(e.expires, now) {
		s.drop(e)
		return nil
	}
	s.link(e)
	return e
}

// put stores e in place of one with its key and drops the oldest ones until the
// cost is within the limit. An entry that costs more by itself is not stored.
func (s *entries) put(e *entry, limit int) {
	if s.byKey == nil {
		s.byKey = make(map[key]*entry)
		s.ring.newer, s.ring.older = &s.ring, &s.ring
	}
	if old := s.byKey[e.key]; old != nil {
		s.unlink(old)
		s.drop(old)
	}
	if e.cost > limit {
		return
	}
	s.byKey[e.key] = e
	s.cost += e.cost
	s.link(e)
	for s.cost > limit {
		oldest := s.ring.newer
		s.unlink(oldest)
		s.drop(oldest)
	}
}

// reconcile makes e agree with the other entries of its name, which either exists or
// does not. Records take precedence over an answer that there is no such name; that
// answer is then kept only for the type that was asked for.
func (s *entries) reconcile(e *entry) {
	switch {
	case e.err != nil:
	case e.key.t == anyType:
		for _, t := range [...]Type{TypeA, TypeAAAA, TypeMX, TypeTXT, TypeTLSA, TypeSRV, TypeNS, TypeCNAME} {
			if known := s.byKey[key{e.key.name, t}]; t != e.asked && known.exists() {
				e.key.t = e.asked
				return
			}
		}
	case e.exists():
		if claim := s.byKey[key{e.key.name, anyType}]; claim != nil {
			s.unlink(claim)
			s.drop(claim)
			claim.key.t = claim.asked
			s.put(claim, s.cost+claim.cost)
		}
	}
}

// exists is whether e is records of its name.
func (e *entry) exists() bool {
	return e != nil && e.err == nil && (e.answer.Status == Success || e.answer.Status == Aliased)
}

func (s *entries) drop(e *entry) {
	delete(s.byKey, e.key)
	s.cost -= e.cost
}

func (s *entries) unlink(e *entry) { e.newer.older, e.older.newer = e.older, e.newer }

func (s *entries) link(e *entry) {
	e.newer, e.older = &s.ring, s.ring.older
	e.older.newer, s.ring.older = e, e
}
