package postgres_test

import (
	"os"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// size is what the tables of the queue and their indexes take up.
func (h *held) size() (bytes int64) {
	h.t.Helper()
	err := h.p.QueryRow(h.t.Context(), "SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_stat_user_tables WHERE schemaname = $1", h.o.Schema).Scan(&bytes)
	if err != nil {
		h.t.Fatal(err)
	}
	return bytes
}

// vacuum removes what has left from all tables, as the server does by itself whenever
// that is a few thousand rows.
func (h *held) vacuum() {
	h.t.Helper()
	for _, table := range []string{"message", "content", "upload", "key", "delivery", "head", "postponed", "share"} {
		exec(h.t, h.p, h.o, "VACUUM $."+table)
	}
}

// A day of mail that comes and goes, and is tried again and again, leaves the tables not
// much larger than what waits in them takes.
func TestTablesDoNotGrow(t *testing.T) {
	const waiting, each = 4000, 500
	rounds := 6
	if os.Getenv("NEXTHOP_LONG") != "" {
		rounds = 24
	}
	h := newHeld(t)
	h.multiply(waiting)
	h.vacuum()
	before := h.size()
	for range rounds {
		for range 2 { // about two thousand rows have left: the thresholds of autovacuum
			h.put(each, 50)
			got := h.claim(queue.ClaimOptions{Max: each})
			if len(got) < each {
				t.Fatalf("claimed %d, want %d at least", len(got), each)
			}
			h.settle(got[:each*9/10], queue.Delivered, time.Time{})
			h.settle(got[each*9/10:], queue.Deferred, h.now.Add(time.Minute))
		}
		h.now = h.now.Add(time.Hour)
		for got := h.claim(queue.ClaimOptions{Max: 1000}); len(got) > 0; got = nil { // due by now
			h.settle(got, queue.Deferred, h.now.Add(100*time.Hour))
		}
		h.vacuum()
	}
	after := h.size()
	total, err := h.q.Total(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	live := before * int64(total.Deliveries) / waiting
	t.Logf("%d KiB for %d deliveries, and %d KiB for %d after %d more have come and gone", before>>10, waiting, after>>10, total.Deliveries, 2*rounds*each)
	if after > 3*live {
		t.Errorf("%d KiB for %d deliveries, want at most three times what they need, %d KiB", after>>10, total.Deliveries, live>>10)
	}
}
