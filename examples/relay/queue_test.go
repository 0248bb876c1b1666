package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

// TestQueueCommands runs every command on a queue whose relay runs and on one whose
// relay does not, in a directory with a path too long for a socket: the answers are
// the same.
func TestQueueCommands(t *testing.T) {
	t.Parallel()
	t.Run("in a directory", func(t *testing.T) { testQueueCommands(t, filepath.Join(t.TempDir(), strings.Repeat("long", 30))) })
	t.Run("in a database", func(t *testing.T) { testQueueCommands(t, newDatabase(t).URL()) })
}

func testQueueCommands(t *testing.T, dir string) {
	w := newWorld(t, zone) // without a single mail host
	r := w.relay("-queue", dir, "-warn", "0")
	send := func(text string) {
		if _, err := submit(t, r.client("127.0.0.1"), text, "b@example.com", "c@example.com"); err != nil {
			t.Fatal(err)
		}
	}
	var list []entry
	send("first")
	eventually(t, "the first has been tried", func() bool {
		out, _, _ := queueCommand(dir, "list", "-json")
		return strings.Count(out, `"status":"deferred"`) == 2
	})
	send("second")
	send("third")
	out, _, _ := queueCommand(dir, "list", "-json")
	if list = entries(t, out); len(list) != 3 {
		t.Fatalf("three messages are listed as %s", out)
	}
	if info, err := os.Stat(filepath.Join(dir, controlSocket)); !isDatabase(dir) && (err != nil || info.Mode().Perm() != 0o600) {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	fields := `^\{"id":"[0-9a-z]+","from":"alice@example.org","size":\d+,"queued":"[^"]+","held":false,"recipients":\[` +
		`\{"address":"b@example.com","status":"deferred","attempts":\d+,"next":"[^"]+","last":"[^"]+"\},` +
		`\{"address":"c@example.com","status":"deferred","attempts":\d+,"next":"[^"]+","last":"[^"]+"\}\]\}\n`
	if out, _, _ := queueCommand(dir, "list", "-json"); !regexp.MustCompile(fields).MatchString(out) {
		t.Errorf("the list is %s", out)
	}
	first, second, third := list[0].ID, list[1].ID, list[2].ID
	steps := []struct {
		words []string
		out   string // an expression
		code  int
	}{
		{[]string{"hold", first}, "^" + first + " held\n$", 0},
		{[]string{"show", first, "-json"}, `"held":true`, 0},
		{[]string{"show", first}, "(?s)on hold.*refused", 0},
		{[]string{"-json", "release", first}, `^\{"id":"` + first + `","released":true\}\n$`, 0},
		{[]string{"show", first, "-json"}, `"held":false`, 0},
		{[]string{"show", "nosuch"}, `^$`, cli.ExitData},
		{[]string{"drop", "nosuch"}, `^$`, cli.ExitData},
		{[]string{"flush", "nobody.example", "-json"}, `^\{"flushed":0\}\n$`, 0},
	}
	for range 2 { // a relay that runs, then none
		for _, s := range steps {
			out, errs, code := queueCommand(dir, s.words...)
			if code != s.code || !regexp.MustCompile(s.out).MatchString(out) || code != 0 && !strings.HasPrefix(errs, "relay queue: ") {
				t.Errorf("%q: exit code %d, %q, %q; want %d, %s", s.words, code, out, errs, s.code, s.out)
			}
		}
		r.stop()
	}
	if out, _, code := queueCommand(dir, "drop", second); code != 0 || out != second+" dropped\n" {
		t.Errorf("drop: %d %q", code, out)
	}
	out, _, _ = queueCommand(dir, "list", "-json")
	if left := entries(t, out); len(left) != 2 || left[0].ID != first || left[1].ID != third || left[0].Recipients[0].Attempts < 1 {
		t.Errorf("after the relay's end and the drop: %s", out)
	}
}

func entries(t *testing.T, out string) (list []entry) {
	t.Helper()
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var e entry
		if err := d.Decode(&e); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		list = append(list, e)
	}
	return list
}

