//go:build linux

package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Server is a real server: a package, files, a command.
type Server struct {
	Package string            // its folder in .peers; empty: it needs none, or has it in Mounts
	More    []string          // further packages
	Users   []string          // users to be known, with a group each
	Dirs    map[string]Dir    // directories to make, by path
	Files   map[string]string // files to write, by path
	Recipe  string            // folder of recipes whose files are written first, with the words of Words replaced in them
	Words   []string          // a word, what takes its place, and so on
	Owner   map[string]string // owners of files other than root
	Before  [][]string        // commands to run first
	Command []string
	Listen  string            // host:port, or the path of a socket, that it accepts at once it is up
	Mounts  map[string]string // folders of the machine's, or of .peers by name, by the path where the server has them; nil: all its files lie in memory
	Logs    string            // directory of its log files, where it does not print its log

	root string
	cmd  *exec.Cmd
	log  syncBuffer
	done chan struct{}
}

// Dir is a directory to make.
type Dir struct {
	Owner string      // empty is root
	Mode  os.FileMode // 0 is 0755
}

// up is how long a server may take to accept connections.
const up = 20 * time.Second

// Start starts the server and waits until it accepts connections. It ends with
// the test. Its log is shown where the test failed.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.Unpack(t)
	s.run(t)
	t.Cleanup(func() { s.Stop() })
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", s.Package, s.Log())
		}
	})
	if err := s.await(); err != nil {
		t.Fatalf("peers: %s: %v\n%s", s.Package, err, s.Log())
	}
}

// Unpack makes the server's files without starting it, for programs that are not
// servers. They go with the test.
func (s *Server) Unpack(t testing.TB) {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	if err := s.build(dir); err != nil {
		t.Fatalf("peers: %s: %v", s.Package, err)
	}
	for _, args := range s.Before {
		if out, err := s.chrooted(args).CombinedOutput(); err != nil {
			t.Fatalf("peers: %v: %v\n%s", args, err, out)
		}
	}
}

// Run runs a program among the server's files, and returns what it has printed. ctx
// ends it.
func (s *Server) Run(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	cmd := s.chrooted(args)
	cmd.Stdin = stdin
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	var out syncBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	err := cmd.Wait()
	return out.String(), err
}

// run starts the command as the first process of a namespace, so that all the
// server's processes end with it.
func (s *Server) run(t testing.TB) {
	t.Helper()
	s.cmd = s.chrooted(s.Command)
	s.cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
	s.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("peers: %s: %v", s.Package, err)
	}
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait() // how it ended is in its log
	}()
}

// Stop kills the server and waits until it is gone. It may be called more than
// once.
func (s *Server) Stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.done
}

// Restart starts a server again that was stopped, with the files it left.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.run(t)
	if err := s.await(); err != nil {
		t.Fatalf("peers: %s: %v\n%s", s.Package, err, s.Log())
	}
}

// Log is what the server has printed, and its log files.
func (s *Server) Log() string {
	if s.Logs == "" {
		return s.log.String()
	}
	return s.log.String() + s.Mail(s.Logs)
}

// PIDs are the server's processes, those of its children included.
func (s *Server) PIDs() (pids []int, err error) {
	links, err := filepath.Glob("/proc/[0-9]*/root")
	if err != nil {
		return nil, err
	}
	for _, link := range links {
		root, err := os.Readlink(link)
		if err != nil || root != filepath.Clean(s.Path("/")) {
			continue // another's, or gone meanwhile
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// Path is where a path of the server's is for the test.
func (s *Server) Path(path string) string { return filepath.Join(s.root, path) }

// chrooted is a command in the server's file tree.
func (s *Server) chrooted(args []string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = "/"
	cmd.Path = args[0] // inside the tree, not looked up outside
	cmd.Err = nil
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin", "LC_ALL=C", "LD_LIBRARY_PATH=/usr/lib/postfix"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: s.root}
	return cmd
}

// await waits until the server accepts connections.
func (s *Server) await() error {
	deadline := time.NewTimer(up)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		network, address := "tcp", s.Listen
		if strings.HasPrefix(address, "/") {
			network, address = "unix", s.Path(address)
		}
		conn, err := net.DialTimeout(network, address, time.Second)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-s.done:
			return errors.New("it ended at once")
		case <-deadline.C:
			return fmt.Errorf("it does not listen: %w", err)
		}
	}
}

// Eventually waits until f returns true, for what a server does in its own time.
func Eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(up)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("peers: waited %v in vain for %s", up, what)
		}
	}
}

// Mail is all the files below a directory of the server's, joined: a mailbox, a
// Maildir, a folder of smtp-sink.
func (s *Server) Mail(dir string) string {
	var b strings.Builder
	_ = filepath.Walk(s.Path(dir), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err == nil {
				b.Write(data)
			}
		}
		return nil // what vanishes while it is read was not there
	})
	return b.String()
}

// syncBuffer is a buffer that is written and read at once.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
