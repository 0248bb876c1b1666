package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

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

// TestEventsThatGoOn: flush waits for what was told before, and not for what others tell
// meanwhile: on a busy relay there is always more to write.
func TestEventsThatGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := &slowFile{writes: make(chan struct{}), begun: make(chan struct{}, 1)}
		j := &journal{path: "-", out: file}
		tell := func() {
			j.write(&delivery.Event{Kind: delivery.Queued})
			synctest.Wait()
		}
		for before := range 2 { // what waits while the first is being written
			tell()
			for range before {
				tell()
			}
			flushed := make(chan struct{})
			go func() {
				j.flush()
				close(flushed)
			}()
			for range before + 1 {
				synctest.Wait()
				select {
				case <-flushed:
					t.Fatal("it has not been written, and flush has returned")
				default:
				}
				tell()
				file.writes <- struct{}{}
				synctest.Wait()
			}
			select {
			case <-flushed:
			default:
				t.Error("flush waits for what was told after it was called")
			}
			file.writes <- struct{}{}
			<-flushed
		}
	})
}

// fullFile is a file on a disk that has room for so many octets.
type fullFile struct {
	room    int
	written []byte
}

func (f *fullFile) Write(p []byte) (int, error) {
	n := min(len(p), f.room)
	f.room -= n
	if f.written = append(f.written, p[:n]...); n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

// TestEventsOnAFullDisk: an event of which only a part could be written takes no other
// along: once there is room again, lines are whole.
func TestEventsOnAFullDisk(t *testing.T) {
	tell := func(j *journal, id string) {
		j.write(&delivery.Event{Kind: delivery.Queued, ID: id})
		j.flush()
	}
	whole := &fullFile{room: 1000}
	tell(&journal{path: "-", out: whole}, "1")
	length := len(whole.written)
	for room := range 2*length + 2 {
		file := &fullFile{room: room}
		j := &journal{path: "-", out: file}
		tell(j, "1")
		tell(j, "2")
		tell(j, "3")
		file.room = 1000
		tell(j, "4")
		tell(j, "5")
		lines := strings.Split(strings.TrimSuffix(string(file.written), "\n"), "\n")
		for _, id := range []string{"4", "5"} {
			if !slices.ContainsFunc(lines, func(l string) bool { return json.Valid([]byte(l)) && strings.Contains(l, `"id":"`+id+`"`) }) {
				t.Fatalf("with room for %d octets, event %s is not on a line of its own: %q", room, id, lines)
			}
		}
		if slices.Contains(lines, "") {
			t.Fatalf("with room for %d octets, an empty line: %q", room, lines)
		}
	}
	// Another file begins with a whole line.
	file, next := &fullFile{room: 10}, &fullFile{room: 1000}
	j := &journal{path: "-", out: file}
	tell(j, "1")
	j.out = next
	if tell(j, "2"); next.written[0] != '{' {
		t.Errorf("another file begins with %q", next.written)
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
