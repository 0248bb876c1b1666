//go:build linux

package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexthop-mail/nexthop/internal/peers"
)

// smtpSource runs Postfix's smtp-source: messages of a size to one address over
// kept sessions. It returns the processor time it used.
func smtpSource(ctx context.Context, addr string, sessions, messages, size int, to string) (time.Duration, error) {
	cmd, err := peers.Tool("postfix", "usr/sbin/smtp-source", "-d", "-s", strconv.Itoa(sessions), "-m", strconv.Itoa(messages),
		"-l", strconv.Itoa(size), "-f", "sender@from.test", "-t", to, addr)
	if err != nil {
		return 0, err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	if err := cmd.Wait(); err != nil {
		return 0, fmt.Errorf("smtp-source: %w: %s", err, out.Bytes())
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// source injects messages as smtp-source does, a command at a time, but to
// addresses it is told.
type source struct {
	conn    net.Conn
	r       *bufio.Reader
	content []byte // with the final dot
}

func dialSource(addr string, size int) (*source, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &source{conn, bufio.NewReader(conn), append(Content(size), ".\r\n"...)}
	if err := s.expect('2'); err != nil {
		return nil, err
	}
	return s, s.say("EHLO source.test\r\n", '2')
}

// send injects one message and returns when the final dot was answered.
func (s *source) send(to string) (time.Time, error) {
	for _, c := range []struct {
		line string
		want byte
	}{{"MAIL FROM:<sender@from.test>\r\n", '2'}, {"RCPT TO:<" + to + ">\r\n", '2'}, {"DATA\r\n", '3'}} {
		if err := s.say(c.line, c.want); err != nil {
			return time.Time{}, err
		}
	}
	if _, err := s.conn.Write(s.content); err != nil {
		return time.Time{}, err
	}
	err := s.expect('2')
	return time.Now(), err
}

func (s *source) say(line string, want byte) error {
	if _, err := s.conn.Write([]byte(line)); err != nil {
		return err
	}
	return s.expect(want)
}

// expect reads a reply of one class.
func (s *source) expect(class byte) error {
	for {
		if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		line, err := s.r.ReadString('\n')
		if err != nil {
			return err
		}
		if line[0] != class || len(line) < 4 {
			return fmt.Errorf("the relay says %q", line)
		}
		if line[3] != '-' {
			return nil
		}
	}
}

func (s *source) close() { s.conn.Close() }

// inject sends messages over a number of kept sessions at once, the n-th to the
// address that to names, and returns when each was taken.
func inject(addr string, sessions, messages, size int, to func(n int) string) ([]time.Time, error) {
	taken := make([]time.Time, messages)
	failures := make(chan error, sessions)
	var next atomic.Int64
	var working sync.WaitGroup
	for range sessions {
		working.Go(func() {
			s, err := dialSource(addr, size)
			if err != nil {
				failures <- err
				return
			}
			defer s.close()
			for {
				n := int(next.Add(1)) - 1
				if n >= messages {
					return
				}
				if taken[n], err = s.send(to(n)); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	working.Wait()
	select {
	case err := <-failures:
		return nil, err
	default:
		return taken, nil
	}
}