// TestSecondRelay: two relays never share a directory, and a socket that was left
// behind does no harm.
func TestSecondRelay(t *testing.T) {
	w := newWorld(t, zone)
	dir := t.TempDir()
	r := w.relay("-queue", dir)
	c := command("-listen", "127.0.0.1:0", "-queue", dir)
	out, _ := c.CombinedOutput()
	if code := c.ProcessState.ExitCode(); code != cli.ExitTempFail || !strings.Contains(string(out), "in use by relay, process ") {
		t.Errorf("a second relay: exit code %d, %s", code, out)
	}
	r.kill() // leaves its socket
	if _, err := net.Dial("unix", filepath.Join(dir, controlSocket)); err == nil {
		t.Fatal("the socket of a relay that is dead answers")
	}
	if _, errs, code := queueCommand(dir, "list"); code != 0 {
		t.Errorf("with a stale socket: %d %s", code, errs)
	}
	w.relay("-queue", dir).stop()
}

// TestCommandLine: what makes no sense is 64, what cannot work 78.
func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string // in what it prints
	}{
		{"-help", 0, "-relay-domain"},
		{"-nosuch", 64, "nosuch"},
		{"list", 64, "list"},
		{"-retry 5m,x", 64, "-retry"},
		{"-retry 0s", 64, "-retry"},
		{"-expire 5x", 64, "expire"},
		{"-expire 0", 64, "-expire"},
		{"-concurrency 0", 64, "-concurrency"},
		{"-max-size -1", 64, "-max-size"},
		{"-trust 127.0.0.1/99", 64, "-trust"},
		{"-relay-domain a..b", 64, "-relay-domain"},
		{"-queue mysql://x", 64, "mysql"},
		{"-queue postgres://u:hunter2@127.0.0.1:1/d", 75, "-queue"},
		{"-queue postgres://u:hunter2@127.0.0.1:x/d", 64, "%XX"},
		{"-queue postgres://u:hunter2@127.0.0.1:1/d?password=hunter2&schema=", 64, "schema="},
		{"-queue postgres://u:hunter2@127.0.0.1/d?sslmode=verify-full&sslrootcert=/nosuch", 78, "/nosuch"},
		{"-queue @/nosuch", 78, "/nosuch"},
		{"-queue @/dev/null", 64, "postgres://"},
		{"-lease 29s -queue memory", 64, "-lease"},
		{"-queue /dev/null/x", 78, "/dev/null"},
		{"-smarthost smtp://a:b:c", 64, "smarthost"},
		{"-cert x", 64, "-key"},
		{"-cert /dev/null -key /dev/null", 78, "-cert"},
		{"-events /dev/null/x -queue memory", 78, "-events"},
		{"-listen 192.0.2.1:1 -queue memory", 78, "-listen"},
		{"queue", 64, "command"},
		{"queue nosuch", 64, "nosuch"},
		{"queue list x", 64, "list"},
		{"queue show", 64, "id"},
		{"queue flush a..b", 64, "flush"},
		{"queue -queue memory list", 64, "memory"},
		{"queue -queue /nosuch list", 78, "/nosuch"},
		{"queue -queue postgres://u:hunter2@127.0.0.1:1/d list", 75, "-queue"},
		{"sites -queue postgres://u:hunter2@127.0.0.1:1/d", 75, "-queue"},
		{"tls-reports -queue postgres://u:hunter2@127.0.0.1:1/d", 75, "-queue"},
		{"migrate -queue postgres://u:hunter2@127.0.0.1:1/d", 75, "-queue"},
		{"migrate", 64, "-queue is missing"},
		{"migrate -queue ./queue", 64, "PostgreSQL"},
		{"migrate -queue postgres://u@h/d now", 64, "now"},
		{"queue drop a b", 64, "b"},
	} {
		t.Run(c.args, func(t *testing.T) {
			cmd := command(strings.Fields(c.args)...)
			cmd.Dir = t.TempDir()
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(out), c.want) {
				t.Errorf("exit code %d, want %d, and %q in:\n%s", code, c.code, c.want, out)
			}
			if strings.Contains(string(out), "hunter2") {
				t.Errorf("it prints the password:\n%s", out)
			}
		})
	}
}

// stubborn refuses or defers what its script says.
func stubborn(name string, script ...smtptest.Cue) *smtptest.Host {
	h := modern(name)
	h.Script = script
	return h
}
