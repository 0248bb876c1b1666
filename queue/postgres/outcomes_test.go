package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// reader reads outcomes on from where it was.
type reader struct {
	t     *testing.T
	after string
	had   []queue.FinalOutcome
}

// read reads what is there, in small pages. It reports whether that went well; only a
// server that is away may prevent it.
func (r *reader) read(q *postgres.Queue) bool {
	for {
		page, err := q.Outcomes(r.t.Context(), queue.OutcomeOptions{After: r.after, Max: 5})
		if err != nil {
			return false
		}
		if page.Missed {
			r.t.Errorf("after %q outcomes were missed", r.after)
		}
		for _, o := range page.Outcomes {
			if o.Position <= r.after {
				r.t.Errorf("the position %s comes after %s", o.Position, r.after)
			}
			r.after = o.Position
			r.had = append(r.had, o)
		}
		if r.after = page.Next; !page.More {
			return true
		}
	}
}

// messages are the messages of the outcomes that were read.
func (r *reader) messages() (list []string) {
	for _, o := range r.had {
		list = append(list, o.Message)
	}
	return list
}

// one puts a message and leases it.
func one(t *testing.T, q *postgres.Queue, to string) queue.Lease {
	t.Helper()
	id, err := q.Put(t.Context(), time.Now(), mail("text", to))
	if err != nil {
		t.Fatal(err)
	}
	taken, err := q.Take(t.Context(), time.Now(), id, time.Hour)
	if err != nil || len(taken.Deliveries) != 1 {
		t.Fatalf("Take = %+v, %v", taken, err)
	}
	return taken.Deliveries[0].Lease
}

// delivered settles leases.
func delivered(t *testing.T, q *postgres.Queue, leases ...queue.Lease) {
	t.Helper()
	var batch []queue.Settlement
	for _, l := range leases {
		batch = append(batch, queue.Settlement{Lease: l, Results: []queue.Result{{Outcome: queue.Delivered}}})
	}
	settled, err := q.Settle(t.Context(), time.Now(), batch)
	for _, s := range settled {
		err = errors.Join(err, s.Err)
	}
	if err != nil {
		t.Error(err)
	}
}

// A reader is told of settlements as soon as they are committed, and passes over none that
// is committed after one which began later, nor does any other transaction keep it back.
func TestOutcomesOfSettlementsThatOverlap(t *testing.T) {
	p := pool(t, shared.server.URL())
	q, o := open(t, p, postgres.Options{KeepOutcomes: time.Hour})
	app, err := p.Begin(t.Context()) // of the application, and open all the time
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = app.Rollback(t.Context()) }()
	if _, err := q.PutTx(t.Context(), app, time.Now(), mail("text", "a@one.example")); err != nil {
		t.Fatal(err)
	}
	slow := []queue.Lease{one(t, q, "a@one.example"), one(t, q, "a@one.example")}
	fast := []queue.Lease{one(t, q, "a@two.example"), one(t, q, "a@two.example"), one(t, q, "a@two.example")}
	r, again := &reader{t: t}, &reader{t: t}
	want := func(when string, leases ...queue.Lease) {
		t.Helper()
		var list []string
		for _, l := range leases {
			list = append(list, l.Message)
		}
		if !r.read(q) || !slices.Equal(r.messages(), list) {
			t.Errorf("%s: the outcomes are %v, want %v", when, r.messages(), list)
		}
	}

	// The settlement of two messages has locked the first, and waits for the second.
	free := locked(t, shared.server.URL(), o, "SELECT FROM $.message WHERE id = (SELECT max(message) FROM $.delivery WHERE destination = 'one.example') FOR UPDATE")
	var ending sync.WaitGroup
	ending.Go(func() { delivered(t, q, slow...) })
	blocked(t, shared.server.URL(), "transactionid", 1)
	delivered(t, q, fast[0])
	want("beside one that is not committed", fast[0])
	delivered(t, another(t, p, o), fast[1])
	want("of another handle", fast[0], fast[1])
	free()
	ending.Wait()
	delivered(t, q, fast[2])
	want("after its commit", fast[0], fast[1], slow[0], slow[1], fast[2])
	if again.read(another(t, p, o)); !slices.EqualFunc(again.had, r.had, func(a, b queue.FinalOutcome) bool { return a.Position == b.Position }) {
		t.Errorf("who reads everything later reads %v, want %v", again.messages(), r.messages())
	}
}

