package bench

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"
	bolt "go.etcd.io/bbolt"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

// store is what is measured. Life puts a message, waits until it would survive
// a power cut, reads one back and deletes it.
type store interface {
	life(id uint64, data []byte) error
	close() error
}

// spool is the store this repository has.
type spool struct{ *disk.Spool }

func openSpool(dir string) (store, error) {
	s, err := disk.Open(dir, disk.Options{})
	return spool{s}, err
}

func (s spool) life(id uint64, data []byte) error {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	_, err := s.Put(ctx, now, &queue.Message{From: "sender@example.org", Content: queue.Bytes(data),
		Recipients: []queue.Recipient{{Address: "someone@d" + strconv.FormatUint(id%1000, 10) + ".example"}}})
	if err != nil {
		return err
	}
	c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 1})
	if err != nil || len(c.Deliveries) == 0 {
		return err
	}
	d := &c.Deliveries[0]
	content, err := s.Open(ctx, d.Lease.Message)
	if err != nil {
		return err
	}
	r, err := content.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	done, err := s.Settle(ctx, now, []queue.Settlement{{Lease: d.Lease,
		Results: []queue.Result{{Recipient: 0, Outcome: queue.Delivered}}}})
	if err != nil {
		return err
	}
	return done[0].Err
}

func (s spool) close() error { return s.Close() }

// boltStore keeps each message under its number in one bucket.
type boltStore struct {
	db *bolt.DB
	g  *group
}

func openBolt(dir string) (store, error) {
	db, err := bolt.Open(filepath.Join(dir, "bolt"), 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	bucket := []byte("mail")
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	s := &boltStore{db: db}
	s.g = newGroup(func(list []op) error {
		return db.Update(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucket)
			for _, o := range list {
				err := error(nil)
				if o.data == nil {
					err = b.Delete(key(o.id))
				} else {
					err = b.Put(key(o.id), o.data)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	return s, err
}

func (s *boltStore) life(id uint64, data []byte) error {
	if err := s.g.do(id, data); err != nil {
		return err
	}
	err := s.db.View(func(tx *bolt.Tx) error {
		if len(tx.Bucket([]byte("mail")).Get(key(id))) != len(data) {
			return errMissing
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.g.do(id, nil)
}

func (s *boltStore) close() error {
	s.g.close()
	return s.db.Close()
}

// sqliteStore is a table in a database with a write-ahead log that is synced
// with each transaction.
type sqliteStore struct {
	g         *group
	write     *sqlite3.Conn
	mu        sync.Mutex // a connection is not safe for concurrent use
	read      *sqlite3.Conn
	selection *sqlite3.Stmt
	insert    *sqlite3.Stmt
	remove    *sqlite3.Stmt
}

func openSQLite(dir string) (store, error) {
	path := filepath.Join(dir, "sqlite")
	w, err := openConn(path)
	if err != nil {
		return nil, err
	}
	if err := w.Exec("CREATE TABLE mail (id INTEGER PRIMARY KEY, data BLOB)"); err != nil {
		return nil, err
	}
	insert, _, err := w.Prepare("INSERT INTO mail VALUES (?, ?)")
	if err != nil {
		return nil, err
	}
	remove, _, err := w.Prepare("DELETE FROM mail WHERE id = ?")
	if err != nil {
		return nil, err
	}
	r, err := openConn(path)
	if err != nil {
		return nil, err
	}
	selection, _, err := r.Prepare("SELECT data FROM mail WHERE id = ?")
	if err != nil {
		return nil, err
	}
	s := &sqliteStore{write: w, read: r, selection: selection, insert: insert, remove: remove}
	s.g = newGroup(func(list []op) error {
		if err := w.Exec("BEGIN IMMEDIATE"); err != nil {
			return err
		}
		for _, o := range list {
			st := insert
			if o.data == nil {
				st = remove
			} else if err := st.BindBlob(2, o.data); err != nil {
				return err
			}
			if err := st.BindInt64(1, int64(o.id)); err != nil {
				return err
			}
			if err := st.Exec(); err != nil {
				return err
			}
		}
		return w.Exec("COMMIT")
	})
	return s, nil
}

func openConn(path string) (*sqlite3.Conn, error) {
	c, err := sqlite3.Open("file:" + path)
	if err != nil {
		return nil, err
	}
	return c, c.Exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=10000")
}

func (s *sqliteStore) life(id uint64, data []byte) error {
	if err := s.g.do(id, data); err != nil {
		return err
	}
	s.mu.Lock()
	err := s.selection.BindInt64(1, int64(id))
	if err == nil && (!s.selection.Step() || len(s.selection.ColumnRawBlob(0)) != len(data)) {
		err = errMissing
	}
	if reset := s.selection.Reset(); err == nil {
		err = reset
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.g.do(id, nil)
}

func (s *sqliteStore) close() error {
	s.g.close()
	return errors.Join(s.selection.Close(), s.insert.Close(), s.remove.Close(), s.read.Close(), s.write.Close())
}

// fileStore is one file for each message.
type fileStore struct{ dir string }

func openFiles(dir string) (store, error) { return fileStore{dir}, nil }

func (s fileStore) life(id uint64, data []byte) error {
	name := filepath.Join(s.dir, strconv.FormatUint(id, 10))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return err
	}
	if b, err := os.ReadFile(name); err != nil || len(b) != len(data) {
		return errMissing
	}
	return os.Remove(name)
}

func (fileStore) close() error { return nil }

// logStore only appends, and reads from where it wrote: what a log can do at
// best.
type logStore struct {
	f    *os.File
	g    *group
	mu   sync.Mutex
	size int64
	at   map[uint64]int64
}

func openLog(dir string) (store, error) {
	f, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	s := &logStore{f: f, at: map[uint64]int64{}}
	s.g = newGroup(func(list []op) error {
		var buf []byte
		for _, o := range list {
			s.mu.Lock()
			s.at[o.id] = s.size + int64(len(buf)) + 8
			s.mu.Unlock()
			buf = append(append(buf, key(o.id)...), o.data...)
		}
		if _, err := f.WriteAt(buf, s.size); err != nil {
			return err
		}
		s.size += int64(len(buf))
		return fdatasync(f)
	})
	return s, nil
}

func (s *logStore) life(id uint64, data []byte) error {
	if err := s.g.do(id, data); err != nil {
		return err
	}
	s.mu.Lock()
	at := s.at[id]
	delete(s.at, id)
	s.mu.Unlock()
	_, err := s.f.ReadAt(make([]byte, len(data)), at)
	return err // the deletion would go with a later write
}

func (s *logStore) close() error {
	s.g.close()
	return s.f.Close()
}
