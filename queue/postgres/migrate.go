package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed migrations/*.sql
var migrations embed.FS

// least is the oldest version of the schema's readers that the newest step still serves:
// a program that knows only steps before it must not use the database.
const least = 1

// Step is one step of the migration to the schema that this package needs.
type Step struct {
	// Version is the version after the step, counted from 1.
	Version int

	// SQL makes the step and records it, in one transaction.
	SQL string
}

// Steps returns all steps for a schema in order, for applications that migrate their
// databases with a tool of their own. An empty name means DefaultSchema.
func Steps(schema string) ([]Step, error) {
	files, err := fs.ReadDir(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	name := Options{Schema: schema}.withDefaults().Schema
	if err := checkSchema(name); err != nil {
		return nil, err
	}
	quoted := pgx.Identifier{name}.Sanitize()
	fill := strings.NewReplacer("{schema}", quoted, "{schema in text}", strings.ReplaceAll(quoted, "'", "''"))
	var steps []Step
	for _, f := range files { // in order of their names
		text, err := migrations.ReadFile("migrations/" + f.Name())
		if err != nil {
			return nil, err
		}
		version, err := strconv.Atoi(strings.TrimSuffix(f.Name(), ".sql"))
		if err != nil {
			return nil, fmt.Errorf("postgres: the name of the step %s: %w", f.Name(), err)
		}
		sql := string(text)
		if len(steps) == 0 {
			sql = "CREATE TABLE {schema}.version (version int PRIMARY KEY, least int NOT NULL, " +
				"applied timestamptz NOT NULL DEFAULT now());\n" + sql
		}
		sql += fmt.Sprintf("\nINSERT INTO {schema}.version (version, least) VALUES (%d, %d);\n", version, least)
		steps = append(steps, Step{version, fill.Replace(sql)})
	}
	return steps, nil
}

// withSchema fills the name of a schema in.
func withSchema(sql, schema string) string {
	return strings.ReplaceAll(sql, "{schema}", pgx.Identifier{schema}.Sanitize())
}

// checkSchema finds names that the statements cannot have in them, or the server cuts.
func checkSchema(name string) error {
	const most = 63 // octets
	if len(name) > most || strings.Contains(name, "\x00") || strings.Contains(name, "$$") {
		return fmt.Errorf("postgres.Options.Schema: %q is not a schema name: it has more than %d octets, a NUL or $$", name, most)
	}
	return nil
}

// VersionError says that the version of the schema does not fit this program.
type VersionError struct {
	Schema string

	// Have is the version of the schema, 0 if it does not exist. Want is the version
	// that this program needs.
	Have, Want int

	// Newer is true if the schema no longer supports programs as old as this one.
	// Otherwise Migrate can update it.
	Newer bool
}

// Error includes both versions.
func (e *VersionError) Error() string {
	if e.Newer {
		return fmt.Sprintf("postgres: the schema %q has version %d, and this program knows version %d only", e.Schema, e.Have, e.Want)
	}
	return fmt.Sprintf("postgres: the schema %q has version %d and needs version %d: it is to be migrated", e.Schema, e.Have, e.Want)
}

// Migrate brings the schema to the version that this package needs, and creates it if
// it does not exist. Each step is committed separately, so if one fails, those before
// it are done. Programs with an older version continue to work, unless the changelog
// says otherwise. Only the fields of o that say where the queue is are used.
func Migrate(ctx context.Context, pool *pgxpool.Pool, o Options) error {
	o = o.withDefaults()
	steps, err := Steps(o.Schema)
	if err != nil {
		return err
	}
	for _, s := range steps {
		err := apply(ctx, pool, o.Schema, s)
		for hasCode(err, codeLocked) && waited(ctx, lockPause) {
			err = apply(ctx, pool, o.Schema, s)
		}
		if err != nil {
			return fmt.Errorf("postgres: migrating %q to version %d: %w", o.Schema, s.Version, err)
		}
	}
	return nil
}

// Whoever comes after a step that waits for a lock waits too, even if it could go on beside
// the one that has the lock. So a step does not wait for long.
const (
	lockWait  = "500ms"
	lockPause = time.Second // until it is tried again
)

// waited waits, and reports false if ctx has ended.
func waited(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// apply does a step unless it is done.
func apply(ctx context.Context, pool *pgxpool.Pool, schema string, s Step) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		// One at a time: the others then find it done.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext($1::text))", "nexthop migrate "+schema); err != nil {
			return err
		}
		var there bool
		err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1::text)", schema).Scan(&there)
		if err != nil {
			return err
		}
		if !there {
			if _, err := tx.Exec(ctx, withSchema("CREATE SCHEMA {schema}", schema)); err != nil {
				return err
			}
		}
		have, _, err := version(ctx, tx, schema)
		if err != nil || have >= s.Version {
			return err
		}
		if _, err := tx.Exec(ctx, "SELECT set_config('lock_timeout', $1::text, true)", lockWait); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, s.SQL, pgx.QueryExecModeSimpleProtocol)
		return err
	})
}

// Check checks that the schema has the version that this package needs. If not, the
// error is a *VersionError. Open does the same.
func Check(ctx context.Context, pool *pgxpool.Pool, o Options) error {
	o = o.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	return checkVersion(ctx, pool, o.Schema)
}

// querier is what can be asked for one row.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// version is the version of a schema, 0 if there is none, and the least version that a
// program must know to use it.
func version(ctx context.Context, db querier, schema string) (have, least int, err error) {
	var there bool
	err = db.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = $1::text AND tablename = 'version')", schema).Scan(&there)
	if err != nil || !there {
		return 0, 0, err
	}
	err = db.QueryRow(ctx, withSchema("SELECT coalesce(max(version), 0), coalesce(max(least), 0) FROM {schema}.version", schema)).Scan(&have, &least)
	return have, least, err
}

// checkVersion wants a schema that this package can use.
func checkVersion(ctx context.Context, db querier, schema string) error {
	steps, err := Steps(schema)
	if err != nil {
		return err
	}
	want := steps[len(steps)-1].Version
	have, least, err := version(ctx, db, schema)
	switch {
	case err != nil:
		return err
	case have < want:
		return &VersionError{Schema: schema, Have: have, Want: want}
	case least > want:
		return &VersionError{Schema: schema, Have: have, Want: want, Newer: true}
	}
	return nil
}