// While agents settle mail and are killed, and the server is, who follows the outcomes
// comes by each message that has left, once.
func TestOutcomesBesideDeaths(t *testing.T) {
	const agents = 3
	p := pool(t, shared.server.URL())
	q, o := open(t, p, postgres.Options{Timeout: 5 * time.Second, KeepOutcomes: time.Hour})
	l := &ledger{put: make(map[string]string), settled: make(map[string]int), tokens: make(map[uint64]bool)}
	r := &reader{t: t}
	for round := range 3 {
		stop, begun := make(chan struct{}), make(chan struct{}, 100)
		var group sync.WaitGroup
		for w := range 2 {
			group.Go(func() { l.write(t, q, fmt.Sprintf("%d-%d", round, w), stop, begun) })
		}
		for range agents {
			agent, err := postgres.Open(t.Context(), p, o)
			if err != nil {
				t.Fatal(err)
			}
			group.Go(func() { l.deliver(t, agent, stop) })
			defer agent.Close()
			if round == 1 { // an agent's death
				time.AfterFunc(50*time.Millisecond, func() { _ = agent.Close() })
			}
		}
		group.Go(func() {
			for r.read(q) {
				select {
				case <-stop:
					return
				default:
				}
			}
			<-stop
		})
		for range 60 {
			<-begun
		}
		shared.server.Kill()
		close(stop)
		group.Wait()
		if err := shared.server.Restart(); err != nil {
			t.Fatal(err)
		}
		p.Reset()
	}
	l.drain(t, q)
	if !r.read(q) {
		t.Fatal("the outcomes cannot be read")
	}
	times := make(map[string]int)
	for _, id := range r.messages() {
		times[id]++
	}
	for id := range times {
		if times[id] != 1 {
			t.Errorf("the message %s has %d outcomes", id, times[id])
		}
	}
	for id := range l.put {
		if times[id] == 0 {
			t.Errorf("the message %s has left without an outcome", id)
		}
	}
	t.Logf("%d messages, %d outcomes, %d settlements came undone", len(l.put), len(r.had), l.lost)
}

// The order of outcomes goes on in a database that was restored from a dump, whose
// transactions have lower numbers than those before. What was kept then is missed.
func TestOutcomesOfARestoredDatabase(t *testing.T) {
	p := pool(t, shared.server.URL())
	q, o := open(t, p, postgres.Options{KeepOutcomes: time.Hour})
	delivered(t, q, one(t, q, "a@one.example"))
	r := &reader{t: t}
	if r.read(q); len(r.had) != 1 {
		t.Fatalf("%d outcomes, want 1", len(r.had))
	}
	exec(t, p, o, "UPDATE $.outcome SET xid = xid + 1000000000", // as on a server that had more transactions
		"UPDATE $.outcome_part SET low = low + 1000000000, high = high + 1000000000")
	for _, q := range []*postgres.Queue{another(t, p, o), q} {
		lease := one(t, q, "a@one.example")
		delivered(t, q, lease)
		page, err := q.Outcomes(t.Context(), queue.OutcomeOptions{After: r.after})
		if err != nil || len(page.Outcomes) != 1 || page.Outcomes[0].Message != lease.Message {
			t.Fatalf("Outcomes = %+v, %v, want one of %s", page, err, lease.Message)
		}
		if r.after = page.Next; page.Outcomes[0].Position <= r.had[0].Position {
			t.Error("a position is less than one before")
		}
	}
}

// Outcomes that were in a dump before anybody had found them are found where it was
// restored, whether or not there were others before.
func TestOutcomesOfARestoredDatabaseThatNobodyHadFound(t *testing.T) {
	p := pool(t, shared.server.URL())
	for _, before := range []int{0, 1} {
		q, o := open(t, p, postgres.Options{KeepOutcomes: time.Hour})
		r := &reader{t: t}
		for range before {
			delivered(t, q, one(t, q, "a@one.example"))
			r.read(q)
		}
		var want []string
		for range 3 {
			lease := one(t, q, "a@one.example")
			delivered(t, q, lease)
			want = append(want, lease.Message)
		}
		exec(t, p, o, "UPDATE $.outcome SET xid = xid + 1000000000 WHERE xid >= (SELECT coalesce(max(high), 0) FROM $.outcome_part)")
		q = another(t, p, o)
		lease := one(t, q, "a@one.example")
		delivered(t, q, lease)
		if r.read(q); !slices.Equal(r.messages()[before:], append(want, lease.Message)) {
			t.Errorf("with %d before: the outcomes are those of %v, want %v and %s", before, r.messages()[before:], want, lease.Message)
		}
	}
}

