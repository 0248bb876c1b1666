//go:build linux

package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/internal/peers"
)

// patience is how long a measure waits for the next message to arrive before it
// gives up.
const patience = 30 * time.Second

// sink is Postfix's smtp-sink, which takes every message, forgets it, and says
// how many there were.
type sink struct {
	cmd         *exec.Cmd
	descriptors int // while nobody is connected
	done        sync.WaitGroup

	mu          sync.Mutex
	connections int         // that have ended
	arrivals    []time.Time // of the messages
	changed     chan struct{}
}

// startSink starts it at sinkAddr; it ends with the test.
func startSink(t *testing.T) *sink {
	t.Helper()
	cmd, err := peers.Tool("postfix", "usr/sbin/smtp-sink", "-c", "-u", "root", "-m", "1000", sinkAddr, "1000")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{cmd: cmd, changed: make(chan struct{})}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.done.Go(func() { s.read(out) })
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		s.done.Wait()
		_ = cmd.Wait() // it was killed
	})
	peers.Eventually(t, "smtp-sink", func() bool {
		conn, err := net.Dial("tcp", sinkAddr)
		return err == nil && conn.Close() == nil
	})
	peers.Eventually(t, "the end of the connection that looked", func() bool { return s.ended() > 0 })
	s.mu.Lock()
	s.connections = 0
	s.mu.Unlock()
	s.descriptors = s.open()
	return s
}

// open is how many descriptors it has.
func (s *sink) open() int {
	list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", s.cmd.Process.Pid)) // the pattern is right
	return len(list)
}

// read reads the counts, which smtp-sink writes over each other at each change.
func (s *sink) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Split(func(data []byte, _ bool) (int, []byte, error) {
		if i := bytes.IndexAny(data, "\r\n"); i >= 0 {
			return i + 1, data[:i], nil
		}
		return 0, nil, nil
	})
	seen := 0 // connections, the one that looked included
	for lines.Scan() {
		now := time.Now()
		var connections, quits, messages int
		if _, err := fmt.Sscanf(lines.Text(), "sess=%d quit=%d mesg=%d", &connections, &quits, &messages); err != nil {
			continue
		}
		s.mu.Lock()
		s.connections += connections - seen
		seen = connections
		for len(s.arrivals) < messages {
			s.arrivals = append(s.arrivals, now)
		}
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
	}
}

// settled is how many connections there were, once all have ended: those whose
// other end was killed end at once. One more message, the count of which comes
// after theirs, says that all counts were read.
func (s *sink) settled(t *testing.T) int {
	t.Helper()
	peers.Eventually(t, "the end of all connections to the sink", func() bool { return s.open() <= s.descriptors })
	s.mu.Lock()
	n := len(s.arrivals)
	s.mu.Unlock()
	last, err := dialSource(sinkAddr, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer last.close()
	if _, err := last.send("last@" + oneDomain); err != nil {
		t.Fatal(err)
	}
	if _, err := s.await(t.Context(), n+1); err != nil {
		t.Fatal(err)
	}
	return s.ended()
}

// ended is how many connections have come and gone.
func (s *sink) ended() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections
}

// await waits until n messages have arrived and returns when each did. The error
// is that none came for as long as patience is.
func (s *sink) await(ctx context.Context, n int) ([]time.Time, error) {
	for {
		s.mu.Lock()
		arrivals, changed := s.arrivals, s.changed
		s.mu.Unlock()
		if len(arrivals) >= n {
			return arrivals[:n], nil
		}
		timer := time.NewTimer(patience)
		select {
		case <-changed:
			timer.Stop()
		case <-timer.C:
			return arrivals, fmt.Errorf("%d of %d messages have arrived, and no more for %v", len(arrivals), n, patience)
		case <-ctx.Done():
			timer.Stop()
			return arrivals, ctx.Err()
		}
	}
}
