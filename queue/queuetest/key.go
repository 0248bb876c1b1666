package queuetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func keyChecks() []check {
	return []check{
		{ruleP6, "a second message with the key is not put", 0, duplicate},
		{ruleP6, "other tenants and other keys are others", 0, noDuplicate},
		{ruleP6, "of many at once one is put", 0, duplicatesAtOnce},
		{ruleP6, "a key is known after a restart", needReopen, duplicateAfterReopen},
		{ruleP6, "a key is remembered after its message has left, and not for ever", needKeys, duplicateOfLeft},
		{ruleP6, "a key whose message has left is no other tenant's", needKeys, noDuplicateOfLeft},
		{ruleP6, "a created message with the key of one that has left is not put", needKeys, createdDuplicateOfLeft},
		{ruleP6, "the key of a dropped message is forgotten", needKeys | needDrop, duplicateOfDropped},
		{ruleP6, "a message may come again once its key is forgotten, and is remembered again", needKeys, duplicateAgain},
		{ruleP6, "the keys of what has left are known after a restart", needKeys | needReopen, leftAfterReopen},
		{ruleP6, "the keys of what has left are known after a crash", needKeys | needCrash, leftAfterCrash},
		{ruleP6, "of too many the oldest are forgotten first, and counted", needKeys | needFewKeys, fewKeys},
	}
}

func boundChecks() []check {
	return []check{
		{ruleP8, "a full queue takes mail again when some has left", needBound, bounded},
		{ruleP6, "a full queue knows its keys", needBound, duplicateInFull},
	}
}

// keyed makes a message with a key.
func (r *run) keyed(tenant, key string) *queue.Message {
	m := r.message()
	m.Tenant, m.Key = tenant, key
	return m
}

// wantDuplicate puts a message whose key is known.
func (r *run) wantDuplicate(m *queue.Message, first string) {
	r.Helper()
	if id, err := r.q.Put(r.ctx, r.now, m); !errors.Is(err, queue.ErrDuplicate) || id != first {
		r.Errorf("Put of a known key = %q, %v, want %q and ErrDuplicate", id, err, first)
	}
}

func duplicate(r *run) {
	first := r.put(r.keyed("tenant", "key"))
	r.wantDuplicate(r.keyed("tenant", "key"), first)
	d := r.one()
	r.wantDuplicate(r.keyed("tenant", "key"), first)
	r.settle(deferred(d, r.now))
	r.wantDuplicate(r.keyed("tenant", "key"), first)
}

func noDuplicate(r *run) {
	for _, m := range []*queue.Message{
		r.keyed("tenant", "key"), r.keyed("", "key"), r.keyed("tenant", "KEY"), r.keyed("tenantk", "ey"),
		r.keyed("tenant", ""), r.keyed("tenant", ""), r.keyed("", ""), r.keyed("", ""),
	} {
		r.put(m)
	}
	if got := r.due(); len(got) != 8 {
		r.Errorf("Claim returned %s, want all 8 messages", describe(got))
	}
}

func duplicatesAtOnce(r *run) {
	const many = 16
	var (
		group sync.WaitGroup
		ids   [many]string
		errs  [many]error
	)
	for i := range many {
		m := r.keyed("", "key")
		group.Go(func() { ids[i], errs[i] = r.q.Put(r.ctx, r.now, m) })
	}
	group.Wait()
	first := r.one().Lease.Message
	put := 0
	for i, err := range errs {
		if err == nil {
			put++
		} else if !errors.Is(err, queue.ErrDuplicate) {
			r.Errorf("Put = %v, want nil or ErrDuplicate", err)
		}
		if ids[i] != first {
			r.Errorf("Put = %q, %v, the message that is there has the id %q", ids[i], err, first)
		}
	}
	if put != 1 {
		r.Errorf("%d of %d Puts of one key succeeded, want 1", put, many)
	}
}

func duplicateAfterReopen(r *run) {
	first := r.put(r.keyed("tenant", "key"))
	r.reopen()
	r.wantDuplicate(r.keyed("tenant", "key"), first)
	if r.in.Crash != nil {
		second := r.put(r.keyed("tenant", "other"))
		r.crash()
		r.wantDuplicate(r.keyed("tenant", "key"), first)
		r.wantDuplicate(r.keyed("tenant", "other"), second)
	}
}

// fill puts messages of 1 KiB until the queue is full and returns how many.
func (r *run) fill() int {
	r.Helper()
	for n := range 1000 {
		m := r.message()
		m.Content = kibibyte()
		if _, err := r.q.Put(r.ctx, r.now, m); errors.Is(err, queue.ErrFull) {
			return n
		} else if err != nil {
			r.Fatalf("Put: %v", err)
		}
	}
	r.Fatalf("a thousand messages were put, want ErrFull at some point")
	return 0
}

