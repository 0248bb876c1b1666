package smtptest

import (
	"net"
	"slices"
	"sync"
	"time"
)

// Tap is a connection that remembers every octet that went over it. It is safe
// for concurrent use.
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

// Read reads from the connection and remembers what came.
func (t *Tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.remember(&t.read, p[:n], false)
	return n, err
}

// Write writes to the connection and remembers what went.
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

// SetLinger is passed on to connections that have it, and does nothing on
// others.
func (t *Tap) SetLinger(seconds int) error {
	if l, ok := t.Conn.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(seconds)
	}
	return nil
}

// AllRead is all that was read so far.
func (t *Tap) AllRead() []byte { return t.copy(&t.read) }

// AllWritten is all that was written so far.
func (t *Tap) AllWritten() []byte { return t.copy(&t.written) }

func (t *Tap) copy(p *[]byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(*p)
}

// Events lists the reads and writes in order.
func (t *Tap) Events() []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.events)
}
