package bench

import (
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

// boltStore keeps a message under its number in one bucket, and a key for each
// delivery, in the order in which they are due, in another.
type boltStore struct {
	db *bolt.DB
	g  *group
}

var (
	mailBucket = []byte("mail")
	dueBucket  = []byte("due")
)

func openBolt(dir string) (store, error) {
	db, err := bolt.Open(filepath.Join(dir, "bolt"), 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{mailBucket, dueBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	s := &boltStore{db: db}
	s.g = newGroup(s.apply)
	return s, err
}

func (s *boltStore) apply(list []op) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		mail, due := tx.Bucket(mailBucket), tx.Bucket(dueBucket)
		for _, o := range list {
			if o.record == nil {
				if err := mail.Delete(key(o.id)); err != nil {
					return err
				}
				if err := due.Delete(o.due); err != nil {
					return err
				}
				continue
			}
			if err := mail.Put(key(o.id), o.record); err != nil {
				return err
			}
			if err := due.Put(o.due, []byte{0}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *boltStore) wait(id uint64, data []byte) error {
	record, due, err := parts(id, message(id, data, now.Add(time.Hour)))
	if err != nil {
		return err
	}
	return s.g.do(op{id: id, record: record, due: due})
}

func (s *boltStore) life(id uint64, data []byte) error {
	record, due, err := parts(id, message(id, data, time.Time{}))
	if err != nil {
		return err
	}
	if err := s.g.do(op{id: id, record: record, due: due}); err != nil {
		return err
	}
	err = s.db.View(func(tx *bolt.Tx) error {
		if len(tx.Bucket(mailBucket).Get(key(id))) != len(record) {
			return errMissing
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.g.do(op{id: id, due: due})
}

func (s *boltStore) close() error {
	s.g.close()
	return s.db.Close()
}
