package disk

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// TestSharedSync has many put messages while the device saves one: all of them
// go into the next write and share its sync.
func TestSharedSync(t *testing.T) {
	const callers = 20
	fs := crashfs.New(1)
	s, err := open(fs, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put := func() {
		m := &queue.Message{Recipients: []queue.Recipient{{Address: "a@example.com"}}, Content: queue.String("text")}
		if _, err := s.Put(context.Background(), time.Unix(1e9, 0), m); err != nil {
			t.Error(err)
		}
	}
	put() // so that there is a segment

	saving, goOn := make(chan struct{}), make(chan struct{})
	writes, syncs := 0, 0
	fs.Inject(func(op crashfs.Op, _ string) error {
		switch op {
		case crashfs.OpWrite:
			writes++
		case crashfs.OpSync:
			if syncs++; syncs == 1 {
				close(saving)
				<-goOn
			}
		}
		return nil
	})
	var group sync.WaitGroup
	group.Go(put)
	<-saving
	for range callers {
		group.Go(put)
	}
	for inLine(s) < callers {
		runtime.Gosched()
	}
	close(goOn)
	group.Wait()
	fs.Inject(nil)
	if writes != 2 || syncs != 2 {
		t.Errorf("%d writes and %d syncs for one message and %d that came meanwhile, want 2 of each", writes, syncs, callers)
	}
}

// inLine is how many groups of records wait to be written.
func inLine(s *Spool) (n int) {
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	for _, b := range s.line.batches {
		n += len(b.tickets)
	}
	return n
}
