package postgres_test

import (
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// keeping is a queue that keeps outcomes, with some deliveries that are leased.
func keeping(t *testing.T, n int) (h *held, list []queue.Delivery) {
	t.Helper()
	p := pool(t, shared.server.URL())
	q, o := open(t, p, postgres.Options{NoListen: true, KeepOutcomes: time.Hour})
	h = &held{t: t, p: p, q: q, o: o, now: time.Now()}
	h.put(n, n)
	return h, h.claim(queue.ClaimOptions{})
}

// outcomesOf are all outcomes that a handle finds.
func outcomesOf(t *testing.T, q *postgres.Queue) (ids []string) {
	t.Helper()
	page, err := q.Outcomes(t.Context(), queue.OutcomeOptions{})
	if err != nil || page.More {
		t.Fatalf("Outcomes = %+v, %v", page, err)
	}
	for _, o := range page.Outcomes {
		ids = append(ids, o.Message)
	}
	return ids
}

// Without room a settlement that creates a message waits, and those of its batch that
// create none do not.
func TestBatchWithoutRoom(t *testing.T) {
	h, list := keeping(t, 3)
	batch := make([]queue.Settlement, len(list))
	for i := range list {
		batch[i] = queue.Settlement{Lease: list[i].Lease, Results: []queue.Result{{Recipient: 0, Outcome: queue.Delivered}}}
	}
	batch[1].Results[0].Outcome = queue.Failed
	batch[1].Create = []*queue.Message{mail("report", "sender@report.example")}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(filled(t.Context(), h.p, h.o, true))
	got, err := h.q.Settle(t.Context(), h.now, batch)
	check(err)
	for i, want := range []error{nil, queue.ErrFull, nil} {
		if !errors.Is(got[i].Err, want) {
			t.Errorf("settlement %d without room: %v, want %v", i, got[i].Err, want)
		}
	}
	if _, err := h.q.Outcomes(t.Context(), queue.OutcomeOptions{}); !errors.Is(err, queue.ErrFull) {
		t.Errorf("Outcomes while there is no room = %v, want ErrFull", err)
	}
	check(filled(t.Context(), h.p, h.o, false))
	got, err = h.q.Settle(t.Context(), h.now, batch[1:2])
	check(err)
	if got[0].Err != nil || len(got[0].Created) != 1 {
		t.Errorf("the settlement with room: %+v", got[0])
	}
	if ids := outcomesOf(t, h.q); len(ids) != 3 {
		t.Errorf("outcomes of %q, want of three messages", ids)
	}
}

// Outcomes that are in memory are stored when the handle is closed, for all to find.
func TestOutcomesWithoutRoomAreStoredByClose(t *testing.T) {
	h, list := keeping(t, 3)
	other := another(t, h.p, h.o)
	if err := filled(t.Context(), h.p, h.o, true); err != nil {
		t.Fatal(err)
	}
	h.settle(list, queue.Delivered, time.Time{})
	if ids := outcomesOf(t, other); len(ids) > 0 {
		t.Errorf("outcomes of %q were stored without room", ids)
	}
	if err := filled(t.Context(), h.p, h.o, false); err != nil {
		t.Fatal(err)
	}
	if err := h.q.Close(); err != nil {
		t.Fatal(err)
	}
	if ids := outcomesOf(t, other); len(ids) != 3 {
		t.Errorf("outcomes of %q, want of three messages", ids)
	}
}

// If nobody answered whether outcomes were stored, the next call asks that first.
func TestOutcomesWhoseCommitWasNotAnswered(t *testing.T) {
	for name, commits := range map[string]bool{"it was made": true, "it was not": false} {
		t.Run(name, func(t *testing.T) {
			h, list := keeping(t, 3)
			if err := filled(t.Context(), h.p, h.o, true); err != nil {
				t.Fatal(err)
			}
			h.settle(list, queue.Delivered, time.Time{})
			if err := filled(t.Context(), h.p, h.o, false); err != nil {
				t.Fatal(err)
			}
			tx, err := h.p.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var xid int64
			if err := tx.QueryRow(t.Context(), "SELECT txid_current()").Scan(&xid); err != nil {
				t.Fatal(err)
			}
			postgres.DoubtOutcomes(h.q, xid)
			if _, err := h.q.Outcomes(t.Context(), queue.OutcomeOptions{}); err == nil {
				t.Error("Outcomes does not wait for the transaction")
			}
			want := 3
			if commits {
				err, want = tx.Commit(t.Context()), 0 // which has stored nothing here
			} else {
				err = tx.Rollback(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			if ids := outcomesOf(t, h.q); len(ids) != want {
				t.Errorf("outcomes of %q were stored afterwards, want %d", ids, want)
			}
		})
	}
}

// If the transaction that may have stored outcomes is one that the server has not made yet,
// since another server took over that had not heard of it, it has not stored them.
func TestOutcomesWhoseTransactionIsLost(t *testing.T) {
	h, list := keeping(t, 3)
	if err := filled(t.Context(), h.p, h.o, true); err != nil {
		t.Fatal(err)
	}
	h.settle(list, queue.Delivered, time.Time{})
	if err := filled(t.Context(), h.p, h.o, false); err != nil {
		t.Fatal(err)
	}
	var xid int64
	if err := h.p.QueryRow(t.Context(), "SELECT txid_current() + 1000000").Scan(&xid); err != nil {
		t.Fatal(err)
	}
	postgres.DoubtOutcomes(h.q, xid)
	if ids := outcomesOf(t, h.q); len(ids) != 3 {
		t.Errorf("outcomes of %q, want of three messages", ids)
	}
}

// However many outcomes a handle has in memory, no transaction stores more than some of them,
// and all are found in their order. If there is no more room after some, the others stay.
func TestMoreOutcomesInMemoryThanOneTransactionStores(t *testing.T) {
	h, _ := keeping(t, 0)
	const n = 2*postgres.UnkeptPart + 7
	postgres.Unkeep(h.q, h.now, n)
	exec(t, h.p, h.o,
		`CREATE FUNCTION $.is_full() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
			IF NEW.n = 1 AND EXISTS (SELECT FROM $.outcome) THEN
				RAISE EXCEPTION ''could not extend file'' USING ERRCODE = ''disk_full'';
			END IF;
			RETURN NEW;
		END'`,
		`CREATE TRIGGER is_full BEFORE INSERT ON $.outcome FOR EACH ROW EXECUTE FUNCTION $.is_full()`)
	if _, err := h.q.Outcomes(t.Context(), queue.OutcomeOptions{}); !errors.Is(err, queue.ErrFull) {
		t.Errorf("Outcomes with room for one transaction = %v, want ErrFull", err)
	}
	exec(t, h.p, h.o, "DROP TRIGGER is_full ON $.outcome")
	page, err := h.q.Outcomes(t.Context(), queue.OutcomeOptions{Max: n + 1})
	if err != nil || len(page.Outcomes) != n || page.More {
		t.Fatalf("%d outcomes, more %v, %v, want %d", len(page.Outcomes), page.More, err, n)
	}
	for i := 1; i < n; i++ {
		if a, b := page.Outcomes[i-1].Message, page.Outcomes[i].Message; a >= b {
			t.Fatalf("%s comes after %s", b, a)
		}
	}
	var most int
	if err := h.p.QueryRow(t.Context(), "SELECT max(n) FROM "+pgx.Identifier{h.o.Schema}.Sanitize()+".outcome").Scan(&most); err != nil {
		t.Fatal(err)
	}
	if most != postgres.UnkeptPart {
		t.Errorf("a transaction stores %d outcomes, want %d at most", most, postgres.UnkeptPart)
	}
}
