package smtp

import (
	"net"
	"os"
	"sync"
	"time"
)

// unbounded lets waits end on a connection without deadlines, such as one through SSH:
// when a deadline passes during a wait, the connection is closed. After that nothing
// can be continued.
type unbounded struct {
	net.Conn

	mu          sync.Mutex
	read, write wait
	struck      bool
}

// wait is one direction of an unbounded connection.
type wait struct {
	by    time.Time // zero is for ever
	busy  bool
	timer *time.Timer
}

func (u *unbounded) Read(p []byte) (int, error) {
	return u.during(&u.read, func() (int, error) { return u.Conn.Read(p) })
}

func (u *unbounded) Write(p []byte) (int, error) {
	return u.during(&u.write, func() (int, error) { return u.Conn.Write(p) })
}

func (u *unbounded) during(w *wait, f func() (int, error)) (int, error) {
	if !u.begin(w) {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := f()
	u.mu.Lock()
	defer u.mu.Unlock()
	w.busy = false
	u.arm(w)
	if err != nil && u.struck {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// begin reports whether there is time left.
func (u *unbounded) begin(w *wait) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.struck || !w.by.IsZero() && !time.Now().Before(w.by) {
		return false
	}
	w.busy = true
	u.arm(w)
	return true
}

// arm sets the timer of a wait in progress, and removes that of one that is over.
func (u *unbounded) arm(w *wait) {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	if w.busy && !w.by.IsZero() {
		w.timer = time.AfterFunc(time.Until(w.by), u.strike)
	}
}

func (u *unbounded) strike() {
	u.mu.Lock()
	u.struck = true
	u.mu.Unlock()
	_ = u.Conn.Close() // it ends the wait, which is all that is asked of it
}

func (u *unbounded) SetDeadline(t time.Time) error {
	_ = u.SetReadDeadline(t)
	return u.SetWriteDeadline(t)
}

func (u *unbounded) SetReadDeadline(t time.Time) error { return u.set(&u.read, t) }

func (u *unbounded) SetWriteDeadline(t time.Time) error { return u.set(&u.write, t) }

func (u *unbounded) set(w *wait, t time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	w.by = t
	u.arm(w)
	return nil
}
