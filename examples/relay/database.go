package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/delivery/metrics"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
	"github.com/nexthop-mail/nexthop/queue/postgres/tlsstore"
)

const (
	// databaseConnections is how many a relay has at most, unless the URL says
	// pool_max_conns.
	databaseConnections = 16

	// databaseConnect is how long one server of the URL may take, unless that says
	// connect_timeout: another may be the primary by then.
	databaseConnect = 5 * time.Second
)

// database is a queue in PostgreSQL with the pool that it uses.
type database struct {
	*postgres.Queue
	pool   *pgxpool.Pool
	schema string
}

// Unwrap is for what only a queue in PostgreSQL can do.
func (d *database) Unwrap() queue.Queue { return d.Queue }

// Close closes the queue, and then the pool.
func (d *database) Close() error {
	err := d.Queue.Close()
	d.pool.Close()
	return err
}

// fromFile is what -queue @FILE has in its file, or where itself.
func fromFile(where string) (string, error) {
	file, ok := strings.CutPrefix(where, "@")
	if !ok {
		return where, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", cli.Config("-queue: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// isDatabase reports whether -queue names a database.
func isDatabase(where string) bool {
	return strings.HasPrefix(where, "postgres://") || strings.HasPrefix(where, "postgresql://")
}

// parseDatabase reads -queue postgres://… or a file that has it. Errors do not repeat it,
// for it may have a password, nor parts of it, which may be parts of that.
func parseDatabase(where, role string) (*pgxpool.Config, string, error) {
	text, err := fromFile(where)
	if err != nil {
		return nil, "", err
	}
	text, schema, err := cutSchema(text)
	if err != nil {
		return nil, "", err
	}
	c, err := pgxpool.ParseConfig(text)
	if bad, ok := errors.AsType[*pgconn.ParseConfigError](err); ok && bad.Unwrap() != nil {
		if file, ok := errors.AsType[*os.PathError](err); ok {
			return nil, "", cli.Config("-queue: %w", file) // of a certificate or a key
		}
	}
	if err != nil {
		return nil, "", cli.Usage("-queue: the postgres:// URL, one of its parameters or one of the PG… variables is invalid. " +
			"In user and password, characters other than letters and digits are written as %%XX")
	}
	if !strings.Contains(text, "pool_max_conns=") {
		c.MaxConns = databaseConnections
	}
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = databaseConnect
	}
	if name := c.ConnConfig.RuntimeParams; name["application_name"] == "" {
		name["application_name"] = role
	}
	if where != text {
		c.BeforeConnect = followSecret(where)
	}
	return c, schema, nil
}

// followSecret makes new connections use the current user and password in the file of
// -queue @FILE. If the file has become invalid, the old ones stay in use.
func followSecret(where string) func(context.Context, *pgx.ConnConfig) error {
	return func(_ context.Context, c *pgx.ConnConfig) error {
		text, err := fromFile(where)
		if err == nil {
			text, _, err = cutSchema(text)
		}
		if err == nil {
			if now, err := pgx.ParseConfig(text); err == nil {
				c.User, c.Password = now.User, now.Password
			}
		}
		return nil
	}
}

// cutSchema removes the schema from a URL, because the server does not know that
// parameter.
func cutSchema(text string) (rest, schema string, err error) {
	if !isDatabase(text) {
		return "", "", cli.Usage("-queue @FILE: the file does not begin with a postgres:// URL")
	}
	rest, query, ok := strings.Cut(text, "?")
	if !ok {
		return text, "", nil
	}
	parameters := strings.Split(query, "&")
	parameters = slices.DeleteFunc(parameters, func(p string) bool {
		value, ours := strings.CutPrefix(p, "schema=")
		if ours {
			if schema, err = url.QueryUnescape(value); err != nil || schema == "" || len(schema) > 63 || strings.Contains(schema, "\x00") {
				err = cli.Usage("-queue: schema= must be a name of at most 63 octets")
			}
		}
		return ours
	})
	if len(parameters) > 0 {
		rest += "?" + strings.Join(parameters, "&")
	}
	return rest, schema, err
}

// openDatabase opens the queue for a relay, or for a command that is soon done.
func openDatabase(ctx context.Context, where, role string) (*database, error) {
	config, schema, err := parseDatabase(where, role)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, cli.Config("-queue: %w", err)
	}
	q, err := postgres.Open(ctx, pool, postgres.Options{Schema: schema, NoListen: role != asRelay})
	if err != nil {
		pool.Close()
		return nil, databaseError(err)
	}
	return &database{q, pool, schema}, nil
}

