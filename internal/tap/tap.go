// Package tap records what goes over a connection. Tests and test hosts use it.
package tap

import (
	"net"
	"slices"
	"sync"
	"time"
)

// Conn is a connection that records every octet that it carries. It is safe for concurrent
// use.
type Conn struct {
	net.Conn
	mu            sync.Mutex
	read, written []byte
	events        []Event
}

// Event is one successful Read or Write of a Conn.
type Event struct {
	At      time.Time
	Written bool
	Octets  int
}

// New wraps a connection. Closing the Conn closes the connection.
func New(conn net.Conn) *Conn { return &Conn{Conn: conn} }

// Read reads from the connection and records the octets.
func (t *Conn) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.remember(&t.read, p[:n], false)
	return n, err
}

// Write writes to the connection and records the octets.
func (t *Conn) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	t.remember(&t.written, p[:n], true)
	return n, err
}

func (t *Conn) remember(all *[]byte, p []byte, written bool) {
	if len(p) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	*all = append(*all, p...)
	t.events = append(t.events, Event{At: time.Now(), Written: written, Octets: len(p)})
}

// SetLinger calls SetLinger of the connection, if it has that method.
func (t *Conn) SetLinger(seconds int) error {
	if l, ok := t.Conn.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(seconds)
	}
	return nil
}

// AllRead returns all octets read so far.
func (t *Conn) AllRead() []byte { return t.copy(&t.read) }

// AllWritten returns all octets written so far.
func (t *Conn) AllWritten() []byte { return t.copy(&t.written) }

func (t *Conn) copy(p *[]byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(*p)
}

// Events returns the reads and writes in order.
func (t *Conn) Events() []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.events)
}
