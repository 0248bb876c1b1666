package tlsstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/delivery/trust"
)

// Proofs is a trust.ProofStore. Changes by other processes are seen within ten seconds.
// Times are stored to the microsecond. It must not be copied.
type Proofs struct {
	// Pool is the database; required.
	Pool *pgxpool.Pool

	// Schema is the schema of the queue. Default: postgres.DefaultSchema.
	Schema string

	// Timeout limits the time of a query. Default: 10 s.
	Timeout time.Duration

	recent recent[trust.ProofKey, trust.Proof]
}

var _ trust.ProofStore = (*Proofs)(nil)

func (p *Proofs) table() table { return table{"Proofs", p.Pool, p.Schema, p.Timeout} }

// Load implements trust.ProofStore. It also reads what is asked for next, as a rule: the
// proofs of the same domain by the other policy, and by any of its hosts. Most domains
// have none, and so cost one query in ten seconds.
func (p *Proofs) Load(ctx context.Context, of trust.ProofKey) (trust.Proof, error) {
	known, ok, changes := p.recent.recall(of)
	if ok {
		return known, nil
	}
	found := map[trust.ProofKey]trust.Proof{of: {}}
	for _, host := range []string{"", of.Host} {
		for _, by := range []string{"dane", "mta-sts"} {
			found[trust.ProofKey{Domain: of.Domain, Host: host, By: by}] = trust.Proof{}
		}
	}
	err := p.table().call(ctx, func(ctx context.Context, sql func(string) string) error {
		rows, err := p.Pool.Query(ctx, sql(`SELECT host, policy, at, told FROM {schema}.proof
			WHERE domain = $1::bytea AND (host = '' OR host = $2::bytea)`), []byte(of.Domain), []byte(of.Host))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var (
				host, by []byte
				at       int64
				told     *int64
			)
			if err := rows.Scan(&host, &by, &at, &told); err != nil {
				return err
			}
			one := trust.Proof{ProofKey: trust.ProofKey{Domain: of.Domain, Host: string(host), By: string(by)}, At: time.UnixMicro(at).UTC()}
			if told != nil {
				one.Told = time.UnixMicro(*told).UTC()
			}
			found[one.ProofKey] = one
		}
		return rows.Err()
	})
	if err != nil {
		return trust.Proof{}, err
	}
	p.recent.remember(changes, found)
	return found[of], nil
}

// Save implements trust.ProofStore.
func (p *Proofs) Save(ctx context.Context, one trust.Proof) error {
	var told *int64
	if !one.Told.IsZero() {
		at := one.Told.UnixMicro()
		told = &at
	}
	defer p.recent.forget(one.ProofKey)
	return p.table().call(ctx, func(ctx context.Context, sql func(string) string) error {
		_, err := p.Pool.Exec(ctx, sql(`INSERT INTO {schema}.proof (domain, host, policy, at, told)
			VALUES ($1::bytea, $2::bytea, $3::bytea, $4::bigint, $5::bigint)
			ON CONFLICT (domain, host, policy) DO UPDATE SET at = excluded.at, told = excluded.told`),
			[]byte(one.Domain), []byte(one.Host), []byte(one.By), one.At.UnixMicro(), told)
		return err
	})
}

// Delete implements trust.ProofStore.
func (p *Proofs) Delete(ctx context.Context, of trust.ProofKey) error {
	defer p.recent.forget(of)
	return p.table().call(ctx, func(ctx context.Context, sql func(string) string) error {
		_, err := p.Pool.Exec(ctx, sql("DELETE FROM {schema}.proof WHERE domain = $1::bytea AND host = $2::bytea AND policy = $3::bytea"),
			[]byte(of.Domain), []byte(of.Host), []byte(of.By))
		return err
	})
}

// forgetPart is how many proofs one statement of Forget removes.
const forgetPart = 5000

// Forget implements trust.ProofStore. It removes a part at a time.
func (p *Proofs) Forget(ctx context.Context, before time.Time) error {
	defer p.recent.forgetAll()
	for n := int64(forgetPart); n == forgetPart; {
		err := p.table().call(ctx, func(ctx context.Context, sql func(string) string) error {
			done, err := p.Pool.Exec(ctx, sql(`DELETE FROM {schema}.proof WHERE ctid = ANY (ARRAY(
				SELECT ctid FROM {schema}.proof WHERE at < $1::bigint LIMIT $2::int FOR UPDATE))`), before.UnixMicro(), forgetPart)
			n = done.RowsAffected()
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