func kibibyte() queue.Content { return queue.String(fmt.Sprintf("%01024d", 0)) }

func bounded(r *run) {
	n := r.fill()
	got := r.due()
	if len(got) != n {
		r.Errorf("Claim returned %d deliveries, want the %d that were put before the queue was full", len(got), n)
	}
	for _, d := range got {
		r.settle(all(d, queue.Delivered))
	}
	m := r.message()
	m.Content = kibibyte()
	var err error
	r.eventually(func() bool {
		_, err = r.q.Put(r.ctx, r.now, m)
		return err == nil
	})
	r.check("Put", err)
}

func duplicateInFull(r *run) {
	m := r.keyed("tenant", "key")
	m.Content = kibibyte()
	first := r.put(m)
	r.fill()
	r.wantDuplicate(m, first)
}

// left puts a message with a key and settles it.
func (r *run) left(key string) string {
	r.Helper()
	id := r.put(r.keyed("tenant", key))
	r.settle(all(r.one(), queue.Delivered))
	return id
}

func duplicateOfLeft(r *run) {
	first := r.left("key")
	r.wantGone(first)
	r.wantDuplicate(r.keyed("tenant", "key"), first)
	r.advance(r.keep - time.Second)
	r.wantDuplicate(r.keyed("tenant", "key"), first)
	r.none("after duplicates of what has left")
	r.advance(2 * time.Second)
	r.put(r.keyed("tenant", "key"))
	r.one()
}

func noDuplicateOfLeft(r *run) {
	for range 2 {
		r.left("")
	}
	r.left("key")
	for _, m := range []*queue.Message{r.keyed("", "key"), r.keyed("tenant", "KEY"), r.keyed("tenantk", "ey"), r.keyed("tenant", "")} {
		r.put(m)
	}
	r.some(4)
}

func createdDuplicateOfLeft(r *run) {
	first := r.left("key")
	r.put(r.message())
	s := all(r.one(), queue.Failed)
	s.Create = []*queue.Message{r.keyed("tenant", "key"), r.keyed("tenant", "new")}
	if got := r.settle(s).Created; len(got) != 2 || got[0] != first || got[1] == first {
		r.Errorf("Created is %q, want %q, which has left, and a new one", got, first)
	}
	r.one()
}

func duplicateOfDropped(r *run) {
	id := r.put(r.keyed("tenant", "key"))
	r.drop(id)
	again := r.put(r.keyed("tenant", "key"))
	r.settle(all(r.one(), queue.Delivered))
	r.wantDuplicate(r.keyed("tenant", "key"), again)
}

func duplicateAgain(r *run) {
	for range 3 {
		id := r.left("key")
		r.wantDuplicate(r.keyed("tenant", "key"), id)
		r.advance(r.keep)
	}
}

// leftMany lets many messages with keys leave, so that what is remembered of them
// goes through all forms that an implementation keeps it in, and returns their ids.
func (r *run) leftMany(from, to int) []string {
	var ids []string
	for i := from; i < to; i++ {
		ids = append(ids, r.left(fmt.Sprint("key ", i)))
	}
	return ids
}

func leftAfterReopen(r *run) {
	ids := r.leftMany(0, 40)
	for range 2 {
		r.reopen()
		for i, id := range ids {
			r.wantDuplicate(r.keyed("tenant", fmt.Sprint("key ", i)), id)
		}
		ids = append(ids, r.leftMany(len(ids), len(ids)+5)...)
	}
	r.advance(r.keep)
	r.reopen()
	for i := range ids {
		r.put(r.keyed("tenant", fmt.Sprint("key ", i)))
	}
}

func leftAfterCrash(r *run) {
	ids := r.leftMany(0, 40)
	r.put(r.message("a@later.example")) // so that all before it is saved
	for range 2 {
		r.crash()
		for i, id := range ids {
			r.wantDuplicate(r.keyed("tenant", fmt.Sprint("key ", i)), id)
		}
	}
}

func fewKeys(r *run) {
	const many = 300
	ids := r.leftMany(0, many)
	r.wantDuplicate(r.keyed("tenant", fmt.Sprint("key ", many-1)), ids[many-1])
	r.put(r.keyed("tenant", "key 0"))
	r.put(r.keyed("tenant", fmt.Sprint("key ", many-100)))
	if _, counts := queue.As[queue.KeyCounter](r.q); !counts {
		return
	}
	n, err := queue.CountKeys(r.ctx, r.q)
	r.check("CountKeys", err)
	if n.Remembered == 0 || n.Remembered >= 100 || n.Forgotten != uint64(many-n.Remembered) {
		r.Errorf("CountKeys = %+v, want fewer than 100 remembered and the rest of %d forgotten", n, many)
	}
}
