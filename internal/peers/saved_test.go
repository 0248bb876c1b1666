//go:build linux

package peers_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// TestSaved watches the relay's system calls: when it answers 250 to a message, the
// system has been told to save every octet of the spool that was written, and the
// directory since a file was made in it.
func TestSaved(t *testing.T) {
	t.Run("QUE-2 what is answered 250 is on the device", answerSaved)
}

func answerSaved(t *testing.T) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	program := filepath.Join(os.Getenv(builtPath), "relay")
	binary, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	s := &peers.Server{
		Package: "strace", Files: map[string]string{"/srv/relay": string(binary)},
		Before: [][]string{{"/bin/chmod", "0755", "/srv/relay"}},
		Command: []string{
			"/usr/bin/strace", "-f", "-y", "-s", "512", "-o", "/srv/calls", "-e", "trace=write,pwrite64,fdatasync,fsync,openat,renameat,renameat2,rename",
			"/srv/relay", "-listen", addr, "-queue", "/srv/queue", "-helo", "relay.e.test", "-dns", "127.0.0.9:9",
		},
		Listen: addr,
	}
	s.Start(t)
	table, err := smarthost.Via("smtp://" + addr + "?tls=none")
	if err != nil {
		t.Fatal(err)
	}
	client := &delivery.Sender{Hello: "client.e.test", Router: table, TLS: mx.TLSNone}
	defer client.Close()
	const small, large = 5, 3
	for n := range small + large {
		m := &queue.Message{From: "a@from.test", Recipients: []queue.Recipient{{Address: "u@e.test"}}, Content: queue.String(text)}
		if n >= small { // in a file of its own
			m.Content = queue.String(text + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 10_000))
		}
		if _, err := client.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	client.Close()
	var answers int
	peers.Eventually(t, "the calls are written down", func() bool {
		calls, err := os.ReadFile(s.Path("/srv/calls"))
		if err != nil {
			return false
		}
		var unsaved []string
		answers, unsaved = answered(string(calls))
		for _, u := range unsaved {
			t.Error(u)
		}
		return answers == small+large || t.Failed()
	})
}

// answered reads what strace has written: how often a message was answered 250, and
// what was not saved then.
func answered(calls string) (answers int, unsaved []string) {
	call := regexp.MustCompile(`^(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed)(.*)$`)
	file := regexp.MustCompile(`<(/srv/queue[^>]*)>`)
	dirty := make(map[string]bool)       // written to and not saved, or a directory with a new name
	beginning := make(map[string]string) // a call under way, by process
	for line := range strings.Lines(calls) {
		m := call.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		process, name, rest := m[1], m[2], m[3]
		if strings.Contains(rest, "<unfinished ...>") {
			beginning[process] = rest
			if name == "fdatasync" || name == "fsync" {
				continue // it counts when it is done
			}
		} else if strings.Contains(line, "resumed>") {
			rest = beginning[process] + rest
		}
		path := ""
		if f := file.FindStringSubmatch(rest); f != nil {
			path = f[1]
		}
		switch {
		case (name == "fdatasync" || name == "fsync") && strings.Contains(line, "= 0"):
			delete(dirty, path)
		case (name == "write" || name == "pwrite64") && strings.HasPrefix(path, "/srv/queue/segment"),
			(name == "write" || name == "pwrite64") && strings.HasPrefix(path, "/srv/queue/content"):
			dirty[path] = true
		case name == "openat" && strings.Contains(rest, "O_EXCL") && path != "":
			dirty["/srv/queue"] = true
		case name == "write" && strings.Contains(rest, `250 2.0.0 queued as`) && !strings.Contains(line, "resumed>"):
			answers++
			for path := range dirty {
				unsaved = append(unsaved, fmt.Sprintf("answer %d: %s is not saved", answers, path))
			}
		}
	}
	slices.Sort(unsaved)
	return answers, unsaved
}
