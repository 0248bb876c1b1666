package mxtest

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Dial connects to this DNS in memory, for every address. It is for the Dial field of an
// mx.Client. network is "udp" or "tcp". A connection needs no goroutine, and works in a
// testing/synctest bubble.
func (d *DNS) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	if network != "udp" && network != "tcp" {
		return nil, &net.OpError{Op: "dial", Net: network, Err: net.UnknownNetworkError(network)}
	}
	return &conn{dns: d, network: network, server: address, changed: make(chan struct{})}, nil
}

// conn is a connection in memory. Writing a query to it makes the response there
// and then; reading waits until the response is due.
type conn struct {
	dns             *DNS
	network, server string

	mu       sync.Mutex
	written  []byte // over TCP, the beginning of a query
	due      []parcel
	deadline time.Time
	closed   bool
	changed  chan struct{} // closed and replaced when any of the above changes
}

// parcel is data that can be read from some time on: a datagram, part of a stream, or
// its end.
type parcel struct {
	at   time.Time
	data []byte
	end  bool
	err  error // instead of data
}

// Write takes a query, or over TCP any part of one.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return 0, net.ErrClosed
	}
	queries := [][]byte{p}
	if c.network == "tcp" {
		c.written = append(c.written, p...)
		queries = c.unframe()
	}
	c.mu.Unlock()
	for _, query := range queries {
		c.deliver(c.dns.respond(query, c.network, c.server, c.LocalAddr().String()))
	}
	return len(p), nil
}

// unframe removes and returns the complete queries from the written data.
func (c *conn) unframe() [][]byte {
	var queries [][]byte
	for len(c.written) >= 2 {
		n := 2 + int(binary.BigEndian.Uint16(c.written))
		if len(c.written) < n {
			break
		}
		queries = append(queries, c.written[2:n:n])
		c.written = c.written[n:]
	}
	return queries
}

// deliver puts a response where Read finds it when it is due.
func (c *conn) deliver(r response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := time.Now().Add(r.delay)
	for _, wire := range r.messages {
		if c.network == "tcp" {
			wire = framed(wire)
		}
		c.due = append(c.due, parcel{at: at, data: wire})
	}
	if r.hangup && c.network == "tcp" {
		c.due = append(c.due, parcel{at: at, end: true})
	}
	if r.reset {
		err := &net.OpError{Op: "read", Net: c.network, Err: os.NewSyscallError("read", c.resetError())}
		c.due = append(c.due, parcel{at: at, err: err})
	}
	slices.SortStableFunc(c.due, func(a, b parcel) int { return a.at.Compare(b.at) })
	c.change()
}

// resetError is what a reset looks like.
func (c *conn) resetError() error {
	if c.network == "udp" {
		return syscall.ECONNREFUSED // by ICMP
	}
	return syscall.ECONNRESET
}

// change wakes those who wait.
func (c *conn) change() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// Read waits for the next response. Of a datagram that is longer than p the rest
// is lost.
func (c *conn) Read(p []byte) (int, error) {
	for {
		n, wake, changed, err := c.tryRead(p)
		if n > 0 || err != nil {
			return n, err
		}
		var timer <-chan time.Time
		if !wake.IsZero() {
			timer = time.After(time.Until(wake))
		}
		select {
		case <-timer:
		case <-changed:
		}
	}
}

// tryRead reads data that is due. If there is none, it returns when to try again
// (never, if zero) and a channel that is closed when something has changed before that.
func (c *conn) tryRead(p []byte) (n int, wake time.Time, changed <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case c.closed:
		return 0, wake, nil, net.ErrClosed
	case !c.deadline.IsZero() && !now.Before(c.deadline):
		return 0, wake, nil, &net.OpError{Op: "read", Net: c.network, Err: os.ErrDeadlineExceeded}
	case len(c.due) > 0 && !c.due[0].at.After(now):
		n, err = c.take(p)
		return n, wake, nil, err
	}
	wake = c.deadline
	if len(c.due) > 0 && (wake.IsZero() || c.due[0].at.Before(wake)) {
		wake = c.due[0].at
	}
	return 0, wake, c.changed, nil
}

// take reads from the first parcel.
func (c *conn) take(p []byte) (int, error) {
	first := &c.due[0]
	if first.err != nil {
		return 0, first.err
	}
	if first.end {
		return 0, io.EOF
	}
	n := copy(p, first.data)
	if first.data = first.data[n:]; len(first.data) == 0 || c.network == "udp" {
		c.due = c.due[1:]
	}
	return n, nil
}

// Close ends the connection and every Read.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	c.change()
	return nil
}

// SetReadDeadline ends every Read at t.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.deadline = t
	c.change()
	return nil
}

// SetDeadline is SetReadDeadline: a Write never waits.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing, because Write never waits.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr is a name for this end.
func (c *conn) LocalAddr() net.Addr { return memoryAddr{c.network, "memory"} }

// RemoteAddr is the address that was dialled.
func (c *conn) RemoteAddr() net.Addr { return memoryAddr{c.network, c.server} }

// memoryAddr is the address of one end of a connection in memory.
type memoryAddr struct{ network, address string }

func (a memoryAddr) Network() string { return a.network }
func (a memoryAddr) String() string  { return a.address }
