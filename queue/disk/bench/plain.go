package bench

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

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
			buf = append(append(buf, key(o.id)...), o.record...)
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
	if err := s.g.do(op{id: id, record: data}); err != nil {
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
