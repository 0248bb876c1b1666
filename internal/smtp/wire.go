package smtp

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// wire is the transport itself, below TLS if there is TLS. It handles time: writing is
// limited by progress, reading by the deadline of the expected reply, and both by the
// limit of the current operation; the end of the context ends everything.
type wire struct {
	net.Conn
	poller  *poller       // nil if the transport is not a plain socket
	patient time.Duration // how long a write may make no progress
	direct  int           // how much may be written without reading at the same time

	blunt bool // a deadline that strikes ends the connection

	polling bool // reads do not wait; for the reading goroutine only

	mu       sync.Mutex
	canceled bool
	limit    time.Time // of the current operation; zero if none
	wrote    time.Time // when the first write since mark began; zero before it
}

// pollWait is how long a look at a transport without a file descriptor takes.
const pollWait = 100 * time.Microsecond

// grace is how long a reply may still take once it is clear that no more can
// be written.
const grace = time.Second

func newWire(conn net.Conn, patient time.Duration) *wire {
	w := &wire{Conn: conn, patient: patient, poller: newPoller(conn), direct: directLeast}
	if w.poller != nil {
		w.direct = min(max(w.poller.room(), directLeast), directMost)
	}
	if conn.SetDeadline(time.Time{}) != nil {
		w.Conn, w.poller, w.blunt = &unbounded{Conn: conn}, nil, true
	}
	return w
}

// begin starts an operation that may take until limit; zero is as long as its
// steps do.
func (w *wire) begin(limit time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.canceled, w.limit = false, limit
}

// cancel makes every read and write fail at once, until the next begin.
func (w *wire) cancel() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.canceled = true
	_ = w.Conn.SetDeadline(past())
}

// hurry leaves reads only the grace: nothing can be written any more, but a reply that
// has already arrived counts.
func (w *wire) hurry() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.canceled {
		return
	}
	if end := time.Now().Add(grace); w.limit.IsZero() || end.Before(w.limit) {
		w.limit = end
	}
	_ = w.Conn.SetReadDeadline(w.limit)
}

// abandonWrite makes the write under way fail: at once if the connection is
// of no more use, else after the grace.
func (w *wire) abandonWrite(atOnce bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if atOnce {
		w.canceled = true
		_ = w.Conn.SetWriteDeadline(past())
		return
	}
	if end := time.Now().Add(grace); w.limit.IsZero() || end.Before(w.limit) {
		w.limit = end
	}
	_ = w.Conn.SetWriteDeadline(w.bound(w.limit))
}

// readBy sets the time by which the reply awaited must be complete; zero waits
// for ever.
func (w *wire) readBy(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.Conn.SetReadDeadline(w.bound(t))
}

// bound is t, or what ends the operation before that.
func (w *wire) bound(t time.Time) time.Time {
	switch {
	case w.canceled:
		return past()
	case w.limit.IsZero(), !t.IsZero() && t.Before(w.limit):
		return t
	default:
		return w.limit
	}
}

// past is a deadline that has gone by.
func past() time.Time { return time.Unix(1, 0) }

// looks is how often, in the time a write may make no progress, it is looked
// whether it has made some.
const looks = 18

// stall is how long a write has made no progress.
type stall struct{ since time.Time }

// allowWrite gives a write its time: a part of the patience, after which
// another look is due.
func (w *wire) allowWrite(st *stall) {
	now := time.Now()
	if st.since.IsZero() {
		st.since = now
	}
	until := st.since.Add(w.patient)
	if next := now.Add(w.patient / looks); next.Before(until) && !w.blunt {
		until = next
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wrote.IsZero() {
		w.wrote = now
	}
	_ = w.Conn.SetWriteDeadline(w.bound(until))
}

// mark has the next write note when it begins.
func (w *wire) mark() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrote = time.Time{}
}

// marked returns when the first write since mark began, or zero if there was none.
func (w *wire) marked() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wrote
}

// over reports whether the operation has run out of time altogether.
func (w *wire) over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.canceled || (!w.limit.IsZero() && !time.Now().Before(w.limit))
}

// Write writes all of p. It fails only if some of p was not written: a message
// whose last octet is in p has then certainly not gone out.
func (w *wire) Write(p []byte) (int, error) {
	n := 0
	var st stall
	for {
		w.allowWrite(&st)
		m, err := w.Conn.Write(p[n:])
		n += m
		if n == len(p) {
			return n, nil
		}
		if err == nil {
			err = io.ErrShortWrite
		}
		if !w.goOn(&st, m, err) {
			return n, err
		}
	}
}

// writev writes all the buffers in one call if the transport can do that.
// Like Write, it fails only if something was not written. It uses up bufs.
func (w *wire) writev(bufs *net.Buffers) error {
	var st stall
	for {
		w.allowWrite(&st)
		n, err := bufs.WriteTo(w.Conn)
		if len(*bufs) == 0 {
			return nil
		}
		if err == nil {
			err = io.ErrShortWrite
		}
		if !w.goOn(&st, int(n), err) {
			return err
		}
	}
}

// goOn reports whether an interrupted write must be continued: if only its time was up,
// and it has made progress or may still make some.
func (w *wire) goOn(st *stall, n int, err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || w.over() {
		return false
	}
	if n > 0 {
		st.since = time.Now()
		return true
	}
	return time.Since(st.since) < w.patient
}

// Read reads what is there, and waits for data unless it is polling.
func (w *wire) Read(p []byte) (int, error) {
	switch {
	case !w.polling:
		return w.Conn.Read(p)
	case w.poller != nil:
		return w.poller.read(p)
	case w.blunt:
		return 0, errNothing{} // a look would be the end of it
	default:
		w.readBy(time.Now().Add(pollWait))
		return w.Conn.Read(p)
	}
}

// errNothing is returned by a read that does not wait and finds no data. TLS correctly
// treats it as a temporary condition.
type errNothing struct{}

func (errNothing) Error() string   { return "nothing to read" }
func (errNothing) Timeout() bool   { return true }
func (errNothing) Temporary() bool { return true }
func (errNothing) Unwrap() error   { return os.ErrDeadlineExceeded }
