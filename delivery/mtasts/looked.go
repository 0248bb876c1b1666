package mtasts

import (
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/internal/age"
	"github.com/nexthop-mail/nexthop/internal/listing"
)

const mostLooked = 4096

// looked has the recent content of a Dir, so that not every message reads a file.
// Changes by another process are seen within listing.Every.
type looked struct {
	mu      sync.Mutex
	seen    map[string]look // by domain
	changes int             // by this process
}

type look struct {
	entry Entry
	at    time.Time
}

// get returns the remembered entry, and the number of changes so far.
func (l *looked) get(domain string) (e Entry, ok bool, changes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.seen[domain]
	if ok && age.Since(s.at) >= listing.Every {
		ok = false
	}
	return s.entry, ok, l.changes
}

// put remembers the entry of a time, unless there were changes since get.
func (l *looked) put(domain string, e Entry, changes int, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if changes != l.changes {
		return
	}
	if l.seen == nil {
		l.seen = make(map[string]look)
	}
	if len(l.seen) >= mostLooked {
		clear(l.seen)
	}
	l.seen[domain] = look{e, at}
}

// changed forgets the entry of a domain that is about to change or has changed.
func (l *looked) changed(domain string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seen, domain)
	l.changes++
}
