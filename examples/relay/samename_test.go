package main

import (
	"encoding/base32"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// TestRelaysOfOneName: a relay passes mail on to another relay, or to a server of another
// kind, on the same machine, though all give the same name.
func TestRelaysOfOneName(t *testing.T) {
	w := newWorld(t, zone)
	last := &smtptest.Host{Name: "relay.example.net"}
	w.start("127.0.0.7", last)
	second := w.relay("-queue", t.TempDir(), "-smarthost", "smtp://"+net.JoinHostPort("127.0.0.7", w.port))
	first := w.relay("-queue", t.TempDir(), "-smarthost", "smtp://"+second.addr.String())
	arrives(t, first, last, "through both", "b@example.com")
	first.stop()
	second.stop()
}

// arrives sends a message through a relay and waits until a host has it.
func arrives(t *testing.T, r *process, h *smtptest.Host, text, to string) {
	t.Helper()
	if _, err := submit(t, r.client("127.0.0.1"), text, to); err != nil {
		t.Fatal(err)
	}
	eventually(t, text+" arrives", func() bool { return slices.Contains(subjects(h), text) })
}

// forward passes connections on to a relay that is started later.
type forward struct {
	net.Listener
	to      chan string
	serving sync.WaitGroup
}

func newForward(t *testing.T) *forward {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &forward{Listener: l, to: make(chan string, 1)}
	f.serving.Go(func() {
		to := <-f.to
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			f.serving.Go(func() { pipe(in, out) })
		}
	})
	t.Cleanup(func() {
		close(f.to)
		l.Close()
		f.serving.Wait()
	})
	return f
}

func pipe(a, b net.Conn) {
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].Close()
		})
	}
	both.Wait()
}

// TestForwardedToItself: a smart host that is the relay itself behind another port, or
// another relay of its queue's, is a loop, which is found before a second copy is made.
func TestForwardedToItself(t *testing.T) {
	for name, where := range map[string]string{"QUE-19 a directory": t.TempDir(), "QUE-19 in memory": inMemory} {
		t.Run(name, func(t *testing.T) {
			w, f, events := newWorld(t, zone), newForward(t), filepath.Join(t.TempDir(), "events")
			r := w.relay("-queue", where, "-events", events, "-smarthost", "smtp://"+f.Addr().String())
			f.to <- r.addr.String()
			if _, err := submit(t, r.client("127.0.0.1"), "around", "b@example.com"); err != nil {
				t.Fatal(err)
			}
			var text []byte
			eventually(t, "it fails", func() bool {
				text, _ = os.ReadFile(events)
				return strings.Contains(string(text), `"event":"failed"`)
			})
			if got := string(text); !strings.Contains(got, `"enhanced":"5.4.6"`) || strings.Count(got, `"event":"queued"`) > 2 {
				t.Errorf("the events are\n%s\nwant a loop, of one message and its report", got)
			}
			r.stop()
		})
	}
}

// TestMarkOfQueues: the relays of a queue have one mark, however they name it, and those of
// other queues have others. No mark has a password in it.
func TestMarkOfQueues(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	const db = "postgres://nexthop:secret@db.example.net/mail"
	for _, same := range [][2]string{
		{"queue", filepath.Join(dir, "queue")},
		{"queue", "./queue/"},
		{db, "postgres://other:word@db.example.net:5432/mail"},
		{"postgres://localhost/mail", "postgres://127.0.0.1/mail"},
		{"postgres://localhost/mail", "postgres://[::1]:5432/mail"},
	} {
		if a, b := markOf("here", same[0]), markOf("here", same[1]); a != b || a == "" {
			t.Errorf("%s has the mark %q, and %s %q", same[0], a, same[1], b)
		}
	}
	for where, own := range map[string]bool{
		"queue": true, db: false, "postgres://localhost/mail": true, "postgres://[::1]/mail": true, "postgres:///mail?host=%2Frun%2Fpostgresql": true,
	} {
		if markOf("here", where) == markOf("there", where) == own {
			t.Errorf("%s is another queue on each machine: want %t", where, own)
		}
	}
	seen := make(map[string]string)
	for _, where := range []string{"queue", "queue2", db, db + "2", db + "?schema=other", inMemory, "postgres://%", "other://x"} {
		mark := markOf("here", where)
		if other, ok := seen[mark]; ok {
			t.Errorf("%s and %s have the same mark", where, other)
		}
		if seen[mark] = where; strings.ContainsFunc(mark, func(c rune) bool { return c <= ' ' || c > '~' }) || mark == "" {
			t.Errorf("%s has the mark %q, which is no word", where, mark)
		}
		if _, err := base32.StdEncoding.DecodeString(mark); where == db && err != nil {
			t.Errorf("the mark of a database is %q", mark)
		}
	}
	if one, other := markOf("here", inMemory), markOf("here", inMemory); one == other {
		t.Error("two queues in memory have the same mark")
	}
}