// databaseError gives an error its exit code: if only a change by an operator can help,
// another start is useless.
func databaseError(err error) error {
	code := cli.ExitTempFail
	refused, _ := errors.AsType[*pgconn.PgError](err)
	version, _ := errors.AsType[*postgres.VersionError](err)
	switch {
	case version != nil && version.Newer:
		return cli.Config("-queue: %w: a newer relay is needed", err)
	case version != nil:
		return cli.Config("-queue: %w with: relay migrate -queue postgres://…", err)
	case errors.Is(err, postgres.ErrIsolation):
		code = cli.ExitConfig
	case refused != nil:
		switch class := refused.Code[:2]; {
		case class == "28", class == "3D", refused.Code == "42501": // login, no such database, privileges
			code = cli.ExitConfig
		}
	}
	return &cli.Error{Code: code, Err: fmt.Errorf("-queue: %w", err)}
}

// database is the queue in PostgreSQL; nil if it is another.
func (p *parts) database() *database {
	d, _ := p.queue.(*database)
	return d
}

// lease is for how long a delivery is claimed at a time: zero is as long as the library
// thinks fit for a queue that is the relay's own.
func (p *parts) lease() time.Duration {
	if p.database() == nil {
		return 0
	}
	return time.Duration(p.options.lease)
}

// policyStore is where MTA-STS policies are kept; nil is in memory, as the queue.
func (p *parts) policyStore() mtasts.Store {
	switch d := p.database(); {
	case d != nil:
		return &tlsstore.Policies{Pool: d.pool, Schema: d.schema}
	case p.dir != "":
		return &mtasts.Dir{Path: filepath.Join(p.dir, "mta-sts")}
	}
	return nil
}

// proofStore is where it is kept which hosts were authenticated; nil is beside the policies.
func (p *parts) proofStore() trust.ProofStore {
	if d := p.database(); d != nil {
		return &tlsstore.Proofs{Pool: d.pool, Schema: d.schema}
	}
	return nil
}

// databaseMetrics writes the metrics of a queue in PostgreSQL. Those that the server
// does not answer in time are left out.
func databaseMetrics(w *metrics.Writer, q *postgres.Queue) {
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := q.Stats(ctx)
	answers, listening := 1.0, 0.0
	if err != nil {
		answers = 0
	}
	if s.Listening {
		listening = 1
	}
	w.Gauge("nexthop_postgres_answers", "Whether the server answers.", answers)
	w.Gauge("nexthop_postgres_listening", "Whether notifications of other relays are heard.", listening)
	for _, c := range []struct {
		state string
		n     int
	}{{"in-use", s.Pool.InUse}, {"idle", s.Pool.Idle}} {
		w.Gauge("nexthop_postgres_connections", "Connections of the pool.", float64(c.n), metrics.Label{Name: "state", Value: c.state})
	}
	w.Gauge("nexthop_postgres_connections_max", "Connections that the pool may have.", float64(s.Pool.Max))
	w.Counter("nexthop_postgres_connection_waits_total", "How often a connection had to be waited for.", float64(s.Pool.Waits))
	w.Counter("nexthop_postgres_connection_wait_seconds_total", "For how long in all.", s.Pool.Waited.Seconds())
	w.Gauge("nexthop_postgres_clock_offset_seconds", "How far the clock of the server is ahead, if that is corrected.", s.ClockOffset.Seconds())
	if err != nil {
		return
	}
	w.Gauge("nexthop_postgres_live_rows", "Rows of the queue's tables.", float64(s.LiveRows))
	w.Gauge("nexthop_postgres_dead_rows", "Rows that are gone and not yet removed.", float64(s.DeadRows))
	w.Gauge("nexthop_postgres_bytes", "Size of the queue's tables and indexes.", float64(s.Bytes))
	w.Gauge("nexthop_postgres_horizon_age_transactions", "How many transactions ago somebody began who may still look at dead rows.", float64(s.HorizonAge))
	w.Gauge("nexthop_postgres_oldest_transaction_seconds", "For how long the oldest such transaction has been open.", s.OldestTransaction.Seconds())
}
