package smtptest

import (
	"io"
	"net"
	"time"
)

// defaultWindow is how much an end may send that the other has not read, as
// long as a Network does not say otherwise.
const defaultWindow = 64 << 10

// Conn is one end of an in-memory connection that behaves like TCP where that
// matters to a mail client:
//
//   - Writing blocks once a window's worth of octets is unread.
//   - Read and write deadlines, and half close (CloseWrite), work.
//   - Close with octets unread, or after SetLinger(0), resets the connection:
//     the other end reads what was sent before and then gets ECONNRESET.
//   - Writing to an end that is closed succeeds once and then fails with EPIPE.
//
// It works inside and outside a bubble of testing/synctest: nothing in it waits
// on anything but condition variables and timers. A Conn is safe for concurrent
// use.
type Conn struct {
	in, out       *half
	local, remote net.Addr
	closed        func() // tells the network; may be nil
	linger        chan bool
}

// Pipe returns the two ends of a connection without a network around it: no
// latency, a window of 64 KiB.
func Pipe() (client, server *Conn) {
	l := newLink(Link{}, 0)
	return pipe(l, defaultWindow, clientAddr, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25})
}

var clientAddr = &net.TCPAddr{IP: net.IPv4(198, 51, 100, 25), Port: 49152}

func pipe(l *link, window int, local, remote net.Addr) (client, server *Conn) {
	up, down := newHalf(window, l), newHalf(window, l)
	client = &Conn{in: down, out: up, local: local, remote: remote, linger: make(chan bool, 1)}
	server = &Conn{in: up, out: down, local: remote, remote: local, linger: make(chan bool, 1)}
	return client, server
}

// Read reads what the other end has sent. It returns io.EOF after the other
// end's FIN, and a *net.OpError otherwise.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

// Write queues p for the other end, and blocks while the window is full. Its
// error is a *net.OpError.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

// wrap gives errors the form of those of package net; io.EOF stays as it is.
func (c *Conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

// Close ends both directions. It never blocks; closing again does nothing.
func (c *Conn) Close() error {
	kind := segmentFIN
	select {
	case <-c.linger:
		kind = segmentRST
	default:
	}
	if c.in.abandon() {
		kind = segmentRST
	}
	if kind == segmentRST {
		c.in.sever()
	}
	c.out.finish(kind)
	c.in.rouse()
	if c.closed != nil {
		c.closed()
	}
	return nil
}

// CloseWrite sends FIN: the other end reads io.EOF, and can still write.
func (c *Conn) CloseWrite() error {
	c.out.finish(segmentFIN)
	return nil
}

// SetLinger with 0 makes Close reset the connection, as it does for a
// *net.TCPConn. Other values do nothing.
func (c *Conn) SetLinger(seconds int) error {
	if seconds == 0 {
		select {
		case c.linger <- true:
		default:
		}
	}
	return nil
}

// LocalAddr is a *net.TCPAddr.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is a *net.TCPAddr.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.readDeadline, t)
	c.out.setDeadline(&c.out.writeDeadline, t)
	return nil
}

// SetReadDeadline makes reading fail with os.ErrDeadlineExceeded from t on, for
// a Read that is waiting, too. The zero time takes the deadline away.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.readDeadline, t)
	return nil
}

// SetWriteDeadline does the same for writing.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.writeDeadline, t)
	return nil
}
