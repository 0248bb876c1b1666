package postgres_test

import (
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// backlog makes a great many messages of a tenant in the database itself, all due, each to
// one of so many destinations, as if each had been put by itself.
func (h *held) backlog(n, destinations int, tenant string) {
	h.t.Helper()
	h.make(n, tenant, "'d' || (g % "+strconv.Itoa(destinations)+") || '.example'", "'"+tenant+"'")
}

// make does the same with the destination and the tenant that expressions give, of the
// number g of a message. What is claimed names another tenant for all of them.
func (h *held) make(n int, named, destination, tenant string) {
	h.t.Helper()
	m := mail("text", "a@d1.example")
	m.Tenant = named
	if _, err := h.q.Put(h.t.Context(), h.now, m); err != nil {
		h.t.Fatal(err)
	}
	exec(h.t, h.p, h.o,
		`CREATE TEMPORARY TABLE made ON COMMIT PRESERVE ROWS AS SELECT nextval('$.message_id') AS id, `+destination+` AS destination,
			(`+tenant+`)::bytea AS tenant, d.due + g AS due FROM generate_series(1, `+strconv.Itoa(n-1)+`) g,
			(SELECT * FROM $.delivery ORDER BY message DESC LIMIT 1) d`,
		`INSERT INTO $.message (id, tag, envelope, envelope_sum, arrived, size, content, content_sum, tenant, key, once, destinations, remaining)
			SELECT x.id, m.tag, m.envelope, m.envelope_sum, m.arrived, m.size, m.content, m.content_sum, x.tenant, NULL, m.once,
				ARRAY[x.destination], 1 FROM made x, (SELECT * FROM $.message ORDER BY id DESC LIMIT 1) m`,
		`INSERT INTO $.head (ripe, rank, due, destination, tenant, priority, at_once)
			SELECT true, x.due, x.due, x.destination, x.tenant, d.priority, true FROM made x, (SELECT * FROM $.delivery ORDER BY message DESC LIMIT 1) d`,
		`INSERT INTO $.delivery (destination, message, tenant, priority, at_once, due, ready, states)
			SELECT x.destination, x.id, x.tenant, d.priority, true, x.due, true, d.states FROM made x, (SELECT * FROM $.delivery ORDER BY message DESC LIMIT 1) d`,
		"DROP TABLE made", "ANALYZE $.message", "ANALYZE $.delivery", "ANALYZE $.head")
	h.now = h.now.Add(time.Minute)
}

// until puts a message of a tenant with little, and says how many claims return none of it.
func (h *held) until(to string, most int) (claims int) {
	h.t.Helper()
	return h.untilBy(queue.ClaimOptions{PerDestination: 20, PerTenant: 50}, to, most)
}

// untilBy does the same with claims of some kind.
func (h *held) untilBy(want queue.ClaimOptions, to string, most int) (claims int) {
	h.t.Helper()
	m := mail("text", to)
	m.Tenant = "small"
	if _, err := h.q.Put(h.t.Context(), h.now, m); err != nil {
		h.t.Fatal(err)
	}
	for ; ; claims++ {
		got, err := h.q.Claim(h.t.Context(), h.now, want)
		if err != nil {
			h.t.Fatal(err)
		}
		more := !got.Next.IsZero() && !got.Next.After(h.now)
		h.settle(got.Deliveries, queue.Delivered, time.Time{})
		h.now = h.now.Add(100 * time.Millisecond)
		if slices.ContainsFunc(got.Deliveries, func(d queue.Delivery) bool { return d.Message.Tenant == "small" }) {
			return claims
		}
		if !more {
			h.t.Fatal("Claim says that there is no more")
		}
		if claims == most {
			h.t.Fatalf("%d claims return nothing that came after much of others", claims)
		}
	}
}

// Beside much of another tenant's that was due before, a tenant's mail is claimed by one of
// the next claims, and these cost no more because there is more of the other's. A handle
// that is new comes by all that was put since anybody claimed, a part of it at a time.
func TestTenantBesideABigBacklog(t *testing.T) {
	few, many := 5000, 20_000
	if os.Getenv("NEXTHOP_LONG") != "" {
		few, many = 10_000, 1_000_000
	}
	const (
		small = 10
		soon  = 4
	)
	var reads []int
	for _, n := range []int{few, many} {
		h := newHeld(t)
		h.backlog(n, 500, "big")
		h.vacuum()
		first := h.until("a@first.example", 20+n/2500)
		claims := 0
		read, each := h.read(func() {
			for i := range small {
				claims += 1 + h.until("a@d"+strconv.Itoa(i)+".example", soon)
			}
		})
		t.Logf("beside %d: the first after %d claims; then %d claims for %d, which read %d index entries, %v", n, first, claims, small, read, each)
		reads = append(reads, read/claims)
	}
	if reads[1] > 2*reads[0]+100 {
		t.Errorf("a claim reads %d entries of indexes beside %d of another tenant, and %d beside %d", reads[1], many, reads[0], few)
	}
}

// Tenants have their turns, however many of them have much, and those with much have
// theirs while mail of others comes all the time.
func TestTurnsOfTenants(t *testing.T) {
	h := newHeld(t)
	for i := range 3 {
		h.backlog(2000, 500, "big"+strconv.Itoa(i))
	}
	h.vacuum()
	h.until("a@first.example", 20)
	had := make(map[string]int)
	const claims = 40
	for i := range claims {
		m := mail("text", "a@d"+strconv.Itoa(i)+".example")
		m.Tenant = "small"
		if _, err := h.q.Put(t.Context(), h.now, m); err != nil {
			t.Fatal(err)
		}
		got, err := h.q.Claim(t.Context(), h.now, queue.ClaimOptions{PerTenant: 20})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range got.Deliveries {
			had[d.Message.Tenant]++
		}
		h.settle(got.Deliveries, queue.Delivered, time.Time{})
		h.now = h.now.Add(100 * time.Millisecond)
	}
	t.Log(had)
	if had["small"] < claims-10 {
		t.Errorf("%d of %d messages of a tenant with little were claimed", had["small"], claims)
	}
	for i := range 3 {
		if n := had["big"+strconv.Itoa(i)]; n < 5*20 {
			t.Errorf("%d messages of a tenant with much were claimed by %d claims, want 100 at least", n, claims)
		}
	}
}

// A tenant with mail for more destinations than a handle remembers, all due before the mail
// of others, delays that no more than any other tenant with much does.
func TestTenantWithMoreDestinationsThanAreRemembered(t *testing.T) {
	remembered, many := 1000, 3000
	if os.Getenv("NEXTHOP_LONG") != "" {
		remembered, many = 0, 300_000
	}
	const soon = 4
	newHeld := func(t *testing.T, tenants int) *held {
		h := newHeld(t)
		postgres.Remember(h.q, remembered)
		for i := range tenants {
			h.backlog(many/tenants, many/tenants, "big"+strconv.Itoa(i))
		}
		h.vacuum()
		return h
	}
	first := 20 + many/1000 // a new handle comes by all of them once
	t.Run("one of them", func(t *testing.T) {
		h := newHeld(t, 1)
		t.Log(h.until("a@first.example", first))
		for i := range 50 {
			h.until("a@d"+strconv.Itoa(i)+".example", soon)
		}
	})
	t.Run("one that claims leave out", func(t *testing.T) {
		h := newHeld(t, 1)
		want := queue.ClaimOptions{ExceptTenants: []string{"big0"}}
		t.Log(h.untilBy(want, "a@first.example", first))
		for i := range 50 {
			h.untilBy(want, "a@d"+strconv.Itoa(i)+".example", soon)
		}
	})
	t.Run("all are claimed in the end, those for one destination in order", func(t *testing.T) {
		h := newHeld(t, 3)
		h.put(min(many/3, 2000), many/3)
		h.until("a@first.example", first)
		had, last := make(map[string]int), make(map[string]string)
		for turn := 0; ; turn++ {
			got, err := h.q.Claim(t.Context(), h.now, queue.ClaimOptions{Max: 500, PerTenant: 200})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range got.Deliveries {
				lane := d.Message.Tenant + " " + d.Lease.Destination
				if had[d.Message.Tenant]++; d.Lease.Message <= last[lane] {
					t.Fatalf("%s for %s of %q comes after %s", d.Lease.Message, d.Lease.Destination, d.Message.Tenant, last[lane])
				}
				last[lane] = d.Lease.Message
			}
			h.settle(got.Deliveries, queue.Delivered, time.Time{})
			if turn == 40 {
				for i := range 3 {
					if n := had["big"+strconv.Itoa(i)]; n < 3*200 && n < many/3-100 {
						t.Errorf("%d messages of a tenant with much were claimed by 40 claims, want 600 at least", n)
					}
				}
			}
			if got.Next.IsZero() || got.Next.After(h.now) {
				break
			}
			if turn > 40+many/20 {
				t.Fatalf("after %d claims there is more: %v", turn, had)
			}
		}
		total, err := h.q.Total(t.Context())
		if err != nil || total.Messages > 0 {
			t.Errorf("%d messages are left, %v; claimed were %v", total.Messages, err, had)
		}
	})
}
