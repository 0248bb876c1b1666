package memory_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// manyQueue is a queue with so many messages for an hour from now, half of them for one
// destination, and a message to as many destinations.
func manyQueue(t testing.TB, n int) (q *memory.Queue, wide string, now time.Time) {
	t.Helper()
	now = time.Unix(1e9, 0)
	q = &memory.Queue{}
	put := func(m *queue.Message) string {
		m.Content = queue.String("text")
		id, err := q.Put(t.Context(), now, m)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	for i := range n {
		to := "big.example"
		if i%2 == 0 {
			to = fmt.Sprintf("d%d.example", i)
		}
		put(&queue.Message{NotBefore: now.Add(time.Hour), Recipients: []queue.Recipient{{Address: "a@" + to}}})
	}
	m := &queue.Message{}
	for i := range n {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("a@w%d.example", i)})
	}
	return q, put(m), now
}

// TestOthersComeInBetween does what concerns very many deliveries: the lock is given up
// again and again meanwhile.
func TestOthersComeInBetween(t *testing.T) {
	const many = 20_000
	ctx := context.Background()
	q, wide, now := manyQueue(t, many)
	later := now.Add(2 * time.Hour)
	postponed := func(owner string) (list []queue.Postponement) {
		for i := range many {
			list = append(list, queue.Postponement{Destination: fmt.Sprintf("w%d.example", i), Owner: owner, Until: now.Add(time.Hour)})
		}
		return list
	}
	var leases []queue.Lease
	claim := func(now time.Time, o queue.ClaimOptions) error {
		c, err := q.Claim(ctx, now, o)
		for _, d := range c.Deliveries {
			leases = append(leases, d.Lease)
		}
		return err
	}
	flush := func(s queue.Selection) error { _, err := q.Flush(ctx, now, s); return err }
	for _, op := range []struct {
		name string
		do   func() error
	}{
		{"Hold", func() error { return q.HoldUntil(ctx, now, wide, queue.Terms{Until: now.Add(time.Minute)}) }},
		{"Claim when the hold ends", func() error { return claim(now.Add(time.Minute), queue.ClaimOptions{Max: 1}) }},
		{"Postpone", func() error { return q.Postpone(ctx, now, postponed("")...) }},
		{"Flush of everything", func() error { return flush(queue.Selection{}) }},
		{"Flush of a destination", func() error { return flush(queue.Selection{Destination: "big.example"}) }},
		{"Flush of a message", func() error { return flush(queue.Selection{Message: wide}) }},
		{"Postpone for an owner", func() error { return q.Postpone(ctx, now, postponed("me")...) }},
		{"the end of all of an owner's", func() error { return q.Postpone(ctx, now, queue.Postponement{Owner: "me"}) }},
		{"Postpone again", func() error { return q.Postpone(ctx, now, postponed("me")...) }},
		{"Claim when those end", func() error { return claim(later, queue.ClaimOptions{Max: 1, Owner: "me"}) }},
		{"Claim of all", func() error { leases = nil; return claim(later, queue.ClaimOptions{Max: many}) }},
		{"Extend", func() error { _, err := q.Extend(ctx, now, leases, time.Hour); return err }},
		{"Settle", func() error {
			batch := make([]queue.Settlement, len(leases))
			for i := range batch {
				batch[i] = queue.Settlement{Lease: leases[i], NotBefore: later}
			}
			_, err := q.Settle(ctx, now, batch)
			return err
		}},
		{"Claim when all are due", func() error { return claim(later, queue.ClaimOptions{Max: 1}) }},
		{"Survey", func() error { _, err := q.Survey(ctx, "", 10); return err }},
		{"List of a destination", func() error {
			_, err := q.List(ctx, queue.ListOptions{Destination: "w1.example"})
			return err
		}},
		{"Drop", func() error { return q.Drop(ctx, wide) }},
	} {
		times := 0
		q.Watch(func() { times++ })
		err := op.do()
		q.Watch(nil)
		if err != nil {
			t.Errorf("%s: %v", op.name, err)
		}
		if op.name != "Claim of all" && times < many/2/600 {
			t.Errorf("%s: the lock was given up %d times", op.name, times)
		}
	}
	if total, err := q.Total(ctx); err != nil || total.Deliveries != many {
		t.Errorf("%d deliveries are left, %v, want %d", total.Deliveries, err, many)
	}
}

