package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a cluster with one database. Its methods must not be called concurrently;
// the database may be used concurrently.
type Server struct {
	dir      string
	postgres program
	process  *process
}

// patience is how long a server may take to start.
const patience = time.Minute

// Start creates a cluster and starts it. Its files are never synced, so it survives the
// end of its processes, but not a power cut.
func Start() (*Server, error) {
	initdb, err := find("initdb", "usr/lib/postgresql/*/bin")
	if err != nil {
		return nil, err
	}
	postgres, err := find("postgres", "usr/lib/postgresql/*/bin")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, postgres: postgres}
	cmd := initdb.command("-D", s.data(), "-U", "nexthop", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
	cmd.Dir = dir
	isolate(cmd, false)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("postgrestest: initdb: %w: %s", err, out), os.RemoveAll(dir))
	}
	if err := s.Restart(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// URL returns the address of the database for pgx. Only this machine can reach it, by a
// socket.
func (s *Server) URL() string {
	return "postgres:///postgres?user=nexthop&sslmode=disable&host=" + s.dir
}

// Restart starts the server after Kill or Stop, and waits until it accepts connections.
func (s *Server) Restart() error {
	cmd := s.postgres.command("-D", s.data(), "-k", s.dir,
		"-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=32MB", "-c", "max_connections=100",
		"-c", "autovacuum_naptime=10", "-c", "wal_retrieve_retry_interval=100ms", "-c", "unix_socket_permissions=0777")
	cmd.Dir = s.dir
	p, err := run(cmd)
	if err != nil {
		return err
	}
	s.process = p
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.answers(ctx, s.URL(), p)
}

// answers waits until a server takes connections.
func (s *Server) answers(ctx context.Context, url string, p *process) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			return conn.Close(ctx)
		}
		if p.ended() || ctx.Err() != nil {
			return fmt.Errorf("postgrestest: the server does not start: %w: %s", err, p.log)
		}
		select {
		case <-tick.C:
		case <-p.done:
		case <-ctx.Done():
		}
	}
}

// Kill ends all processes of the server at once (kill -9). Anything not written to the
// log of the database is lost. If the tests do not run as root on Linux, only the first
// process is killed, and the others end when they notice that.
func (s *Server) Kill() { s.process.end(syscall.SIGKILL) }

// Stop makes the server shut down: calls in progress are aborted, and nothing is lost.
func (s *Server) Stop() { s.process.end(syscall.SIGINT) }

// Log returns the end of the server's log since it was started.
func (s *Server) Log() string { return s.process.log.String() }

// Close ends the server and deletes the cluster.
func (s *Server) Close() error {
	if s.process != nil && !s.process.ended() {
		s.Kill()
	}
	return os.RemoveAll(s.dir)
}

// Tool is a program of PostgreSQL, such as pg_dump, that reaches the server by itself.
func (s *Server) Tool(name string, args ...string) (*exec.Cmd, error) {
	tool, err := find(name, "usr/lib/postgresql/*/bin")
	if err != nil {
		return nil, err
	}
	cmd := tool.command(args...)
	cmd.Env = append(cmd.Env, "PGHOST="+s.dir, "PGUSER=nexthop", "PGDATABASE=postgres")
	return cmd, nil
}
