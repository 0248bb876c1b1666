package postgres_test

import (
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// multiply makes a great many messages of one that is there, in the database itself: each
// to one of a thousand destinations, due at some second of the next five days.
func (h *held) multiply(n int) {
	h.t.Helper()
	m := mail("text", "a@one.example")
	m.NotBefore = h.now.Add(time.Hour)
	if _, err := h.q.Put(h.t.Context(), h.now, m); err != nil {
		h.t.Fatal(err)
	}
	// The indexes are built afterwards, at once.
	unready := "UPDATE pg_index SET indisready = false, indisvalid = false WHERE indrelid IN ('$.message'::regclass, '$.head'::regclass, '$.delivery'::regclass)"
	exec(h.t, h.p, h.o, unready,
		`CREATE TEMPORARY TABLE made ON COMMIT PRESERVE ROWS AS SELECT nextval('$.message_id') AS id, 'd' || (g % 1000) || '.example' AS destination,
			d.due + (g::bigint * 7919 % 432000) * 1000000 AS due FROM generate_series(1, `+strconv.Itoa(n-1)+`) g, $.delivery d`,
		`INSERT INTO $.message (id, tag, envelope, envelope_sum, arrived, size, content, content_sum, tenant, key, once, destinations, remaining)
			SELECT x.id, m.tag, m.envelope, m.envelope_sum, m.arrived, m.size, m.content, m.content_sum, m.tenant, NULL, m.once,
				ARRAY[x.destination], 1 FROM made x, (SELECT * FROM $.message LIMIT 1) m`,
		`INSERT INTO $.head (ripe, rank, due, destination, tenant, priority, at_once)
			SELECT false, x.due, x.due, x.destination, d.tenant, d.priority, false FROM made x, (SELECT * FROM $.delivery LIMIT 1) d`,
		`INSERT INTO $.delivery (destination, message, tenant, priority, at_once, due, ready, states)
			SELECT x.destination, x.id, d.tenant, d.priority, false, x.due, true, d.states FROM made x, (SELECT * FROM $.delivery LIMIT 1) d`,
		"DROP TABLE made", "REINDEX TABLE $.message", "REINDEX TABLE $.head", "REINDEX TABLE $.delivery",
		"ANALYZE $.message", "ANALYZE $.delivery", "ANALYZE $.head")
}

// Beside a great many messages that are deferred, a claim of what is due and a page of the
// list cost what they cost beside few.
func TestBesideManyDeferred(t *testing.T) {
	few, many := 1000, 20_000
	long := os.Getenv("NEXTHOP_LONG") != ""
	if long {
		few, many = 10_000, 10_000_000
	}
	if n, err := strconv.Atoi(os.Getenv("NEXTHOP_DEFERRED")); err == nil {
		few, many, long = 10_000, n, true
	}
	type cost struct {
		read int
		took time.Duration // at best: the machine does other things, too
	}
	// costOf repeats something, and says what it costs.
	costOf := func(h *held, before, f, after func()) (c cost) {
		before()
		f() // once for what is remembered between calls
		after()
		const times = 21
		var took []time.Duration
		c.read, _ = h.read(func() {
			for range times {
				before()
				start := time.Now()
				f()
				took = append(took, time.Since(start))
				after()
			}
		})
		slices.Sort(took)
		c.took = took[0]
		return c
	}
	costs := make(map[string][]cost)
	for _, n := range []int{few, many} {
		h := newHeld(t)
		h.multiply(n)
		h.vacuum()
		var middle string
		page, err := h.q.List(t.Context(), queue.ListOptions{Max: 100})
		if err != nil || len(page.Entries) != 100 {
			t.Fatalf("List = %d entries, %v", len(page.Entries), err)
		}
		middle = page.Next
		nothing := func() {}
		var got []queue.Delivery
		costs["a claim"] = append(costs["a claim"], costOf(h, func() { h.put(10, 10) }, func() {
			if got = h.claim(queue.ClaimOptions{}); len(got) != 10 {
				t.Fatalf("claimed %d, want 10", len(got))
			}
		}, func() { h.settle(got, queue.Delivered, time.Time{}) }))
		costs["a claim of named destinations"] = append(costs["a claim of named destinations"], costOf(h, nothing, func() {
			if got := h.claim(queue.ClaimOptions{Destinations: []string{"d1.example", "d2.example"}}); len(got) > 0 {
				t.Fatalf("claimed %d, want none", len(got))
			}
		}, nothing))
		costs["a page of the list"] = append(costs["a page of the list"], costOf(h, nothing, func() {
			page, err := h.q.List(t.Context(), queue.ListOptions{Max: 100, After: middle})
			if err != nil || len(page.Entries) != 100 {
				t.Fatalf("List = %d entries, %v", len(page.Entries), err)
			}
		}, nothing))
	}
	for what, c := range costs {
		t.Logf("%-30s beside %d: %v, %d index entries; beside %d: %v, %d", what, few, c[0].took, c[0].read, many, c[1].took, c[1].read)
		// Of the ten rows that were deleted last, each of the 21 calls may meet what is left
		// while a vacuum is under way.
		if c[1].read > 2*c[0].read+21*10+100 {
			t.Errorf("%s reads %d entries of indexes beside %d messages, and %d beside %d", what, c[1].read, many, c[0].read, few)
		}
		if long && c[1].took > 2*c[0].took {
			t.Errorf("%s takes %v beside %d messages, and %v beside %d", what, c[1].took, many, c[0].took, few)
		}
	}
}

// No function of the queue has its plans compiled, which takes the longer the more rows
// the tables have.
func TestFunctionsAreNotCompiled(t *testing.T) {
	h := newHeld(t)
	var names string
	err := h.p.QueryRow(t.Context(), `SELECT coalesce(string_agg(proname, ' '), '') FROM pg_proc WHERE pronamespace = quote_ident($1)::regnamespace
		AND 'enable_seqscan=off' = ANY (proconfig) AND NOT 'jit=off' = ANY (proconfig)`, h.o.Schema).Scan(&names)
	if err != nil {
		t.Fatal(err)
	}
	if names != "" {
		t.Errorf("%s lack SET jit = off", names)
	}
}
