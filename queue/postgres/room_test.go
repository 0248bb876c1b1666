package postgres_test

import (
	"errors"
	"strings"
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

// settleAll settles a batch, and wants the errors, and which of them there was no room for.
func (h *held) settleAll(batch []queue.Settlement, errs []error, noRoom []bool) (settled []queue.Settled) {
	h.t.Helper()
	got, err := h.q.Settle(h.t.Context(), h.now, batch)
	if err != nil {
		h.t.Fatal(err)
	}
	for i := range got {
		if !errors.Is(got[i].Err, errs[i]) || got[i].NoRoom != noRoom[i] {
			h.t.Errorf("settlement %d: %+v, want %v, no room: %v", i, got[i], errs[i], noRoom[i])
		}
	}
	return got
}

// settlements have the deliveries end as each outcome says.
func settlements(list []queue.Delivery, outcomes ...queue.Outcome) (batch []queue.Settlement) {
	for i := range list {
		batch = append(batch, queue.Settlement{Lease: list[i].Lease, Results: []queue.Result{{Recipient: 0, Outcome: outcomes[i]}}})
	}
	return batch
}

// setFull has the server refuse new rows as it does if it has no room, or not any more.
func (h *held) setFull(full bool) {
	h.t.Helper()
	if err := filled(h.t.Context(), h.p, h.o, full); err != nil {
		h.t.Fatal(err)
	}
}

// Without room for a report the settlements of its batch are recorded, and who failed is
// tried again after a minute.
func TestBatchWithoutRoom(t *testing.T) {
	for name, size := range map[string]int{"a short report": 100, "a report in pieces": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			h, list := keeping(t, 3)
			report := mail(strings.Repeat("x", size), "sender@report.example")
			batch := settlements(list, queue.Delivered, queue.Failed, queue.Delivered)
			batch[1].Create = []*queue.Message{report}
			h.setFull(true)
			h.settleAll(batch, make([]error, 3), []bool{false, true, false})
			if _, err := h.q.Outcomes(t.Context(), queue.OutcomeOptions{}); !errors.Is(err, queue.ErrFull) {
				t.Errorf("Outcomes while there is no room = %v, want ErrFull", err)
			}
			h.setFull(false)
			if got := h.claim(queue.ClaimOptions{}); len(got) > 0 {
				t.Fatalf("%d deliveries are due at once, want none", len(got))
			}
			h.now = h.now.Add(time.Minute)
			list = h.claim(queue.ClaimOptions{})
			if len(list) != 1 || list[0].Lease.Message != batch[1].Lease.Message || list[0].States[0] != (queue.State{}) {
				t.Fatalf("after a minute %+v, want the message that failed as it was", list)
			}
			batch = settlements(list, queue.Failed)
			batch[0].Create = []*queue.Message{report}
			if got := h.settleAll(batch, []error{nil}, []bool{false}); len(got[0].Created) != 1 {
				t.Errorf("the settlement with room: %+v", got[0])
			}
			if ids := outcomesOf(t, h.q); len(ids) != 3 {
				t.Errorf("outcomes of %q, want of three messages", ids)
			}
		})
	}
}

// Of a message whose delivery has failed for one recipient and succeeded for another, no
// second copy is sent because there was no room for the report.
func TestDeliveredBesideFailedWithoutRoom(t *testing.T) {
	h, _ := keeping(t, 0)
	if _, err := h.q.Put(t.Context(), h.now, mail("text", "has@one.example", "failed@one.example")); err != nil {
		t.Fatal(err)
	}
	list := h.claim(queue.ClaimOptions{})
	batch := settlements(list, queue.Delivered)
	batch[0].Results = append(batch[0].Results, queue.Result{Recipient: 1, Outcome: queue.Failed})
	batch[0].Create, batch[0].Warned = []*queue.Message{mail("report", "sender@report.example")}, true
	h.setFull(true)
	h.settleAll(batch, []error{nil}, []bool{true})
	h.setFull(false)
	h.now = h.now.Add(time.Minute)
	list = h.claim(queue.ClaimOptions{})
	if len(list) != 1 || len(list[0].States) != 1 || list[0].States[0] != (queue.State{Index: 1}) || list[0].Warned {
		t.Fatalf("after a minute %+v, want who failed as it was", list)
	}
}

// A settlement that names a recipient who is not there is refused, room or not.
func TestWrongSettlementWithoutRoom(t *testing.T) {
	h, list := keeping(t, 1)
	batch := settlements(list, queue.Delivered)
	batch[0].Results = append(batch[0].Results, queue.Result{Recipient: 1, Outcome: queue.Failed})
	batch[0].Create = []*queue.Message{mail("report", "sender@report.example")}
	other := settlements(list, queue.Failed) // the same lease, which counts as nothing is recorded before
	other[0].Create = batch[0].Create
	h.setFull(true)
	got, err := h.q.Settle(t.Context(), h.now, append(batch, other...))
	if err != nil {
		t.Fatal(err)
	}
	if !errors.As(got[0].Err, new(*queue.ResultError)) || got[1].Err != nil || !got[1].NoRoom {
		t.Errorf("Settle = %+v, want a ResultError, and then no room", got)
	}
}

// If there is no room for deliveries that stay, those that end are recorded all the same.
func TestEndsWithoutRoomForOthers(t *testing.T) {
	h, list := keeping(t, 4)
	exec(t, h.p, h.o,
		`CREATE FUNCTION $.is_fuller() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''could not extend file'' USING ERRCODE = ''disk_full''; END'`,
		`CREATE TRIGGER is_full BEFORE INSERT ON $.head FOR EACH ROW EXECUTE FUNCTION $.is_fuller()`)
	batch := settlements(list, queue.Delivered, queue.Deferred, queue.Failed, queue.Failed)
	batch[3].Create = []*queue.Message{mail("report", "sender@report.example")}
	h.setFull(true)
	h.settleAll(batch, []error{nil, queue.ErrFull, nil, queue.ErrFull}, make([]bool, 4))
	h.setFull(false)
	exec(t, h.p, h.o, "DROP TRIGGER is_full ON $.head")
	left := []queue.Settlement{batch[1], batch[3]}
	if got := h.settleAll(left, make([]error, 2), make([]bool, 2)); len(got[1].Created) != 1 {
		t.Errorf("the settlement with room: %+v", got[1])
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