// TestWhatComesInBetween has others put, settle, drop, hold and close whenever the lock is
// given up: what is there all the time is gone through once, and nothing else comes of
// it.
func TestWhatComesInBetween(t *testing.T) {
	const many = 4000
	ctx := context.Background()
	between := func(q *memory.Queue, do func()) {
		busy := false
		q.Watch(func() {
			if busy {
				return
			}
			busy = true
			q.Pass(do)
			busy = false
		})
	}
	t.Run("what is flushed leaves", func(t *testing.T) {
		q, wide, now := manyQueue(t, many)
		page, err := q.List(ctx, queue.ListOptions{Max: many})
		if err != nil {
			t.Fatal(err)
		}
		dropped := 0
		between(q, func() { // the newest, which stands first at its destination, and so those that come next
			for range 300 {
				if dropped < 1000 {
					dropped++
					if err := q.Drop(ctx, page.Entries[len(page.Entries)-dropped].Message.ID); err != nil {
						t.Error(err)
					}
				}
			}
		})
		n, err := q.Flush(ctx, now, queue.Selection{Destination: "big.example"})
		q.Watch(nil)
		if err != nil || n < many/2-dropped || n > many/2 || dropped < 300 {
			t.Errorf("Flush beside %d drops = %d, %v", dropped, n, err)
		}
		c, err := q.Claim(ctx, now, queue.ClaimOptions{Destinations: []string{"big.example"}, Max: many})
		if err != nil || len(c.Deliveries) != many/2-dropped/2 && len(c.Deliveries) != many/2-(dropped+1)/2 {
			t.Errorf("%d of %d are due then, %v", len(c.Deliveries), many/2, err)
		}
		if err := q.Drop(ctx, wide); err != nil && !errors.Is(err, queue.ErrNotFound) {
			t.Error(err)
		}
	})
	t.Run("a message is held while it is released", func(t *testing.T) {
		q, wide, now := manyQueue(t, many)
		if err := q.Hold(ctx, wide); err != nil {
			t.Fatal(err)
		}
		again := false
		between(q, func() {
			if !again {
				again = true
				if err := q.Hold(ctx, wide); err != nil {
					t.Error(err)
				}
			}
		})
		if err := q.Release(ctx, wide); err != nil {
			t.Fatal(err)
		}
		q.Watch(nil)
		if c, err := q.Claim(ctx, now, queue.ClaimOptions{Max: many}); err != nil || len(c.Deliveries) > 0 {
			t.Errorf("%d deliveries of a message on hold are claimed, %v", len(c.Deliveries), err)
		}
	})
	for name, call := range map[string]func(*memory.Queue, string, time.Time) error{
		"Drop":   func(q *memory.Queue, id string, _ time.Time) error { return q.Drop(ctx, id) },
		"Hold":   func(q *memory.Queue, id string, _ time.Time) error { return q.Hold(ctx, id) },
		"Survey": func(q *memory.Queue, _ string, _ time.Time) error { _, err := q.Survey(ctx, "", 0); return err },
		"List": func(q *memory.Queue, _ string, _ time.Time) error {
			_, err := q.List(ctx, queue.ListOptions{Destination: "none.example"})
			return err
		},
		"Claim": func(q *memory.Queue, _ string, now time.Time) error {
			_, err := q.Claim(ctx, now.Add(2*time.Hour), queue.ClaimOptions{})
			return err
		},
		"Flush of everything": func(q *memory.Queue, _ string, now time.Time) error {
			_, err := q.Flush(ctx, now, queue.Selection{})
			return err
		},
		"Flush of a destination": func(q *memory.Queue, _ string, now time.Time) error {
			_, err := q.Flush(ctx, now, queue.Selection{Destination: "big.example"})
			return err
		},
	} {
		t.Run(name+" of a queue that is closed", func(t *testing.T) {
			q, wide, now := manyQueue(t, many)
			between(q, func() { _ = q.Close() })
			err := call(q, wide, now)
			q.Watch(nil)
			if !errors.Is(err, queue.ErrClosed) {
				t.Errorf("%v, want ErrClosed", err)
			}
		})
	}
}

// TestClaimPassesOverTenants has one tenant with very much due mail, which claims leave
// out, or of which they have enough: what a claim passes over it does not look at.
func TestClaimPassesOverTenants(t *testing.T) {
	const many = 20_000
	ctx, now := context.Background(), time.Unix(1e9, 0)
	q := new(memory.Queue)
	put := func(at time.Time, tenant, to string) {
		t.Helper()
		if _, err := q.Put(ctx, at, &queue.Message{Tenant: tenant, Content: queue.String("text"), Recipients: []queue.Recipient{{Address: "a@" + to}}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range many {
		put(now, "busy", fmt.Sprintf("d%d.example", i%3))
	}
	for i := range 9 {
		put(now.Add(time.Second), "small", fmt.Sprintf("d%d.example", i%3))
	}
	later := now.Add(time.Minute)
	for name, c := range map[string]struct {
		want        queue.ClaimOptions
		busy, small int
	}{
		"left out":         {queue.ClaimOptions{ExceptTenants: []string{"busy"}}, 0, 9},
		"few of each":      {queue.ClaimOptions{PerTenant: 2}, 2, 2},
		"named":            {queue.ClaimOptions{PerTenant: 4, Destinations: []string{"d1.example"}}, 4, 3},
		"both":             {queue.ClaimOptions{PerTenant: 3, ExceptTenants: []string{"busy"}}, 0, 3},
		"few of each here": {queue.ClaimOptions{PerTenant: 5, PerDestination: 2}, 5, 1},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := q.Claim(ctx, later, c.want)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
			t.Errorf("%s: a claim takes %d bytes", name, n)
		}
		of := map[string]int{}
		var back []queue.Settlement
		for _, d := range got.Deliveries {
			of[d.Message.Tenant]++
			back = append(back, queue.Settlement{Lease: d.Lease, NotBefore: d.Due})
		}
		if of["busy"] != c.busy || of["small"] != c.small {
			t.Errorf("%s: %v, want %d and %d", name, of, c.busy, c.small)
		}
		if more := c.want.PerTenant > 0; more != got.Next.Equal(later) {
			t.Errorf("%s: to come again at %v", name, got.Next)
		}
		if _, err := q.Settle(ctx, later, back); err != nil {
			t.Fatal(err)
		}
	}
	total := 0
	for {
		c, err := q.Claim(ctx, later, queue.ClaimOptions{Max: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Deliveries) == 0 {
			break
		}
		for i, d := range c.Deliveries {
			if small := d.Message.Tenant == "small"; small != (total+i >= many) {
				t.Fatalf("delivery %d is of %s: the order is broken", total+i, d.Message.Tenant)
			}
		}
		total += len(c.Deliveries)
	}
	if total != many+9 {
		t.Errorf("%d of %d came in the end", total, many+9)
	}
}
