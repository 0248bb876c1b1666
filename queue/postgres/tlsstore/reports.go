package tlsstore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
)

// Reports is a tlsrpt.Store.
type Reports struct {
	// Pool is the database; required.
	Pool *pgxpool.Pool

	// Schema is the schema of the queue. Default: postgres.DefaultSchema.
	Schema string

	// Timeout limits the time of a query. Default: 10 s.
	Timeout time.Duration

	// Contact is the contact of the reporter. It is stored with the counts, for
	// programs that show them (LastContact). It may be empty.
	Contact string
}

var _ tlsrpt.Store = (*Reports)(nil)

func (r *Reports) table() table { return table{"Reports", r.Pool, r.Schema, r.Timeout} }

// Save implements tlsrpt.Store.
func (r *Reports) Save(ctx context.Context, day tlsrpt.Day, counter string, tallies []tlsrpt.Tally) error {
	text, err := json.Marshal(tallies)
	if err != nil {
		return err
	}
	return r.table().call(ctx, func(ctx context.Context, sql func(string) string) error {
		_, err := r.Pool.Exec(ctx, sql(`INSERT INTO {schema}.tls_counts (day, counter, contact, tallies)
			VALUES ($1::int, $2::bytea, $3::bytea, $4::bytea)
			ON CONFLICT (day, counter) DO UPDATE SET contact = excluded.contact, tallies = excluded.tallies`),
			int32(day), []byte(counter), []byte(r.Contact), text)
		return err
	})
}

// Load implements tlsrpt.Store. Invalid counts are left out.
func (r *Reports) Load(ctx context.Context, day tlsrpt.Day) (all []tlsrpt.Tally, err error) {
	err = r.table().call(ctx, func(ctx context.Context, sql func(string) string) error {
		rows, err := r.Pool.Query(ctx, sql("SELECT tallies FROM {schema}.tls_counts WHERE day = $1::int ORDER BY counter"), int32(day))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var (
				text    []byte
				tallies []tlsrpt.Tally
			)
			if err := rows.Scan(&text); err != nil {
				return err
			}
			if json.Unmarshal(text, &tallies) == nil {
				all = append(all, tallies...)
			}
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// LastContact returns the Contact stored with the counts of the latest day, or "" if
// there are no counts.
func (r *Reports) LastContact(ctx context.Context) (contact string, err error) {
	err = r.table().call(ctx, func(ctx context.Context, sql func(string) string) error {
		var text []byte
		_, err := one(r.Pool.QueryRow(ctx, sql(`SELECT contact FROM {schema}.tls_counts WHERE contact <> ''
			ORDER BY day DESC, counter LIMIT 1`)), &text)
		contact = string(text)
		return err
	})
	return contact, err
}

// Update implements tlsrpt.Store. An invalid Delivery counts as one that has only its
// revision, so that the next one can replace it.
func (r *Reports) Update(ctx context.Context, d tlsrpt.Delivery) (now tlsrpt.Delivery, stored bool, err error) {
	text, err := json.Marshal(d)
	if err != nil {
		return tlsrpt.Delivery{}, false, err
	}
	// The first revision is inserted, and of several who do so one does; any other takes
	// the place of the one before.
	change := `UPDATE {schema}.tls_report SET revision = $3::int, delivery = $4::bytea
		WHERE day = $1::int AND domain = $2::bytea AND revision = $3::int - 1`
	if d.Revision == 1 {
		change = `INSERT INTO {schema}.tls_report (day, domain, revision, delivery)
			VALUES ($1::int, $2::bytea, $3::int, $4::bytea) ON CONFLICT DO NOTHING`
	}
	err = r.table().call(ctx, func(ctx context.Context, sql func(string) string) error {
		done, err := r.Pool.Exec(ctx, sql(change), int32(d.Day), []byte(d.Domain), d.Revision, text)
		if err != nil {
			return err
		}
		if stored = done.RowsAffected() == 1; stored {
			now = d
			return nil
		}
		now, err = r.delivery(ctx, sql, d.Day, d.Domain)
		return err
	})
	if err != nil {
		return tlsrpt.Delivery{}, false, err
	}
	return now, stored, nil
}

// delivery is what is stored of a report.
func (r *Reports) delivery(ctx context.Context, sql func(string) string, day tlsrpt.Day, domain string) (tlsrpt.Delivery, error) {
	var (
		revision int
		text     []byte
		d        tlsrpt.Delivery
	)
	found, err := one(r.Pool.QueryRow(ctx, sql("SELECT revision, delivery FROM {schema}.tls_report WHERE day = $1::int AND domain = $2::bytea"),
		int32(day), []byte(domain)), &revision, &text)
	if err != nil {
		return d, err
	}
	if !found || json.Unmarshal(text, &d) != nil || d.Day != day || d.Domain != domain || d.Revision != revision {
		d = tlsrpt.Delivery{Day: day, Domain: domain, Revision: revision}
	}
	return d, nil
}

// Forget implements tlsrpt.Store.
func (r *Reports) Forget(ctx context.Context, before tlsrpt.Day) error {
	return r.table().call(ctx, func(ctx context.Context, sql func(string) string) error {
		for _, table := range []string{"tls_counts", "tls_report"} {
			if _, err := r.Pool.Exec(ctx, sql("DELETE FROM {schema}."+table+" WHERE day < $1::int"), int32(before)); err != nil {
				return err
			}
		}
		return nil
	})
}
