// Package listing tells which files a directory does not have, without looking for each of
// them: a store with a file for each domain is asked about many more domains than it has
// files.
package listing

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/internal/age"
)

const (
	// Every is how often a directory is listed, at most: what other processes write is
	// seen within this time.
	Every = 10 * time.Second
	// most is how many files are listed. In a larger directory each file is looked for.
	most = 8192
)

// Names are the files of one directory as it was listed a moment ago. Its zero value is
// ready.
type Names struct {
	mu      sync.Mutex
	have    map[string]bool // nil if they are not known
	at      time.Time       // when they were listed
	changes int             // by this process
}

// Lacks reports whether there was no file of a name when the directory was listed, and
// when that was, not longer ago than Every.
func (n *Names) Lacks(dir, name string) (at time.Time, missing bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.at.IsZero() || age.Since(n.at) >= Every {
		n.list(dir)
	}
	return n.at, n.have != nil && !n.have[name]
}

// list reads the directory, without the lock. Others go by the old names meanwhile, which
// are as old as they may be, or look for their file.
func (n *Names) list(dir string) {
	changes, now := n.changes, time.Now()
	n.mu.Unlock()
	have := read(dir)
	n.mu.Lock()
	if changes != n.changes {
		have = nil // it may lack a file that was written meanwhile
	}
	n.have, n.at = have, now
}

// Changed is to be called after this process has written a file or removed it.
func (n *Names) Changed(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.have != nil {
		n.have[name] = true
	}
	n.changes++
}

// read returns the files in a directory, nil if there are very many or it cannot be read.
func read(dir string) map[string]bool {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]bool{}
	} else if err != nil {
		return nil
	}
	defer f.Close()
	list, err := f.Readdirnames(most + 1)
	if err != nil && err != io.EOF || len(list) > most {
		return nil
	}
	have := make(map[string]bool, len(list))
	for _, name := range list {
		have[name] = true
	}
	return have
}
