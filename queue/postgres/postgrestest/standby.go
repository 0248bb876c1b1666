package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Standby starts a second server that follows this one by streaming replication. If it is
// synchronous, a transaction that is committed synchronously from then on is on both
// before its commit returns, and waits if the standby is gone.
func (s *Server) Standby(ctx context.Context, synchronous bool) (*Server, error) {
	backup, err := find("pg_basebackup", "usr/lib/postgresql/*/bin")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgs")
	if err != nil {
		return nil, err
	}
	standby := &Server{dir: dir, postgres: s.postgres}
	cmd := backup.command("-h", s.dir, "-U", "nexthop", "-D", standby.data(), "-R", "-c", "fast", "-X", "stream", "-N")
	cmd.Dir = dir
	isolate(cmd, false)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("postgrestest: pg_basebackup: %w: %s", err, out), os.RemoveAll(dir))
	}
	if err := standby.Restart(); err != nil {
		return nil, errors.Join(err, standby.Close())
	}
	state := "async"
	if synchronous {
		state = "sync"
		err = s.configure(ctx, "ALTER SYSTEM SET synchronous_standby_names = '*'")
	}
	if err == nil {
		err = s.follows(ctx, state)
	}
	if err != nil {
		return nil, errors.Join(err, standby.Close())
	}
	return standby, nil
}

// configure changes a setting of a server that runs.
func (s *Server) configure(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, s.URL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "SELECT pg_reload_conf()")
	return err
}

// follows waits until a standby follows in a state such as sync.
func (s *Server) follows(ctx context.Context, state string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		n := 0
		err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = $1", state).Scan(&n)
		if err != nil || n > 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("postgrestest: no standby follows: %w: %s", ctx.Err(), s.Log())
		}
	}
}

// Detach has a standby follow nobody any more: what is committed afterwards it does not
// get.
func (s *Server) Detach(ctx context.Context) error {
	if err := s.configure(ctx, "ALTER SYSTEM SET primary_conninfo = ''"); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, s.URL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		n := 0
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_wal_receiver").Scan(&n); err != nil || n == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Promote makes a standby a server that takes changes. The one it has followed must be
// dead by then.
func (s *Server) Promote(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.URL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var done bool
	if err := conn.QueryRow(ctx, "SELECT pg_promote()").Scan(&done); err != nil || !done {
		return errors.Join(fmt.Errorf("postgrestest: the standby is not promoted: %s", s.Log()), err)
	}
	return nil
}

// URL names the database on several servers for pgx: on the one of them that takes
// changes.
func URL(servers ...*Server) string {
	var hosts []string
	for _, s := range servers {
		hosts = append(hosts, s.dir)
	}
	return "postgres:///postgres?user=nexthop&sslmode=disable&target_session_attrs=read-write&host=" + strings.Join(hosts, ",")
}
