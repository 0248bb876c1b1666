package main

import (
	"bytes"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// socketOf returns a listener's socket, to be passed on.
func socketOf(t *testing.T, network, address string) (*os.File, net.Addr) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, l.Addr()
}

// withSockets is a relay that systemd starts with sockets of these names.
func withSockets(names string, files []*os.File, args ...string) *exec.Cmd {
	c := exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, os.Getenv("RELAY_BINARY"), "-queue", "memory", "-helo", "relay.example.net"}, args...)...)
	c.Env = append(os.Environ(), "LISTEN_FDS="+string(rune('0'+len(files))), "LISTEN_FDNAMES="+names)
	c.ExtraFiles = files
	return c
}

// TestSocketsOfEachKind: no socket that systemd passes is accepted and then not served.
func TestSocketsOfEachKind(t *testing.T) {
	mail, mailAddr := socketOf(t, "tcp", "127.0.0.1:0")
	path := filepath.Join(t.TempDir(), "socket")
	unix, _ := socketOf(t, "unix", path)
	first, firstAddr := socketOf(t, "tcp", "127.0.0.1:0")
	second, secondAddr := socketOf(t, "tcp", "127.0.0.1:0")
	t.Run("HTTP on several, on which the dashboard may act", func(t *testing.T) {
		p := &process{t: t}
		p.launch(withSockets("smtp:http:http", []*os.File{mail, first, second}, "-actions"))
		p.addr = netip.MustParseAddrPort(mailAddr.String())
		for _, at := range []net.Addr{firstAddr, secondAddr} {
			client := http.Client{Timeout: soon}
			r, err := client.Get("http://" + at.String() + "/healthz")
			if err != nil || r.StatusCode != http.StatusOK {
				t.Errorf("%s: %v, %v", at, r, err)
				continue
			}
			r.Body.Close()
		}
		client := p.client("127.0.0.1")
		if _, err := submit(t, client, "s", "b@example.com"); err != nil {
			t.Error(err)
		}
		p.stop()
	})
	for name, c := range map[string]struct {
		names string
		files []*os.File
		args  []string
		code  int
		want  string
	}{
		"mail on a Unix socket":      {"smtp:x", []*os.File{mail, unix}, nil, 78, path},
		"TLS on a Unix socket":       {"smtps", []*os.File{unix}, nil, 78, path},
		"actions on a Unix socket":   {"smtp:http", []*os.File{mail, unix}, []string{"-actions"}, 64, "loopback"},
		"actions without any socket": {"smtp", []*os.File{mail}, []string{"-actions"}, 64, "-http"},
	} {
		t.Run(name, func(t *testing.T) {
			var errs bytes.Buffer
			cmd := withSockets(c.names, c.files, c.args...)
			cmd.Stderr = &errs
			_ = cmd.Run()
			if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(errs.String(), c.want) {
				t.Errorf("exit code %d, want %d, and that it says %q: %s", code, c.code, c.want, errs.String())
			}
		})
	}
}
