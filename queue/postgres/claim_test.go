package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// Where claims would look first, what was there has left without a claim. They find what
// became due half a second later all the same.
func TestClaimAfterMuchHasLeftWithoutOne(t *testing.T) {
	q, _ := open(t, pool(t, shared.server.URL()), postgres.Options{NoListen: true})
	now := time.Now()
	const destinations = 260
	to := make([]string, destinations)
	for i := range to {
		to[i] = fmt.Sprintf("a@d%d.example", i)
	}
	gone, err := q.Put(t.Context(), now, mail("gone", to...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Put(t.Context(), now.Add(500*time.Millisecond), mail("there", to...)); err != nil {
		t.Fatal(err)
	}
	if err := q.Drop(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	for claims := 0; claims < 5; claims++ {
		got, err := q.Claim(t.Context(), now.Add(time.Second), queue.ClaimOptions{Max: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Deliveries) == 1 {
			return
		}
		if got.Next.IsZero() || got.Next.After(now.Add(time.Second)) {
			t.Fatalf("Claim found nothing, and Next is %v: there is something", got.Next)
		}
	}
	t.Error("Claim finds nothing and says that there is more, again and again")
}

// A claim that takes a part of much that is due keeps to the order across destinations.
func TestClaimsOfAPartKeepTheOrder(t *testing.T) {
	q, _ := open(t, pool(t, shared.server.URL()), postgres.Options{NoListen: true})
	now := time.Now()
	const destinations, messages = 20, 16
	var to []string
	for i := range destinations {
		to = append(to, fmt.Sprintf("a@d%02d.example", i))
	}
	for i := range messages {
		m := mail("text", to...)
		m.Tenant = fmt.Sprint(i % 3)
		m.Priority = i % 2
		if _, err := q.Put(t.Context(), now.Add(time.Duration(i)*time.Second), m); err != nil {
			t.Fatal(err)
		}
	}
	end := now.Add(time.Hour)
	var last time.Time
	seen := 0
	for seen < destinations*messages {
		got, err := q.Claim(t.Context(), end, queue.ClaimOptions{Max: 7})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Deliveries) == 0 {
			t.Fatalf("Claim found nothing after %d of %d", seen, destinations*messages)
		}
		for _, d := range got.Deliveries {
			rank := d.Due.Add(-time.Duration(d.Message.Priority) * queue.PriorityStep)
			if rank.Before(last) {
				t.Fatalf("%s, which counts as due since %v, comes after one that does since %v", d.Lease.Destination, rank, last)
			}
			last = rank
		}
		seen += len(got.Deliveries)
	}
}

// Next counts the leases that the claim itself gives, also if those of the claim before
// were longer.
func TestNextOfShorterLeases(t *testing.T) {
	q, _ := open(t, pool(t, shared.server.URL()), postgres.Options{NoListen: true})
	now := time.Now()
	for _, lease := range []time.Duration{time.Hour, 15 * time.Minute, 3 * time.Minute, time.Minute, time.Second} {
		if _, err := q.Put(t.Context(), now, mail("text", "a@one.example")); err != nil {
			t.Fatal(err)
		}
		got, err := q.Claim(t.Context(), now, queue.ClaimOptions{Lease: lease})
		if err != nil || len(got.Deliveries) != 1 {
			t.Fatalf("Claim returns %d deliveries, %v", len(got.Deliveries), err)
		}
		if !got.Next.After(now) || got.Next.After(now.Add(lease)) {
			t.Errorf("Next is in %v, want %v at most", got.Next.Sub(now), lease)
		}
	}
}

// A claim reads each content that comes with it once, and none for other deliveries of the
// message.
func TestClaimReadsContentsOnce(t *testing.T) {
	h := newHeld(t)
	const n = 10
	for i := range n {
		m := mail(strings.Repeat("text\r\n", 5000), fmt.Sprintf("a@d%d.example", i))
		if _, err := h.q.Put(t.Context(), h.now, m); err != nil {
			t.Fatal(err)
		}
	}
	pieces := "SELECT t.relname, t.idx_tup_fetch::int FROM pg_namespace s JOIN pg_class c ON c.relnamespace = s.oid AND c.relname = 'message' " +
		"JOIN pg_stat_all_tables t ON t.relid = c.reltoastrelid WHERE s.nspname = $1"
	var got []queue.Delivery
	read, _ := h.counted(pieces, func() { got = h.claim(queue.ClaimOptions{}) })
	const each = 30_000/1996 + 1
	if len(got) != n || read != n*each {
		t.Errorf("a claim of %d messages reads %d pieces of contents, want %d", len(got), read, n*each)
	}
}
