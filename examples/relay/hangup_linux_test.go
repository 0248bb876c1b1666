package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// TestHangup: SIGHUP, which programs that rotate files send, never ends a relay: neither
// while it starts, nor while it ends what is in flight.
func TestHangup(t *testing.T) {
	w := newWorld(t, zone)
	t.Run("while it starts", func(t *testing.T) {
		limits, later := filepath.Join(t.TempDir(), "limits"), filepath.Join(t.TempDir(), "later")
		if err := syscall.Mkfifo(limits, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(later, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		c := command("-listen", "127.0.0.1:0", "-queue", t.TempDir(), "-dns", w.dns.Addr(), "-limits", limits)
		out, err := c.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Process.Kill() }()
		var to *os.File
		eventually(t, "it reads the limits", func() bool {
			to, err = os.OpenFile(limits, os.O_WRONLY|syscall.O_NONBLOCK, 0)
			return err == nil
		})
		_ = c.Process.Signal(syscall.SIGHUP)
		if err := os.Rename(later, limits); err != nil { // for what it reads at SIGHUP
			t.Fatal(err)
		}
		_, _ = to.WriteString("{}") // in vain if the relay has ended
		to.Close()
		listens := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "listening ") {
				listens = true
				_ = c.Process.Signal(syscall.SIGTERM)
			}
		}
		if err := c.Wait(); err != nil || !listens {
			t.Errorf("it has listened: %t, and ends with %v", listens, c.ProcessState)
		}
	})
	t.Run("while it ends what is in flight", func(t *testing.T) {
		complete, answer := make(chan struct{}), make(chan struct{})
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", w.port))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			if conn, err := l.Accept(); err == nil {
				take(conn, complete, answer)
			}
		}()
		dir := t.TempDir()
		p := w.relay("-queue", dir)
		if _, err := submit(t, p.client("127.0.0.1"), "in flight", "b@example.com"); err != nil {
			t.Fatal(err)
		}
		<-complete
		_ = p.Process.Signal(syscall.SIGTERM)
		eventually(t, "it accepts no more", func() bool {
			conn, err := net.Dial("tcp", p.addr.String())
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
		_ = p.Process.Signal(syscall.SIGHUP)
		close(answer)
		if code := p.end(); code != 0 {
			t.Errorf("it ends with %v: %s", p.ProcessState, p.errs.String())
		}
		if out, errs, _ := queueCommand(dir, "list"); out != "" {
			t.Errorf("what was delivered at the end is still queued: %s%s", out, errs)
		}
	})
}

// take is a mail host with one session. It says when it has all of a message, and waits
// before it answers that.
func take(conn net.Conn, complete chan<- struct{}, answer <-chan struct{}) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	fmt.Fprint(conn, "220 mail.example.com\r\n")
	for content := false; ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch {
		case content && line == ".\r\n":
			content = false
			close(complete)
			<-answer
			fmt.Fprint(conn, "250 taken\r\n")
		case content:
		case strings.HasPrefix(line, "DATA"):
			content = true
			fmt.Fprint(conn, "354 go on\r\n")
		case strings.HasPrefix(line, "QUIT"):
			fmt.Fprint(conn, "221 bye\r\n")
		default:
			fmt.Fprint(conn, "250 mail.example.com\r\n")
		}
	}
}

// TestPasswdStopped: the command that waits for a password ends when it is told to, and
// changes nothing.
func TestPasswdStopped(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		logins := filepath.Join(t.TempDir(), "logins")
		c := command("passwd", "-logins", logins, "bob@example.com")
		stdin, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		c.Stdin = stdin
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(in, "sec")
		eventually(t, "it reads", func() bool {
			var left int32
			_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, stdin.Fd(), syscall.TIOCINQ, uintptr(unsafe.Pointer(&left)))
			return errno == 0 && left == 0
		})
		_ = c.Process.Signal(s)
		late := time.AfterFunc(soon, func() { _ = c.Process.Kill() })
		_ = c.Wait()
		if !late.Stop() || c.ProcessState.ExitCode() != 65 {
			t.Errorf("told to stop by %v, it ends with %v", s, c.ProcessState)
		}
		if _, err := os.Stat(logins); err == nil {
			t.Error("it has written a file")
		}
		in.Close()
		stdin.Close()
	}
}
