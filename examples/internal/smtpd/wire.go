package smtpd

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// The errors that end a session.
var (
	errLineTooLong = errors.New("a command longer than the limit")
	errBareEnd     = errors.New("a bare CR or LF")
	errOther       = errors.New("another protocol")
	errStopping    = errors.New("the server is shutting down")
	errTooSlow     = errors.New("the content arrives too slowly")
)

const (
	inBuffer  = 16 << 10
	outBuffer = 16 << 10 // of replies that wait for more commands
	maxLine   = 8 << 10  // of a command: parameters may be long (RFC 3461 section 4)
)

// wire is a connection with buffers in both directions.
type wire struct {
	raw  net.Conn // the connection
	conn net.Conn // the same, or TLS on it
	in   []byte   // buffer
	r, w int      // what of it is still to be read
	out  []byte   // replies not yet sent

	stopped chan struct{} // closed by stop

	mu       sync.Mutex
	stopping bool
	content  bool // a message is under way: it may be finished
}

func newWire(conn net.Conn) *wire {
	w := &wire{raw: conn, conn: conn, in: make([]byte, inBuffer), stopped: make(chan struct{})}
	if inTLS, ok := conn.(*tls.Conn); ok {
		w.raw = inTLS.NetConn()
	}
	return w
}

// local is the address of this host that the client is connected to.
func (w *wire) local() netip.Addr { return plainAddr(w.raw.LocalAddr()) }

func (w *wire) reply(r Reply) { w.out = r.append(w.out) }

// flush sends the waiting replies.
func (w *wire) flush(timeout time.Duration) error {
	if len(w.out) == 0 {
		return nil
	}
	_ = w.raw.SetWriteDeadline(time.Now().Add(timeout))
	return w.send()
}

func (w *wire) send() error {
	_, err := w.conn.Write(w.out)
	w.out = w.out[:0]
	return err
}

// fill reads more data. Waiting replies are sent first, because the client may be
// waiting for them. All of this takes no longer than the timeout.
func (w *wire) fill(timeout time.Duration) error { return w.fillBy(time.Now().Add(timeout)) }

// fillBy does so until a moment. Setting a deadline takes a system's timer, so one call
// sets it for what is sent and for what is read.
func (w *wire) fillBy(until time.Time) error {
	ready := w.readyBy(until, len(w.out) > 0)
	if len(w.out) > 0 {
		if ready == errStopping {
			_ = w.raw.SetWriteDeadline(until)
		}
		if err := w.send(); err != nil {
			return err
		}
	}
	if ready != nil {
		return ready
	}
	if w.r > 0 {
		w.w = copy(w.in, w.in[w.r:w.w])
		w.r = 0
	}
	n, err := w.conn.Read(w.in[w.w:])
	w.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	if w.isStopping() {
		return errStopping
	}
	return err
}

// ready sets the time limit of the next read, unless the server is stopping and no
// transaction can be finished.
func (w *wire) ready(timeout time.Duration) error {
	return w.readyBy(time.Now().Add(timeout), false)
}

// readyBy does so until a moment, and sets the limit of writes, too, if it is to. With TLS
// it always does: a client may ask for new keys whenever it likes, and reading sends them.
func (w *wire) readyBy(until time.Time, writes bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopping && !w.content {
		return errStopping
	}
	if writes || w.conn != w.raw {
		return w.raw.SetDeadline(until)
	}
	return w.raw.SetReadDeadline(until)
}

// stop ends the wait for a command; content is let in to its end.
func (w *wire) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopping {
		close(w.stopped)
	}
	w.stopping = true
	if !w.content {
		_ = w.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// pause waits, and is false if the server is to stop before that is over.
func (w *wire) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.stopped:
		return false
	}
}

func (w *wire) isStopping() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopping && !w.content
}

// inContent says whether content is being read.
func (w *wire) inContent(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.content = yes
}

// line is the next command without its CRLF; it is valid until the next read. All of
// it must come within the time given.
func (w *wire) line(timeout time.Duration) ([]byte, error) {
	return w.lineOf(maxLine, mayBegin, timeout)
}

// lineOf is a line of at most so many octets, whose first octet may be some only.
func (w *wire) lineOf(most int, mayBegin func(byte) bool, timeout time.Duration) ([]byte, error) {
	if w.isStopping() {
		return nil, errStopping
	}
	if len(w.out) > outBuffer {
		if err := w.flush(timeout); err != nil {
			return nil, err
		}
	}
	var until time.Time // until the first wait
	for seen := 0; ; {
		if w.r < w.w && !mayBegin(w.in[w.r]) {
			return nil, errOther
		}
		if i := bytes.IndexByte(w.in[w.r+seen:w.w], '\n'); i >= 0 {
			l := w.in[w.r : w.r+seen+i+1]
			w.r += len(l)
			return cutEnd(l, most)
		}
		if seen = w.w - w.r; seen > most {
			return nil, errLineTooLong
		}
		if until.IsZero() {
			until = time.Now().Add(timeout)
		}
		if err := w.fillBy(until); err != nil {
			return nil, err
		}
	}
}

func cutEnd(l []byte, most int) ([]byte, error) {
	n := len(l)
	switch {
	case n > most:
		return nil, errLineTooLong
	case n < 2 || bytes.IndexByte(l, '\r') != n-2:
		return nil, errBareEnd
	}
	return l[:n-2], nil
}

// buffered returns what has arrived and is not yet read.
func (w *wire) buffered() []byte { return w.in[w.r:w.w] }
