package memory

import (
	"context"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// leftKeys are the keys of messages that have left, in the order in which they
// did.
type leftKeys struct {
	of        map[key]leftKey
	order     []leftMessage // the oldest first
	forgotten uint64
}

// leftMessage is one message that has left. Its key may stand for another message that
// has come and left since.
type leftMessage struct {
	key key
	id  string
}

// leftKey is the message that had a key, and until when that is remembered.
type leftKey struct {
	id    string
	until time.Time
}

// remember keeps the key of a message that leaves.
func (q *Queue) remember(now time.Time, m *queue.Message) {
	keep, most := q.KeepKeys, q.MaxKeys
	if keep == 0 {
		keep = DefaultKeepKeys
	}
	if most == 0 {
		most = DefaultMaxKeys
	}
	if m.Key == "" || keep < 0 || most < 0 {
		return
	}
	l := &q.left
	if l.of == nil {
		l.of = make(map[key]leftKey)
	}
	k := key{m.Tenant, m.Key}
	l.of[k] = leftKey{m.ID, now.Add(keep)}
	l.order = append(l.order, leftMessage{k, m.ID})
	for len(l.order) > 0 {
		first := l.order[0]
		known, ok := l.of[first.key]
		if current := ok && known.id == first.id; current {
			early := known.until.After(now)
			if early && len(l.of) <= most {
				break
			}
			if early {
				l.forgotten++
			}
			delete(l.of, first.key)
		}
		l.order = l.order[1:]
	}
	if len(l.order) > 2*len(l.of)+1000 { // a clock that went back has the first stay for long
		l.order = slices.DeleteFunc(l.order, func(m leftMessage) bool { return l.of[m.key].id != m.id })
	}
}

// knownAs returns the id of the message that has m's tenant and key, or had them
// recently, or "" if there is none.
func (q *Queue) knownAs(now time.Time, m *queue.Message) string {
	if m.Key == "" {
		return ""
	}
	k := key{m.Tenant, m.Key}
	if e := q.keys[k]; e != nil {
		return e.message.ID
	}
	if l, ok := q.left.of[k]; ok && now.Before(l.until) {
		return l.id
	}
	return ""
}

// CountKeys counts the remembered keys of messages that have left.
func (q *Queue) CountKeys(ctx context.Context) (queue.KeyCount, error) {
	if err := q.begin(ctx); err != nil {
		return queue.KeyCount{}, err
	}
	defer q.mu.Unlock()
	return queue.KeyCount{Remembered: len(q.left.of), Forgotten: q.left.forgotten}, nil
}
