package smtptest

import (
	"net"
	"slices"
	"sync"
	"time"
)

// Tap is a connection that records every octet that it carries. It is safe for concurrent
// use.
type Tap struct {
	net.Conn
	mu            sync.Mutex
	read, written []byte
	events        []Event
}

// Event is one successful Read or Write of a Tap.
type Event struct {
	At      time.Time
	Written bool
	Octets  int
}

// NewTap wraps a connection. Closing the Tap closes the connection.
func NewTap(conn net.Conn) *Tap { return &Tap{Conn: conn} }

// Read reads from the connection and records the octets.
func (t *Tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.remember(&t.read, p[:n], false)
	return n, err
}

// Write writes to the connection and records the octets.
func (t *Tap) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	t.remember(&t.written, p[:n], true)
	return n, err
}

func (t *Tap) remember(all *[]byte, p []byte, written bool) {
	if len(p) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	*all = append(*all, p...)
	t.events = append(t.events, Event{At: time.Now(), Written: written, Octets: len(p)})
}

// SetLinger calls SetLinger of the connection, if it has that method.
func (t *Tap) SetLinger(seconds int) error {
	if l, ok := t.Conn.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(seconds)
	}
	return nil
}

// AllRead returns all octets read so far.
func (t *Tap) AllRead() []byte { return t.copy(&t.read) }

// AllWritten returns all octets written so far.
func (t *Tap) AllWritten() []byte { return t.copy(&t.written) }

func (t *Tap) copy(p *[]byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(*p)
}

// Events returns the reads and writes in order.
func (t *Tap) Events() []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.events)
}
