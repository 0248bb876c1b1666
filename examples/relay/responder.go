package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

// A queue in a directory has a socket at which its relay takes operations. Relays on a
// database take them from a table instead: it has the privileges of the queue, which a
// notification has not, and needs no way from the command to a relay's machine.
const (
	lookForRequests = 250 * time.Millisecond
	beSeen          = 3 * time.Second
	goneAfter       = 10 * time.Second // since a relay was seen last
	answersWithin   = 10 * time.Second // of a relay that is seen, to an operation on what it knows
	forgotten       = time.Hour        // what nobody fetched
)

// responder answers requests until ctx ends.
type responder struct {
	db      *database
	name    string
	operate func(context.Context, *operation, *bytes.Buffer) error
}

func newResponder(p *parts, d *database, host string) *responder {
	return &responder{
		db: d, name: fmt.Sprintf("%s %d %s", host, os.Getpid(), rand.Text()),
		operate: func(ctx context.Context, o *operation, w *bytes.Buffer) error { return p.operate(ctx, o, w) },
	}
}

// sql fills the schema in.
func (d *database) sql(text string) string {
	schema := d.schema
	if schema == "" {
		schema = defaultSchema
	}
	return strings.ReplaceAll(text, "{schema}", pgx.Identifier{schema}.Sanitize())
}

func (r *responder) run(ctx context.Context) {
	tick := time.NewTicker(lookForRequests)
	defer tick.Stop()
	var seen time.Time
	for ctx.Err() == nil {
		if time.Since(seen) >= beSeen && r.beSeen(ctx) == nil {
			seen = time.Now()
		}
		_ = r.answerAll(ctx) // or in a moment
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = r.db.pool.Exec(last, r.db.sql("DELETE FROM {schema}.responder WHERE name = $1::bytea"), []byte(r.name))
}

// beSeen says that the relay is there, and removes what nobody needs any more.
func (r *responder) beSeen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beSeen)
	defer cancel()
	_, err := r.db.pool.Exec(ctx, r.db.sql(`INSERT INTO {schema}.responder (name) VALUES ($1::bytea)
		ON CONFLICT (name) DO UPDATE SET seen = clock_timestamp()`), []byte(r.name))
	if err != nil {
		return err
	}
	for _, gone := range []string{"responder WHERE seen", "request WHERE asked"} {
		_, err = r.db.pool.Exec(ctx, r.db.sql("DELETE FROM {schema}."+gone+" < clock_timestamp() - $1::interval"), forgotten.String())
	}
	return err
}

// answerAll answers what was asked.
func (r *responder) answerAll(ctx context.Context) error {
	asked, cancel := context.WithTimeout(ctx, beSeen)
	defer cancel()
	rows, err := r.db.pool.Query(asked, r.db.sql(`SELECT id, body FROM {schema}.request
		WHERE responder = $1::bytea AND answered IS NULL ORDER BY asked LIMIT 100`), []byte(r.name))
	if err != nil {
		return err
	}
	type request struct{ id, body []byte }
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (one request, err error) {
		return one, row.Scan(&one.id, &one.body)
	})
	if err != nil {
		return err
	}
	for _, one := range list {
		if err := r.answer(ctx, one.id, one.body); err != nil {
			return err
		}
	}
	return nil
}

// answer does what was asked, and answers.
func (r *responder) answer(ctx context.Context, id, body []byte) error {
	var (
		o   operation
		out bytes.Buffer
	)
	err := json.Unmarshal(body, &o)
	if err == nil {
		err = r.operate(ctx, &o, &out)
	}
	code, text := 0, ""
	if err != nil {
		code, text = cli.ExitTempFail, err.Error()
		if e, ok := errors.AsType[*cli.Error](err); ok {
			code = e.Code
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), beSeen)
	defer cancel()
	_, err = r.db.pool.Exec(ctx, r.db.sql(`UPDATE {schema}.request
		SET answered = clock_timestamp(), answer = $2::bytea, code = $3::int, problem = $4::bytea WHERE id = $1::bytea`),
		id, out.Bytes(), code, []byte(text))
	return err
}

// reply is what a relay has answered.
type reply struct {
	out []byte
	err error // with its exit code
}

// relays are those that are there.
func (d *database) relays(ctx context.Context) ([]string, error) {
	rows, err := d.pool.Query(ctx, d.sql(`SELECT name FROM {schema}.responder WHERE seen > clock_timestamp() - $1::interval
		ORDER BY since, name`), goneAfter.String())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var name []byte
		err := row.Scan(&name)
		return string(name), err
	})
}

// errNoAnswer is for a relay that has died.
var errNoAnswer = &cli.Error{Code: cli.ExitTempFail, Err: errors.New("a relay does not answer")}

// askSoon is askAll of what takes no time.
func (d *database) askSoon(ctx context.Context, relays []string, o operation) []reply {
	ctx, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	return d.askAll(ctx, relays, o)
}

// askAll has all of them do something at the same time. Those that do not answer are left
// out.
func (d *database) askAll(ctx context.Context, relays []string, o operation) (list []reply) {
	replies := make([]*reply, len(relays))
	var all sync.WaitGroup
	for i, name := range relays {
		all.Go(func() {
			if one, err := d.ask(ctx, name, o); err == nil {
				replies[i] = &one
			}
		})
	}
	all.Wait()
	for _, one := range replies {
		if one != nil {
			list = append(list, *one)
		}
	}
	return list
}

// ask has one do something, and waits until it has. The error is errNoAnswer if that relay
// is gone, and may have done it or not.
func (d *database) ask(ctx context.Context, relay string, o operation) (r reply, err error) {
	body, err := json.Marshal(o)
	if err != nil {
		return r, err
	}
	id := []byte(rand.Text())
	if _, err := d.pool.Exec(ctx, d.sql("INSERT INTO {schema}.request (id, responder, body) VALUES ($1::bytea, $2::bytea, $3::bytea)"),
		id, []byte(relay), body); err != nil {
		return r, err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, _ = d.pool.Exec(last, d.sql("DELETE FROM {schema}.request WHERE id = $1::bytea"), id)
	}()
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, lookForRequests/2) {
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(wait):
		}
		var (
			answered, there bool
			code            int
			problem         []byte
		)
		err := d.pool.QueryRow(ctx, d.sql(`SELECT r.answered IS NOT NULL, r.answer, coalesce(r.code, 0), r.problem, EXISTS
			(SELECT FROM {schema}.responder p WHERE p.name = r.responder AND p.seen > clock_timestamp() - $2::interval)
			FROM {schema}.request r WHERE r.id = $1::bytea`), id, goneAfter.String()).Scan(&answered, &r.out, &code, &problem, &there)
		switch {
		case err != nil:
			return r, err
		case answered && code != 0:
			r.err = &cli.Error{Code: code, Err: errors.New(string(problem))}
			return r, nil
		case answered:
			return r, nil
		case !there:
			return r, errNoAnswer
		}
	}
}
