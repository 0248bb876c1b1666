package postgres_test

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// total is the cost of a plan.
var total = regexp.MustCompile(`cost=[0-9.]+\.\.([0-9.]+)`)

// mayBeCompiled reports whether a server may compile a plan, if it has few rows or, as the
// cost grows with them, if it has more.
func mayBeCompiled(plan string) bool {
	const constant = 40 // of those that look at one row, or call a function
	cost := total.FindStringSubmatch(plan)
	if cost == nil || strings.Contains(plan, "jit = 'off'") {
		return false
	}
	n, err := strconv.ParseFloat(cost[1], 64)
	return err != nil || n > constant
}

// A server may compile none of the queue's plans but those whose cost does not grow with
// the tables, whichever call it is.
func TestNoPlanIsCompiled(t *testing.T) {
	var (
		mu       sync.Mutex
		plans    int
		compiled []string
	)
	config, err := pgxpool.ParseConfig(shared.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		mu.Lock()
		defer mu.Unlock()
		if plans++; mayBeCompiled(n.Message) {
			compiled = append(compiled, n.Message)
		}
	}
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		for _, sql := range []string{
			"LOAD 'auto_explain'", "SET auto_explain.log_min_duration = 0",
			"SET auto_explain.log_nested_statements = on", "SET auto_explain.log_level = notice", "SET auto_explain.log_settings = on",
			"SET jit = on",
		} {
			if _, err := c.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	}
	p, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	q, o := open(t, p, postgres.Options{NoListen: true, KeepOutcomes: time.Hour})
	if _, err := p.Exec(t.Context(), fmt.Sprintf("SELECT count(*) FROM %q.message a, %[1]q.message b", o.Schema)); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	if len(compiled) == 0 {
		t.Error("the server does not tell of its plans")
	}
	compiled = nil
	mu.Unlock()

	now := time.Now()
	lease := one(t, q, "a@one.example")
	delivered(t, another(t, p, o), lease)
	_, err = q.Put(t.Context(), now, mail("text", "a@one.example", "b@two.example"))
	for what, do := range map[string]func() error{
		"Put": func() error { return err },
		"Claim": func() error {
			_, err := q.Claim(t.Context(), now.Add(time.Minute), queue.ClaimOptions{PerTenant: 10})
			return err
		},
		"List":     func() error { _, err := q.List(t.Context(), queue.ListOptions{}); return err },
		"a list":   func() error { _, err := q.List(t.Context(), queue.ListOptions{Destination: "one.example"}); return err },
		"Survey":   func() error { _, err := q.Survey(t.Context(), "", 0); return err },
		"Total":    func() error { _, err := q.Total(t.Context()); return err },
		"keys":     func() error { _, err := q.CountKeys(t.Context()); return err },
		"Outcomes": func() error { _, err := q.Outcomes(t.Context(), queue.OutcomeOptions{}); return err },
		"Flush":    func() error { _, err := q.Flush(t.Context(), now, queue.Selection{}); return err },
		"Postpone": func() error {
			return q.Postpone(t.Context(), now, queue.Postponement{Destination: "one.example", Until: now.Add(time.Hour)})
		},
	} {
		if err := do(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, plan := range compiled {
		text, _, _ := strings.Cut(plan, "\n\n")
		t.Errorf("compiled: %.600s", text)
	}
	t.Logf("%d plans", plans)
}
