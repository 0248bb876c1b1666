package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestCommandsOfRoot: root looks into the queue of a relay that has no such rights, and
// changes it, while the relay does not run. The relay can open what was left.
func TestCommandsOfRoot(t *testing.T) {
	w := newWorld(t, zone)
	dir := filepath.Join(t.TempDir(), "queue")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	user := os.Getuid()
	if user == 0 {
		user = 65534
		for at := dir; at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
			if err := os.Chmod(at, 0o755); err != nil { // for the other user to get there
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Dir(os.Getenv("RELAY_BINARY")), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, user, user); err != nil {
			t.Fatal(err)
		}
	}
	start := func() *process {
		t.Helper()
		c := command("-listen", "127.0.0.1:0", "-dns", w.dns.Addr(), "-port", w.port, "-loopback", "-helo", "relay.example.net", "-queue", dir, "-retry", "1h")
		if os.Getuid() == 0 {
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}}
		}
		r := &process{t: t}
		r.launch(c)
		return r
	}
	if _, errs, code := queueCommand(dir, "list"); code != 0 {
		t.Fatalf("listing a directory that was never used: %d, %s", code, errs)
	}
	r := start()
	if _, err := submit(t, r.client("127.0.0.1"), "x", "b@example.com"); err != nil {
		t.Fatal(err)
	}
	id := ""
	eventually(t, "it waits", func() bool {
		out, _, _ := queueCommand(dir, "list", "-json")
		_, rest, _ := strings.Cut(out, `"id":"`)
		id, _, _ = strings.Cut(rest, `"`)
		return id != ""
	})
	for _, words := range [][]string{{"hold", id}, {"release", id}, {"flush"}, {"show", id}, {"list"}, {"drop", id}} {
		r.stop()
		if _, errs, code := queueCommand(dir, words...); code != 0 {
			t.Fatalf("%v: %d, %s", words, code, errs)
		}
		r = start()
	}
	r.stop()
}

// TestNamesThatAreNoHelloNames: on a machine with a name that is none for EHLO the
// relay starts, and gives its address.
func TestNamesThatAreNoHelloNames(t *testing.T) {
	for _, name := range []string{"my_host", "app_1.internal", "sim-app-5b8f7d9c4-x2k9q", "localhost"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, zone)
			com := modern("mail.example.com")
			w.start("127.0.0.2", com)
			c := command("-listen", "127.0.0.1:0", "-dns", w.dns.Addr(), "-port", w.port, "-loopback", "-queue", inMemory)
			c.Args = append([]string{os.Args[0], name}, c.Args...)
			c.Path, c.Env = os.Args[0], append(os.Environ(), "RELAY_TEST_CALLED="+name)
			c.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWUTS,
				UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
			}
			r := &process{t: t}
			r.launch(c)
			if _, err := submit(t, r.client("127.0.0.1"), "x", "b@example.com"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is delivered", func() bool { return len(com.Messages()) == 1 })
			if got := com.Messages()[0].Hello; got != "[127.0.0.1]" {
				t.Errorf("EHLO %s, want the address", got)
			}
			r.stop()
		})
	}
}

// TestEventsIntoAFIFO: a named pipe that nobody reads does not keep the relay from
// starting, nor from delivering.
func TestEventsIntoAFIFO(t *testing.T) {
	w := newWorld(t, zone)
	com := modern("mail.example.com")
	w.start("127.0.0.2", com)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r := w.relay("-queue", inMemory, "-events", fifo)
	if _, err := submit(t, r.client("127.0.0.1"), "x", "b@example.com"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is delivered", func() bool { return len(com.Messages()) == 1 })
	_ = r.Process.Signal(syscall.SIGHUP)
	if _, err := submit(t, r.client("127.0.0.1"), "x", "b@example.com"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is delivered", func() bool { return len(com.Messages()) == 2 })
	r.stop()
}
