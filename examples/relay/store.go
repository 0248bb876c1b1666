package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// inMemory is the -queue that forgets.
const inMemory = "memory"

// holderFile says who has the queue's directory open. It counts only while the
// directory is locked, so it may be stale.
const holderFile = "holder"

// Programs that open a queue.
const (
	asRelay   = "relay"
	asCommand = "command relay queue"
)

// openQueue opens the queue that -queue names. dir is its directory, or "" if it has
// none.
func openQueue(ctx context.Context, where, what string) (q queue.Queue, dir string, err error) {
	if where == inMemory {
		return &memory.Queue{}, "", nil
	}
	kind, err := checkWhere(where)
	if err != nil {
		return nil, "", err
	}
	if kind == inDatabase {
		db, err := openDatabase(ctx, where, what)
		if err != nil {
			return nil, "", err
		}
		return db, "", nil
	}
	spool, err := disk.Open(where, disk.Options{})
	for deadline := time.Now().Add(busyFor); what == asRelay && errors.Is(err, disk.ErrLocked) &&
		strings.HasPrefix(holder(where), asCommand) && time.Now().Before(deadline); {
		<-time.After(20 * time.Millisecond) // a command is soon done with it
		spool, err = disk.Open(where, disk.Options{})
	}
	switch {
	case errors.Is(err, disk.ErrLocked):
		return nil, "", &cli.Error{Code: cli.ExitTempFail, Err: fmt.Errorf("%w by %s", err, holder(where))}
	case err != nil:
		return nil, "", cli.Config("%w", err)
	}
	text := fmt.Sprintf("%s, process %d, since %s\n", what, os.Getpid(), time.Now().Format(time.RFC3339))
	if err := writeHolder(where, text); err != nil && !noRoom(err) {
		return nil, "", errors.Join(cli.Config("%w", err), spool.Close())
	}
	return spool, where, nil
}

// writeHolder makes the file anew: one of another user's could not be written to.
func writeHolder(dir, text string) error {
	file := filepath.Join(dir, holderFile)
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o600)
}

// kind is the kind of storage of a queue, other than memory.
type kind int

const (
	inDirectory kind = iota
	inDatabase
)

// markOf returns the word by which the relays of a queue know each other: mail from one
// to another would come back to the queue that it left. Other machines may have a directory
// of its name, or a database server of their own.
func markOf(machine, where string) string {
	kind, err := checkWhere(where)
	switch {
	case where == inMemory || err != nil: // the error is reported when the queue is opened
		return rand.Text()
	case kind == inDatabase:
		config, schema, err := parseDatabase(where, asRelay)
		if err != nil {
			return rand.Text()
		}
		db := config.ConnConfig
		server := db.Host
		switch ip, _ := netip.ParseAddr(server); {
		case strings.HasPrefix(server, "/"): // a socket
			server = machine + ":" + server
		case ip.IsLoopback(), server == "localhost":
			server = machine + ":localhost"
		}
		where = fmt.Sprintf("%s:%d/%s/%s", server, db.Port, db.Database, schema)
	default:
		if dir, err := filepath.Abs(where); err == nil {
			where = machine + ":" + dir
		}
	}
	sum := sha256.Sum256([]byte(where))
	return base32.StdEncoding.EncodeToString(sum[:10])
}

// checkWhere distinguishes directories from databases, and reports anything else.
func checkWhere(where string) (kind, error) {
	if where == "" {
		return 0, cli.Usage("-queue is empty")
	}
	scheme, _, ok := strings.Cut(where, "://")
	switch {
	case strings.HasPrefix(where, "@"), isDatabase(where):
		return inDatabase, nil
	case ok:
		return 0, cli.Usage("-queue %s://: unknown kind of queue", scheme)
	}
	return inDirectory, nil
}

// holder is who has the queue open.
func holder(dir string) string {
	text, err := os.ReadFile(filepath.Join(dir, holderFile))
	if name := strings.TrimSpace(string(text)); err == nil && name != "" {
		return name
	}
	return "another process"
}
