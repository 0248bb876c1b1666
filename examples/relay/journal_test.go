package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
)

// slowFile is written to once for each element of writes.
type slowFile struct {
	writes  chan struct{}
	written []string
	begun   chan struct{} // has an element once it was written to
}

func (f *slowFile) Write(p []byte) (int, error) {
	select {
	case f.begun <- struct{}{}:
	default:
	}
	<-f.writes
	f.written = append(f.written, string(p))
	return len(p), nil
}

// TestEventsTogether: events that come while others are being written are written
// together, in order, all of them before flush returns.
func TestEventsTogether(t *testing.T) {
	file := &slowFile{writes: make(chan struct{}), begun: make(chan struct{}, 1)}
	j := &journal{path: "-", out: file}
	told := func(n int) { j.write(&delivery.Event{Kind: delivery.Queued, ID: fmt.Sprint("message ", n)}) }
	told(0)
	<-file.begun
	for n := 1; n < 100; n++ {
		told(n)
	}
	close(file.writes)
	j.flush()
	if len(file.written) != 2 {
		t.Errorf("100 events were written in %d pieces, want the first and all others", len(file.written))
	}
	lines := strings.Split(strings.TrimSuffix(strings.Join(file.written, ""), "\n"), "\n")
	for n, line := range lines {
		if want := fmt.Sprintf(`"id":"message %d"`, n); !strings.Contains(line, want) {
			t.Fatalf("line %d is %s, want %s", n, line, want)
		}
	}
	if len(lines) != 100 {
		t.Errorf("%d lines for 100 events", len(lines))
	}
}

// TestEventsWait: a file that takes no more holds up whoever tells of events, so that
// they do not fill the memory.
func TestEventsWait(t *testing.T) {
	file := &slowFile{writes: make(chan struct{}), begun: make(chan struct{}, 1)}
	j := &journal{path: "-", out: file}
	const events = 3000
	var told atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range events {
			j.write(&delivery.Event{Kind: delivery.Queued, Reply: strings.Repeat("x", 1000)})
			told.Add(1)
		}
	}()
	for range 3 {
		file.writes <- struct{}{}
		if n := told.Load(); n == events {
			t.Fatalf("%d octets wait to be written, want %d at most", events*1000, mostLines)
		}
	}
	close(file.writes)
	<-done
	j.flush()
	if n := strings.Count(strings.Join(file.written, ""), "\n"); n != events {
		t.Errorf("%d lines for %d events", n, events)
	}
}

// TestEventsRotated: what was told before the file was opened anew is in the one that
// was there before.
func TestEventsRotated(t *testing.T) {
	dir := t.TempDir()
	j := &journal{path: filepath.Join(dir, "events")}
	for round := range 20 {
		if err := j.open(); err != nil {
			t.Fatal(err)
		}
		for n := range 50 {
			j.write(&delivery.Event{Kind: delivery.Queued, ID: fmt.Sprint(n)})
		}
		if err := os.Rename(j.path, filepath.Join(dir, fmt.Sprint(round))); err != nil {
			t.Fatal(err)
		}
	}
	j.flush()
	lines := 0
	for round := range 20 {
		text, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(round)))
		if err != nil {
			t.Fatal(err)
		}
		lines += strings.Count(string(text), "\n")
	}
	if lines != 20*50 {
		t.Errorf("%d lines for %d events", lines, 20*50)
	}
}
