package smtptest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// half is one direction of an in-memory connection: what one end has written
// and the other has not read yet. All waiting is on a condition variable and
// timers, so that a bubble of testing/synctest sees it.
type half struct {
	mu   sync.Mutex
	wake sync.Cond

	segments []segment // in order of arrival
	size     int       // octets in segments
	window   int       // octets the writer may have unread

	link *link

	readDeadline, writeDeadline deadline

	writerDone bool      // the writing end sent FIN or RST, or was closed
	readerDone bool      // the reading end was closed
	deadAt     time.Time // the time from which the writer knows that the other end is closed
}

type segmentKind uint8

const (
	segmentData segmentKind = iota
	segmentFIN
	segmentRST
)

type segment struct {
	kind segmentKind
	data []byte
	at   time.Time // when it arrives, cuts of the link aside
}

func newHalf(window int, l *link) *half {
	h := &half{window: window, link: l}
	h.wake.L = &h.mu
	return h
}

// deadline wakes the waiters of a half when it passes.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (h *half) setDeadline(d *deadline, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, h.rouse)
	}
	h.wake.Broadcast()
}

// rouse makes every waiter look again.
func (h *half) rouse() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wake.Broadcast()
}

// arrived is the first segment, if it is there by now.
func (h *half) arrived() (*segment, bool) {
	if len(h.segments) == 0 || h.link.down() || time.Now().Before(h.segments[0].at) {
		return nil, false
	}
	return &h.segments[0], true
}

// wait waits for a change, at the latest for the arrival of the next segment.
func (h *half) wait() {
	if len(h.segments) > 0 {
		if d := time.Until(h.segments[0].at); d > 0 {
			defer time.AfterFunc(d, h.rouse).Stop()
		}
	}
	h.wake.Wait()
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.readerDone:
			return 0, net.ErrClosed
		case h.readDeadline.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		}
		if s, ok := h.arrived(); ok {
			return h.consume(s, p)
		}
		h.wait()
	}
}

// consume reads up to len(p) octets. Data sent before a reset can still be read, as on
// Linux; FIN and RST remain for every further read.
func (h *half) consume(s *segment, p []byte) (int, error) {
	switch s.kind {
	case segmentFIN:
		return 0, io.EOF
	case segmentRST:
		return 0, os.NewSyscallError("read", syscall.ECONNRESET)
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	h.size -= n
	if len(s.data) == 0 {
		h.segments[0] = segment{}
		h.segments = h.segments[1:]
	}
	h.wake.Broadcast()
	return n, nil
}

// write queues p, and waits while the window is full. If the other end is closed, the
// data is lost, and the writer knows after a round trip.
func (h *half) write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.writerDone:
			return n, net.ErrClosed
		case h.writeDeadline.passed():
			return n, os.ErrDeadlineExceeded
		case !h.deadAt.IsZero() && !time.Now().Before(h.deadAt):
			return n, os.NewSyscallError("write", syscall.EPIPE)
		case len(p) == 0:
			return n, nil
		case h.readerDone:
			if h.deadAt.IsZero() {
				h.die(2 * h.link.latency())
			}
			return n + len(p), nil
		}
		if room := h.window - h.size; room > 0 {
			k := min(room, len(p))
			h.push(segment{kind: segmentData, data: append([]byte(nil), p[:k]...)})
			h.size += k
			n, p = n+k, p[k:]
			continue
		}
		h.wake.Wait()
	}
}

// push sends a segment on its way, behind all that went before.
func (h *half) push(s segment) {
	s.at = h.link.arrival(time.Now())
	if n := len(h.segments); n > 0 && s.at.Before(h.segments[n-1].at) {
		s.at = h.segments[n-1].at
	}
	h.segments = append(h.segments, s)
	h.wake.Broadcast()
}

// die makes writing fail from after on.
func (h *half) die(after time.Duration) {
	h.deadAt = time.Now().Add(after)
	if after > 0 {
		time.AfterFunc(after, h.rouse)
	}
	h.wake.Broadcast()
}

// finish ends the direction for its writer with FIN or RST. Only the first does.
func (h *half) finish(kind segmentKind) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.writerDone {
		return
	}
	h.writerDone = true
	h.push(segment{kind: kind})
}

// abandon ends the direction for its reader, and reports whether there were
// octets it had not read.
func (h *half) abandon() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readerDone {
		return false
	}
	h.readerDone = true
	unread := h.size > 0
	if unread {
		h.die(h.link.latency())
	}
	h.segments, h.size = nil, 0
	h.wake.Broadcast()
	return unread
}

// sever makes writing fail, for the other end has reset the connection.
func (h *half) sever() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.deadAt.IsZero() {
		h.die(h.link.latency())
	}
}

// waiting reports, without reading, whether octets or the end have arrived.
func (h *half) waiting() (data, end bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.arrived()
	if !ok {
		return false, h.readerDone
	}
	return s.kind == segmentData, s.kind != segmentData
}

// awaitEnd waits, without reading, until the writing end is done.
func (h *half) awaitEnd() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for !h.readerDone {
		if n := len(h.segments); n > 0 && h.segments[n-1].kind != segmentData && !h.link.down() {
			return
		}
		h.wake.Wait()
	}
}