// Outcomes that are too old are forgotten, whether or not anybody has read them, and a
// reader that was further on misses none.
func TestOutcomesAreForgottenInTime(t *testing.T) {
	p := pool(t, shared.server.URL())
	q, o := open(t, p, postgres.Options{KeepOutcomes: time.Hour})
	for range 3 {
		delivered(t, q, one(t, q, "a@one.example"))
	}
	r := &reader{t: t}
	r.read(q)
	late := one(t, q, "a@one.example")
	now := time.Now().Add(30 * time.Minute)
	settled, err := q.Settle(t.Context(), now, []queue.Settlement{{Lease: late, Results: []queue.Result{{Outcome: queue.Delivered}}}})
	if err != nil || settled[0].Err != nil {
		t.Fatal(settled, err)
	}
	rows := func() (n int) {
		t.Helper()
		if err := p.QueryRow(t.Context(), fmt.Sprintf("SELECT count(*) FROM %q.outcome", o.Schema)).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, c := range []struct{ minutes, want int }{{59, 4}, {61, 1}} {
		if err := postgres.ForgetOutcomes(t.Context(), q, time.Now().Add(time.Duration(c.minutes)*time.Minute)); err != nil || rows() != c.want {
			t.Errorf("after %d minutes %d outcomes are kept, %v, want %d", c.minutes, rows(), err, c.want)
		}
	}
	if r.read(q); len(r.had) != 4 {
		t.Errorf("a reader that goes on has read %d outcomes, want 4", len(r.had))
	}
	page, err := q.Outcomes(t.Context(), queue.OutcomeOptions{After: r.had[0].Position})
	if err != nil || !page.Missed || len(page.Outcomes) != 1 {
		t.Errorf("a reader that was behind gets %+v, %v, want one outcome, and that some were missed", page, err)
	}
	if page, err = q.Outcomes(t.Context(), queue.OutcomeOptions{}); err != nil || page.Missed || len(page.Outcomes) != 1 {
		t.Errorf("a new reader gets %+v, %v, want one outcome", page, err)
	}
}

// A handle that has another's leases settles them with all that an outcome says.
func TestOutcomeOfAnothersLease(t *testing.T) {
	p := pool(t, shared.server.URL())
	q, o := open(t, p, postgres.Options{KeepOutcomes: time.Hour})
	m := mail("text", "a@one.example")
	m.Tenant, m.Key = "tenant", "key"
	if _, err := q.Put(t.Context(), time.Now(), m); err != nil {
		t.Fatal(err)
	}
	got, err := q.Claim(t.Context(), time.Now(), queue.ClaimOptions{})
	if err != nil {
		t.Fatal(err)
	}
	delivered(t, another(t, p, o), got.Deliveries[0].Lease)
	r := &reader{t: t}
	if r.read(q); len(r.had) != 1 || r.had[0].Tenant != "tenant" || r.had[0].Key != "key" || r.had[0].Address != "a@one.example" {
		t.Errorf("the outcomes are %+v", r.had)
	}
}

// A queue that keeps no outcomes writes nothing for them.
func TestNoOutcomesUnlessAskedFor(t *testing.T) {
	h := newHeld(t)
	h.put(10, 3)
	h.settle(h.claim(queue.ClaimOptions{}), queue.Delivered, time.Time{})
	if _, err := h.q.Outcomes(t.Context(), queue.OutcomeOptions{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Outcomes = %v, want errors.ErrUnsupported", err)
	}
	var n int
	err := h.p.QueryRow(t.Context(), fmt.Sprintf("SELECT (SELECT count(*) FROM %[1]q.outcome) + (SELECT count(*) FROM %[1]q.outcome_part)", h.o.Schema)).Scan(&n)
	if err != nil || n > 0 {
		t.Errorf("%d rows, %v, want none", n, err)
	}
}
