package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

const migrateUsage = "relay migrate -queue postgres://… [-dry-run]"

// migrate is the command "relay migrate".
func migrate(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var (
		where  string
		dryRun bool
		fs     = flag.NewFlagSet("relay migrate", flag.ContinueOnError)
	)
	fs.StringVar(&where, "queue", "", "the database, as a postgres:// `URL` or @FILE with one in it")
	fs.BoolVar(&dryRun, "dry-run", false, "print the statements that are missing, for psql, and change nothing")
	_, err := parseEnvironment(fs, args, stdout, stderr, migrateUsage)
	switch {
	case err != nil:
	case fs.NArg() > 0:
		err = cli.Usage("what is %q? %s", fs.Arg(0), migrateUsage)
	case where == "":
		err = cli.Usage("-queue is missing: %s", migrateUsage)
	default:
		if where, err = fromFile(where); err == nil && !isDatabase(where) {
			err = cli.Usage("-queue: only a queue in PostgreSQL is migrated; others need nothing")
		}
	}
	if err == nil {
		err = migrateAt(ctx, where, dryRun, stdout)
	}
	if err != nil {
		return cli.Complain(stderr, "relay migrate", err)
	}
	return cli.ExitOK
}

// migrateAt migrates a database, and reports what it has done.
func migrateAt(ctx context.Context, where string, dryRun bool, w io.Writer) error {
	config, schema, err := parseDatabase(where, "relay migrate")
	if err != nil {
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return cli.Config("-queue: %w", err)
	}
	defer pool.Close()
	o := postgres.Options{Schema: schema}
	steps, err := postgres.Steps(schema)
	if err != nil {
		return err
	}
	missing, err := missingSteps(ctx, pool, o, steps)
	if err != nil {
		return databaseError(err)
	}
	name, last := o.Schema, steps[len(steps)-1].Version
	if name == "" {
		name = postgres.DefaultSchema
	}
	if dryRun {
		return printSteps(w, name, missing)
	}
	if len(missing) == 0 {
		_, err = fmt.Fprintf(w, "schema %s has version %d; nothing is to be done\n", name, last)
		return err
	}
	if err := postgres.Migrate(ctx, pool, o); err != nil {
		return databaseError(err)
	}
	_, err = fmt.Fprintf(w, "schema %s: version %d, was %d\n", name, last, missing[0].Version-1)
	return err
}

// missingSteps returns the steps that the database does not have.
func missingSteps(ctx context.Context, pool *pgxpool.Pool, o postgres.Options, steps []postgres.Step) ([]postgres.Step, error) {
	err := postgres.Check(ctx, pool, o)
	version, ok := errors.AsType[*postgres.VersionError](err)
	switch {
	case err == nil:
		return nil, nil
	case !ok || version.Newer:
		return nil, err
	}
	for len(steps) > 0 && steps[0].Version <= version.Have {
		steps = steps[1:]
	}
	return steps, nil
}

// printSteps prints statements that do as Migrate does, each step in a transaction.
func printSteps(w io.Writer, schema string, steps []postgres.Step) error {
	for _, s := range steps {
		create := ""
		if s.Version == 1 {
			create = "CREATE SCHEMA IF NOT EXISTS " + pgx.Identifier{schema}.Sanitize() + ";\n"
		}
		if _, err := fmt.Fprintf(w, "-- version %d\nBEGIN;\n%s%sCOMMIT;\n", s.Version, create, s.SQL); err != nil {
			return err
		}
	}
	return nil
}
