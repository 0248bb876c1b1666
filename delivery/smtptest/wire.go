package smtptest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// wire reads lines and writes replies. Like a server's, replies wait until the client
// has nothing more to say.
type wire struct {
	ctx      context.Context
	conn     net.Conn
	in       *bufio.Reader
	out      bytes.Buffer
	memory   *Conn // what the connection is, if it is one in memory
	patience time.Duration
	flushed  bool // something was said since the last count of round trips
}

const (
	maxLine    = 64 << 10 // of a line, kept
	maxPending = 4 << 10  // of replies, held back
)

// more looks whether the client has sent more than was read, waiting for as
// long as the Host's patience lasts. ended is the end of the input.
func (w *wire) more() (more, ended bool) {
	if w.in.Buffered() > 0 {
		return true, false
	}
	wait := w.patience
	if wait <= 0 {
		return false, false
	}
	if w.memory != nil {
		if data, end := w.memory.in.waiting(); !data && !end {
			_ = pause(w.ctx, wait)
		}
		if data, end := w.memory.in.waiting(); !data {
			return false, end
		}
		wait = tlsRecordTime
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(wait))
	_, err := w.in.Peek(1)
	_ = w.conn.SetReadDeadline(time.Time{})
	switch {
	case err == nil:
		return true, false
	case errors.Is(err, os.ErrDeadlineExceeded):
		return false, false
	default:
		return false, true
	}
}

// tlsRecordTime is how long octets that have arrived may turn out to be none of
// the client's words, but TLS's own.
const tlsRecordTime = 10 * time.Millisecond

// flush sends the replies that wait.
func (w *wire) flush() error {
	if w.out.Len() == 0 {
		return nil
	}
	w.flushed = true
	_, err := w.conn.Write(w.out.Bytes())
	w.out.Reset()
	return err
}

// put queues text.
func (w *wire) put(text string) error {
	w.out.WriteString(text)
	if w.out.Len() > maxPending {
		return w.flush()
	}
	return nil
}

// drip sends text octet by octet.
func (w *wire) drip(text string, every time.Duration, wait func(time.Duration) error) error {
	if err := w.flush(); err != nil {
		return err
	}
	w.flushed = true
	for i := range len(text) {
		if i > 0 {
			if err := wait(every); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(w.conn, text[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// line reads up to a line feed. Of an endless line the rest is dropped.
func (w *wire) line() (string, error) {
	var line []byte
	for {
		part, err := w.in.ReadSlice('\n')
		if room := maxLine - len(line); room > 0 {
			line = append(line, part[:min(room, len(part))]...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return string(line), err
		}
	}
}

// drain reads until the client closes.
func (w *wire) drain() {
	_, _ = io.Copy(io.Discard, w.in)
}
