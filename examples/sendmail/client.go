//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

// Requests to the runner.
const (
	pathSubmit = "/submit"
	pathList   = "/list"
	pathFlush  = "/flush"
)

// answer is the runner's reply to a submission or a command: an exit code, and if that
// is not 0, the reason.
type answer struct {
	Code int    `json:"code"`
	Text string `json:"text,omitempty"` // for a person
	Busy bool   `json:"busy,omitempty"` // nothing was read of the request
}

func (a *answer) err() error {
	if a.Code == cli.ExitOK {
		return nil
	}
	return &cli.Error{Code: a.Code, Err: errors.New(a.Text)}
}

// errNoRunner says that the runner cannot be reached.
var errNoRunner = errors.New("the queue runner does not run")

// call sends a request to the runner. The error is errNoRunner if it is not running.
func call(ctx context.Context, c *config, path string, body io.Reader) (*answer, error) {
	reached := false
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "unix", c.socket)
			reached = err == nil
			return conn, err
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://runner"+path, body)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil && !reached {
		return nil, fmt.Errorf("%w: %w", errNoRunner, err)
	}
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var a answer
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		return nil, fmt.Errorf("the queue runner does not say what became of it: %w", err)
	}
	return &a, nil
}

// submit passes a submission to the runner, or puts it into the maildrop if the runner is
// not running, is busy or does not answer. It returns when the message would survive a power cut. content writes the
// content, once.
func submit(c *config, s *submission, content func(io.Writer) error) error {
	login, _ := whoAmI(os.Getuid())
	if err := delivery.ValidateEnvelope(c.message(s, login)); err != nil {
		return dataError(err)
	}
	// The message is on disk or in memory before it is sent: if the runner dies or stops
	// over it, it goes into the maildrop, with the same key, so that it is one message.
	spooled, err := spool(func(w io.Writer) error {
		if err := s.writeEnvelope(w); err != nil {
			return err
		}
		return content(w)
	}, c.maxSize+maxEnvelope)
	if err != nil {
		return err
	}
	defer spooled.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.patience))
	defer cancel()
	if a, err := call(ctx, c, pathSubmit, spooled.open()); err == nil && !a.Busy {
		return a.err()
	}
	return drop(c, spooled.open())
}

// spooled is a message in memory, or if it is large in a file without a name.
type spooled struct {
	text []byte
	file *os.File
}

// inMemory is how much of a message is in memory.
const inMemory = 1 << 20

var errTooLarge = errors.New("the message is too large")

// spool keeps what is written, up to most octets.
func spool(write func(io.Writer) error, most int64) (*spooled, error) {
	s := &spooled{}
	w := bufio.NewWriter(&limited{s, most})
	err := write(w)
	if err == nil {
		err = w.Flush()
	}
	switch {
	case errors.Is(err, errTooLarge):
		err = dataError(err)
	case err != nil:
		err = temporary(err)
	}
	if err != nil {
		s.Close()
	}
	return s, err
}

// limited is a spooled with a limit.
type limited struct {
	to   *spooled
	left int64
}

// Write writes, as long as there is room.
func (l *limited) Write(p []byte) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		return 0, errTooLarge
	}
	return l.to.Write(p)
}

// Write keeps p.
func (s *spooled) Write(p []byte) (n int, err error) {
	if s.file == nil && len(s.text)+len(p) <= inMemory {
		s.text = append(s.text, p...)
		return len(p), nil
	}
	if s.file == nil {
		if s.file, err = os.CreateTemp("", "sendmail-"); err != nil {
			return 0, err
		}
		if err := os.Remove(s.file.Name()); err != nil {
			return 0, err
		}
		if _, err := s.file.Write(s.text); err != nil {
			return 0, err
		}
		s.text = nil
	}
	return s.file.Write(p)
}

// open returns a reader from the beginning. A request that was given up may still read
// from one that was opened before.
func (s *spooled) open() io.Reader {
	if s.file == nil {
		return bytes.NewReader(s.text)
	}
	return io.NewSectionReader(s.file, 0, math.MaxInt64)
}

// Close gives the file back.
func (s *spooled) Close() {
	if s.file != nil {
		_ = s.file.Close()
	}
}

// list prints the queue: all of it for root, and their own mail for other users.
func list(ctx context.Context, c *config, stdout io.Writer) error {
	a, err := call(ctx, c, pathList, nil)
	if err != nil {
		return &cli.Error{Code: cli.ExitUnavailable, Err: err}
	}
	if err := a.err(); err != nil {
		return err
	}
	_, err = io.WriteString(stdout, a.Text)
	return err
}

// flush tries the queued mail now: by the runner, or here if none is running.
func flush(ctx context.Context, c *config, stderr io.Writer) error {
	a, err := call(ctx, c, pathFlush, nil)
	if errors.Is(err, errNoRunner) {
		return runOnce(ctx, c, stderr)
	}
	if err != nil {
		return temporary(err)
	}
	return a.err()
}
