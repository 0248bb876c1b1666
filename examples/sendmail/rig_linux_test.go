package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// soon is how long a test waits for what must happen: long enough for any machine.
const soon = 60 * time.Second

// The users of the tests, of whom the machine may not know. The tests run as root.
const (
	runnerID = 61000
	alice    = 61001
	bob      = 65534
	root     = 0
)

// binary is the environment variable with the program, which TestMain builds once.
const binary = "SENDMAIL_BINARY"

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "sendmail-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program := filepath.Join(dir, "sendmail")
		if out, err := exec.Command("go", "build", "-race", "-o", program, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
		if os.Chmod(dir, 0o755) != nil || os.Setenv(binary, program) != nil || os.Setenv("GORACE", "atexit_sleep_ms=0") != nil {
			return 1
		}
		return m.Run()
	}())
}

// machine is one with a mail host, on which sendmail is installed.
type machine struct {
	t      *testing.T
	dir    string
	config string
	mail   *smtptest.Host
	stop   func() // the mail host
}

// newMachine has mail.example.com for example.com. more is added to the configuration.
func newMachine(t *testing.T, more ...string) *machine {
	t.Helper()
	return newMachineWhere(t, nil, more...)
}

// newMachineWhere has a mail host with a script.
func newMachineWhere(t *testing.T, script []smtptest.Cue, more ...string) *machine {
	t.Helper()
	dir, err := os.MkdirTemp("", "sendmail-") //nolint:usetesting // others cannot enter that of t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &machine{t: t, dir: dir, config: filepath.Join(dir, "sendmail.conf")}
	m.mail = &smtptest.Host{Name: "mail.example.com", Extensions: []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE 50000000"}, Script: script}
	dns := &mxtest.Server{DNS: &mxtest.DNS{Zone: "example.com. MX 10 mail.example.com.\nhost.example. MX 10 mail.example.com.\nmail.example.com. A 127.0.0.1\n"}}
	if err := dns.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dns.Close() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.stop = serve(m.mail, l)
	t.Cleanup(func() { m.stop() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	text := "# a comment\n\ndomain = host.example\nstate = " + dir + "/state\nsocket = " + dir + "/run/submit\n" +
		"dns = " + dns.Addr() + "\nport = " + port + "\nloopback = true\nhelo = host.example\ntls = none\n" + strings.Join(more, "\n") + "\n"
	for name, mode := range map[string]os.FileMode{"state": 0o711, "run": 0o755} {
		if err := os.Mkdir(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dir, name), runnerID, runnerID); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return m
}

func serve(h *smtptest.Host, l net.Listener) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { h.Serve(ctx, conn) })
		}
	})
	return sync.OnceFunc(func() {
		l.Close()
		cancel()
		serving.Wait()
	})
}

// command is the program as a user calls it, in an environment like cron's.
func (m *machine) command(uid int, name string, args ...string) *exec.Cmd {
	c := exec.Command(os.Getenv(binary), args...)
	c.Args[0] = name
	c.Dir = "/"
	c.Env = []string{"HOME=/", "LOGNAME=somebody", "SHELL=/bin/sh", "PATH=/usr/bin:/bin", prefix + "CONFIG=" + m.config, "GORACE=atexit_sleep_ms=0"}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}, Pdeathsig: syscall.SIGKILL}
	return c
}

// call calls it with a message, and gives what it prints and its exit code.
func (m *machine) call(uid int, message string, args ...string) (out string, code int) {
	m.t.Helper()
	c := m.command(uid, "/usr/sbin/sendmail", args...)
	c.Stdin = strings.NewReader(message)
	b, _ := c.CombinedOutput()
	return string(b), c.ProcessState.ExitCode()
}

// send is call for what must be taken.
func (m *machine) send(uid int, message string, args ...string) {
	m.t.Helper()
	if out, code := m.call(uid, message, args...); code != 0 || out != "" {
		m.t.Errorf("sendmail %q of user %d: exit code %d, %s", args, uid, code, out)
	}
}

// running is a queue runner.
type running struct {
	*exec.Cmd
	t    *testing.T
	mu   sync.Mutex
	log  bytes.Buffer
	read sync.WaitGroup
}

// start starts the runner of the machine.
func (m *machine) start() *running {
	m.t.Helper()
	r := &running{Cmd: m.command(runnerID, "/usr/sbin/sendmail", "-bd"), t: m.t}
	pipe, err := r.StderrPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		_ = r.Process.Kill()
		r.read.Wait()
		_ = r.Wait()
		if m.t.Failed() {
			m.t.Logf("the runner: %s", r.said())
		}
	})
	ready := make(chan bool, 1)
	r.read.Go(func() {
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			r.mu.Lock()
			fmt.Fprintln(&r.log, lines.Text())
			r.mu.Unlock()
			if strings.HasPrefix(lines.Text(), "listening ") {
				ready <- true
			}
		}
		close(ready)
		_, _ = io.Copy(io.Discard, pipe)
	})
	if !<-ready {
		m.t.Fatalf("the runner does not listen: %s", r.said())
	}
	return r
}

func (r *running) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

// end is SIGTERM; the exit code must be 0.
func (r *running) end() {
	r.t.Helper()
	_ = r.Process.Signal(syscall.SIGTERM)
	r.read.Wait()
	if err := r.Wait(); err != nil {
		r.t.Errorf("the runner ends with %v: %s", err, r.said())
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(soon); !holds(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", soon, what)
		}
	}
}

// arrives waits for the next message, number n from 1, and gives it with its content.
func (m *machine) arrives(n int) (message smtptest.Message, content string) {
	m.t.Helper()
	eventually(m.t, fmt.Sprintf("message %d arrives", n), func() bool { return len(m.mail.Messages()) >= n })
	message = m.mail.Messages()[n-1]
	return message, string(message.Content)
}

// files are the names in a directory of the state.
func (m *machine) files(name string) (list []string) {
	m.t.Helper()
	entries, err := os.ReadDir(filepath.Join(m.dir, "state", name))
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}
