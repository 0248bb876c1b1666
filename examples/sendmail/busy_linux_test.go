package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// once checks that one message arrives, and no more.
func (m *machine) once() {
	m.t.Helper()
	_, _ = m.arrives(1)
	eventually(m.t, "the maildrop is empty", func() bool { return len(m.files("maildrop")) == 0 })
	eventually(m.t, "the queue is empty", func() bool {
		out, code := m.call(root, "", "-bp")
		return code == 0 && !strings.Contains(out, "@example.com")
	})
	if n := len(m.mail.Messages()); n != 1 {
		m.t.Errorf("%d messages have arrived, want 1", n)
	}
}

// TestRunnerThatDoesNotAnswer: a program does not wait for ever for a runner that is
// stopped. Its message goes into the maildrop, and is one message even if the runner
// continues with what it was sent.
func TestRunnerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, body string }{
		{"short", "x\n"},
		{"not in memory", strings.Repeat("a line of a message that is not in memory\n", 50_000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t, "patience = 300ms", "collect-every = 50ms")
			r := m.start()
			_ = r.Process.Signal(syscall.SIGSTOP)
			m.send(alice, "Subject: stopped\n\n"+c.body, "b@example.com")
			if n := len(m.files("maildrop")); n != 1 {
				t.Errorf("%d files are in the maildrop, want 1", n)
			}
			_ = r.Process.Signal(syscall.SIGCONT)
			m.once()
		})
	}
}

// connectAs connects to a socket as a user.
func connectAs(t *testing.T, uid int, path string) net.Conn {
	t.Helper()
	runtime.LockOSThread() // the user is that of one thread
	defer runtime.UnlockOSThread()
	change := func(uid int) {
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			t.Fatal(errno)
		}
	}
	change(uid)
	conn, err := net.Dial("unix", path)
	change(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestManyOfOneUser: what one user sends at the same time as much else is not refused.
func TestManyOfOneUser(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "collect-every = 50ms")
	m.start()
	request := func(length int) net.Conn {
		conn := connectAs(t, alice, m.dir+"/run/submit")
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: runner\r\nContent-Length: %d\r\n\r\n", pathSubmit, length)
		return conn
	}
	var under []net.Conn
	eventually(t, "the runner has as many as it takes", func() bool {
		conn := request(0)
		defer conn.Close()
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return false
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		busy := strings.Contains(string(text), `"busy":true`)
		if !busy {
			under = append(under, request(1000)) // in place of one that came beside such a request
		}
		return busy
	})
	m.send(alice, "Subject: one more\n\nx\n", "b@example.com")
	for _, conn := range under {
		conn.Close()
	}
	m.once()
}

// TestStoppedBeforeTheEnd: a program that is told to stop before it has read its message
// ends, and nothing of the message is sent. Hanging up does not stop it under nohup.
func TestStoppedBeforeTheEnd(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.setUp()
	begin := func(t *testing.T, c *exec.Cmd) io.WriteCloser {
		t.Helper()
		in, err := c.StdinPipe()
		if err == nil {
			err = c.Start()
		}
		if err == nil {
			// It is more than a pipe holds, so the program reads.
			_, err = io.WriteString(in, "Subject: s\n\n"+strings.Repeat("a line\n", 20_000))
		}
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			c := m.command(alice, "/usr/sbin/sendmail", "b@example.com")
			in := begin(t, c)
			_ = c.Process.Signal(s)
			late := time.AfterFunc(soon, func() { _ = c.Process.Kill() })
			err := c.Wait()
			in.Close()
			if e, ok := errors.AsType[*exec.ExitError](err); !late.Stop() || !ok || e.ExitCode() != 75 {
				t.Errorf("it ends with %v, want 75", err)
			}
			if names := m.files("maildrop"); len(names) > 0 {
				t.Errorf("the maildrop has %q", names)
			}
		})
	}
	t.Run("nohup", func(t *testing.T) {
		c := m.command(alice, "/bin/sh", "-c", `trap "" HUP; exec "$0" b@example.com`, os.Getenv(binary))
		c.Path = "/bin/sh"
		in := begin(t, c)
		_ = c.Process.Signal(syscall.SIGHUP)
		_, _ = io.WriteString(in, strings.Repeat("a line\n", 100_000)) // in vain if it ends
		in.Close()
		if err := c.Wait(); err != nil {
			t.Errorf("it ends with %v", err)
		}
		if n := len(m.files("maildrop")); n != 1 {
			t.Errorf("%d files are in the maildrop, want 1", n)
		}
	})
}
