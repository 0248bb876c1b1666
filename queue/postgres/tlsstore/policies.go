package tlsstore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
)

// Policies is a mtasts.Store. Changes by other processes are seen within ten seconds. It
// must not be copied.
type Policies struct {
	// Pool is the database; required.
	Pool *pgxpool.Pool

	// Schema is the schema of the queue. Default: postgres.DefaultSchema.
	Schema string

	// Timeout limits the time of a query. Default: 10 s.
	Timeout time.Duration

	recent recent[string, mtasts.Entry] // by domain
}

var _ mtasts.Store = (*Policies)(nil)

func (p *Policies) table() table { return table{"Policies", p.Pool, p.Schema, p.Timeout} }

// Load implements mtasts.Store. An invalid entry is an mtasts.ErrDamaged.
func (p *Policies) Load(ctx context.Context, domain string) (e mtasts.Entry, err error) {
	e, ok, changes := p.recent.recall(domain)
	if ok {
		return e, nil
	}
	err = p.table().call(ctx, func(ctx context.Context, sql func(string) string) error {
		var text []byte
		found, err := one(p.Pool.QueryRow(ctx, sql("SELECT entry FROM {schema}.mta_sts WHERE domain = $1::bytea"), []byte(domain)), &text)
		if err != nil || !found {
			return err
		}
		if e = decode(text, domain); e.Domain == "" {
			return fmt.Errorf("%w: that of %s in the table mta_sts", mtasts.ErrDamaged, domain)
		}
		return nil
	})
	if err == nil {
		p.recent.remember(changes, map[string]mtasts.Entry{domain: e})
	}
	return e, err
}

// decode reads the entry of a domain.
func decode(text []byte, domain string) (e mtasts.Entry) {
	if json.Unmarshal(text, &e) != nil || e.Domain != domain {
		return mtasts.Entry{}
	}
	return e
}

// Save implements mtasts.Store.
func (p *Policies) Save(ctx context.Context, e mtasts.Entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	defer p.recent.forget(e.Domain)
	return p.table().call(ctx, func(ctx context.Context, sql func(string) string) error {
		_, err := p.Pool.Exec(ctx, sql(`INSERT INTO {schema}.mta_sts (domain, entry) VALUES ($1::bytea, $2::bytea)
			ON CONFLICT (domain) DO UPDATE SET entry = excluded.entry`), []byte(e.Domain), text)
		return err
	})
}

// Delete implements mtasts.Store.
func (p *Policies) Delete(ctx context.Context, domain string) error {
	defer p.recent.forget(domain)
	return p.table().call(ctx, func(ctx context.Context, sql func(string) string) error {
		_, err := p.Pool.Exec(ctx, sql("DELETE FROM {schema}.mta_sts WHERE domain = $1::bytea"), []byte(domain))
		return err
	})
}

// List implements mtasts.Store. If there are invalid entries, it returns the others with an
// mtasts.ErrDamaged.
func (p *Policies) List(ctx context.Context, after string, limit int) (all []mtasts.Entry, err error) {
	invalid := 0
	for len(all) < limit {
		n, want := 0, limit-len(all)
		err = p.table().call(ctx, func(ctx context.Context, sql func(string) string) error {
			rows, err := p.Pool.Query(ctx, sql(`SELECT domain, entry FROM {schema}.mta_sts WHERE domain > $1::bytea
				ORDER BY domain LIMIT $2::int`), []byte(after), want)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var domain, text []byte
				if err := rows.Scan(&domain, &text); err != nil {
					return err
				}
				n, after = n+1, string(domain)
				if e := decode(text, after); e.Domain != "" {
					all = append(all, e)
				} else {
					invalid++
				}
			}
			return rows.Err()
		})
		if err != nil {
			return nil, err
		}
		if n < want {
			break
		}
	}
	if invalid > 0 {
		return all, fmt.Errorf("%w: %d in the table mta_sts", mtasts.ErrDamaged, invalid)
	}
	return all, nil
}
