package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Bouncer is a PgBouncer in front of a server, in transaction mode.
type Bouncer struct {
	server  *Server
	dir     string
	port    int
	process *process
}

// Bouncer starts a PgBouncer that distributes transactions over the given number of
// connections.
func (s *Server) Bouncer(connections int) (*Bouncer, error) {
	pgbouncer, err := find("pgbouncer", "usr/sbin")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgb")
	if err != nil {
		return nil, err
	}
	b := &Bouncer{server: s, dir: dir}
	if b.port, err = freePort(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	config := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
postgres = host=%s user=nexthop dbname=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = %d
max_client_conn = 200
`, s.dir, b.port, connections)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if b.process, err = run(pgbouncer.command(config)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.answers(ctx, b.URL(), b.process); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// freePort is a port of loopback that nobody listens at.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// URL returns the address of the database through the bouncer. It makes pgx execute
// statements in a way that this version of PgBouncer accepts.
func (b *Bouncer) URL() string {
	return "postgres://nexthop@127.0.0.1:" + strconv.Itoa(b.port) + "/postgres?sslmode=disable&default_query_exec_mode=exec"
}

// Log returns the end of the bouncer's log.
func (b *Bouncer) Log() string { return b.process.log.String() }

// Close ends the bouncer.
func (b *Bouncer) Close() error {
	if b.process != nil && !b.process.ended() {
		b.process.end(syscall.SIGKILL)
	}
	return os.RemoveAll(b.dir)
}
