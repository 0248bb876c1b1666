package bench

import (
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// sqliteStore is a table of messages and one of deliveries, with an index of the
// order in which they are due, in a database with a write-ahead log that is
// synced with each transaction.
type sqliteStore struct {
	g         *group
	write     *sqlite3.Conn
	mu        sync.Mutex // a connection is not safe for concurrent use
	read      *sqlite3.Conn
	selection *sqlite3.Stmt
	insert    *sqlite3.Stmt
	insertDue *sqlite3.Stmt
	remove    *sqlite3.Stmt
	removeDue *sqlite3.Stmt
}

func openSQLite(dir string) (store, error) {
	path := filepath.Join(dir, "sqlite")
	s := &sqliteStore{}
	var err error
	if s.write, err = openConn(path); err != nil {
		return nil, err
	}
	if err := s.write.Exec("CREATE TABLE mail (id INTEGER PRIMARY KEY, record BLOB);" +
		"CREATE TABLE delivery (id INTEGER PRIMARY KEY, due BLOB); CREATE INDEX in_order ON delivery (due)"); err != nil {
		return nil, err
	}
	if s.read, err = openConn(path); err != nil {
		return nil, err
	}
	for _, p := range []struct {
		to   **sqlite3.Stmt
		on   *sqlite3.Conn
		text string
	}{
		{&s.insert, s.write, "INSERT INTO mail VALUES (?, ?)"},
		{&s.insertDue, s.write, "INSERT INTO delivery VALUES (?, ?)"},
		{&s.remove, s.write, "DELETE FROM mail WHERE id = ?"},
		{&s.removeDue, s.write, "DELETE FROM delivery WHERE id = ?"},
		{&s.selection, s.read, "SELECT record FROM mail WHERE id = ?"},
	} {
		if *p.to, _, err = p.on.Prepare(p.text); err != nil {
			return nil, err
		}
	}
	s.g = newGroup(s.apply)
	return s, nil
}

func (s *sqliteStore) apply(list []op) error {
	if err := s.write.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for _, o := range list {
		for _, p := range []struct {
			put, drop *sqlite3.Stmt
			data      []byte
		}{{s.insert, s.remove, o.record}, {s.insertDue, s.removeDue, o.due}} {
			st := p.drop
			if o.record != nil {
				st = p.put
				if err := st.BindBlob(2, p.data); err != nil {
					return err
				}
			}
			if err := st.BindInt64(1, int64(o.id)); err != nil {
				return err
			}
			if err := st.Exec(); err != nil {
				return err
			}
		}
	}
	return s.write.Exec("COMMIT")
}

func (s *sqliteStore) wait(id uint64, data []byte) error {
	record, due, err := parts(id, message(id, data, now.Add(time.Hour)))
	if err != nil {
		return err
	}
	return s.g.do(op{id: id, record: record, due: due})
}

func openConn(path string) (*sqlite3.Conn, error) {
	c, err := sqlite3.Open("file:" + path)
	if err != nil {
		return nil, err
	}
	return c, c.Exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=10000")
}

func (s *sqliteStore) life(id uint64, data []byte) error {
	record, due, err := parts(id, message(id, data, time.Time{}))
	if err != nil {
		return err
	}
	if err := s.g.do(op{id: id, record: record, due: due}); err != nil {
		return err
	}
	s.mu.Lock()
	err = s.selection.BindInt64(1, int64(id))
	if err == nil && (!s.selection.Step() || len(s.selection.ColumnRawBlob(0)) != len(record)) {
		err = errMissing
	}
	if reset := s.selection.Reset(); err == nil {
		err = reset
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.g.do(op{id: id})
}

func (s *sqliteStore) close() error {
	s.g.close()
	return errors.Join(s.selection.Close(), s.insert.Close(), s.insertDue.Close(), s.remove.Close(), s.removeDue.Close(),
		s.read.Close(), s.write.Close())
}
