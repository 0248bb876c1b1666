package main

import (
	"bytes"
	"crypto/tls"
	"debug/elf"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSettingsInTheEnvironment: each flag may stand there, and the command line goes before.
func TestSettingsInTheEnvironment(t *testing.T) {
	w := newWorld(t, zone)
	mail := modern("mail.example.com")
	w.start("127.0.0.2", mail)
	dir := filepath.Join(t.TempDir(), "queue")
	p := &process{t: t}
	c := command("-helo", "relay.example.net")
	c.Env = append(os.Environ(), "NEXTHOP_LISTEN=127.0.0.1:0", "NEXTHOP_QUEUE="+dir, "NEXTHOP_DNS="+w.dns.Addr(), "NEXTHOP_PORT="+w.port,
		"NEXTHOP_LOOPBACK=true", "NEXTHOP_HELO=other.example.net", "NEXTHOP_RELAY_DOMAIN=example.com  .example.net", "NEXTHOP_TRUST=192.0.2.1",
		"NEXTHOP_RETRYY=1h", "NEXTHOP_SERVICE_HOST=10.0.0.1", "NEXTHOP_PORT_25_TCP=tcp://10.0.0.1:25")
	p.launch(c)
	s := p.client("127.0.0.1")
	if _, err := submit(t, s, "by environment", "b@example.com"); err != nil {
		t.Error(err)
	}
	if _, err := submit(t, s, "to others", "b@other.example"); err == nil {
		t.Error("it relays for clients that are not trusted")
	}
	eventually(t, "the message arrives", func() bool { return len(mail.Messages()) == 1 })
	if got := mail.Messages()[0].Hello; got != "relay.example.net" {
		t.Errorf("it calls itself %q, want what the command line says", got)
	}
	eventually(t, "it names the unknown setting", func() bool { return strings.Contains(p.errs.String(), "relay: unknown setting NEXTHOP_RETRYY\n") })
	if said := p.errs.String(); strings.Contains(said, "SERVICE_HOST") || strings.Contains(said, "_TCP") {
		t.Errorf("of what Kubernetes sets it says %q", said)
	}
	q := command("queue", "list")
	q.Env = append(os.Environ(), "NEXTHOP_QUEUE="+dir, "NEXTHOP_MATCH=domain=example.com")
	if out, err := q.CombinedOutput(); err != nil {
		t.Errorf("relay queue: %v, %s", err, out)
	}
	for name, s := range map[string]struct{ value, says string }{
		"NEXTHOP_RETRY":        {"often", `-retry "often"`},
		"NEXTHOP_CONCURRENCY":  {"secret", "NEXTHOP_CONCURRENCY: want a number"},
		"NEXTHOP_MAX_SIZE":     {"secret", "NEXTHOP_MAX_SIZE: want a number"},
		"NEXTHOP_CHECK_ROUTES": {"secret", "NEXTHOP_CHECK_ROUTES: want true or false"},
		"NEXTHOP_EXPIRE":       {"secret", "NEXTHOP_EXPIRE: want a duration such as 30s"},
		"NEXTHOP_SMARTHOST":    {"smtp://u:secret@h?tls=may", "tls=may is not allowed"},
	} {
		c := command("-queue", "memory")
		c.Env = append(os.Environ(), name+"="+s.value)
		out, _ := c.CombinedOutput()
		if c.ProcessState.ExitCode() != 64 || strings.Contains(string(out), "secret") || !strings.Contains(string(out), s.says) {
			t.Errorf("%s=%s: exit code %d, %s", name, s.value, c.ProcessState.ExitCode(), out)
		}
	}
}

// supervisor is what systemd hears from a service.
type supervisor struct {
	*net.UnixConn
	t *testing.T
}

func supervise(t *testing.T) *supervisor {
	t.Helper()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &supervisor{l, t}
}

func (s *supervisor) next() string {
	s.t.Helper()
	b := make([]byte, 4096)
	_ = s.SetReadDeadline(time.Now().Add(soon))
	n, err := s.Read(b)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b[:n])
}

// TestServiceOfSystemd: it says when it takes mail, when it reads its files again, that it
// lives, and that it stops.
func TestServiceOfSystemd(t *testing.T) {
	s := supervise(t)
	c := command("-listen", "127.0.0.1:0", "-queue", "memory", "-helo", "relay.example.net")
	c.Env = append(os.Environ(), "NOTIFY_SOCKET="+s.LocalAddr().String(), "WATCHDOG_USEC=300000")
	p := &process{t: t}
	p.launch(c)
	if got, want := s.next(), "READY=1\nSTATUS=taking mail at "+p.addr.String(); got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	if got := s.next(); got != "WATCHDOG=1" {
		t.Errorf("it says %q, want WATCHDOG=1", got)
	}
	_ = p.Process.Signal(syscall.SIGHUP)
	said := ""
	for !strings.Contains(said, "READY=1") {
		said += s.next() + "|"
	}
	if !regexp.MustCompile(`RELOADING=1\nMONOTONIC_USEC=[1-9]\d+\|.*READY=1\|$`).MatchString(said) {
		t.Errorf("at SIGHUP it says %q", said)
	}
	_ = p.Process.Signal(syscall.SIGTERM)
	for said = ""; !strings.Contains(said, "STOPPING=1"); {
		said += s.next()
	}
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestSocketsOfSystemd: it takes those that systemd has opened, for mail, for mail with TLS
// and for the dashboard, and clients that connect while it does not run wait for it.
func TestSocketsOfSystemd(t *testing.T) {
	var files []*os.File
	var addrs []string
	for range 4 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files, addrs = append(files, f), append(addrs, l.Addr().String())
	}
	early, err := net.Dial("tcp", addrs[1])
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	cert, key, config := keyFiles(t)
	c := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, os.Getenv("RELAY_BINARY"), "-queue", "memory", "-helo", "relay.example.net", "-cert", cert, "-key", key)
	c.Env = append(os.Environ(), "LISTEN_FDS=4", "LISTEN_FDNAMES=nexthop-relay.socket:nexthop-relay.socket:smtps:http")
	c.ExtraFiles = files
	p := &process{t: t}
	p.launch(c)
	p.addr = netip.MustParseAddrPort(addrs[0])
	greeting := func(conn net.Conn) string {
		b := make([]byte, 4)
		_ = conn.SetDeadline(time.Now().Add(soon))
		_, _ = conn.Read(b)
		return string(b)
	}
	if got := greeting(early); got != "220 " {
		t.Errorf("who came before it hears %q", got)
	}
	first, err := net.Dial("tcp", addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if got := greeting(first); got != "220 " {
		t.Errorf("the first socket says %q", got)
	}
	secure, err := tls.Dial("tcp", addrs[2], config)
	if err != nil {
		t.Fatal(err)
	}
	defer secure.Close()
	if got := greeting(secure); got != "220 " {
		t.Errorf("the socket with TLS says %q", got)
	}
	r, err := http.Get("http://" + addrs[3] + "/healthz")
	if err != nil || r.StatusCode != http.StatusOK {
		t.Errorf("the socket for HTTP: %v, %v", r, err)
	} else {
		r.Body.Close()
	}
	p.stop()
	late, err := net.Dial("tcp", addrs[0])
	if err != nil {
		t.Errorf("while it does not run: %v", err)
	} else {
		late.Close()
	}
}

// TestUnits: systemd takes the unit files, and calls the service well confined.
func TestUnits(t *testing.T) {
	dir := t.TempDir()
	var units []string
	for _, name := range []string{"nexthop-relay.service", "nexthop-relay.socket", "nexthop-relay-tls.socket"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if name == "nexthop-relay.service" {
			program := "ExecStart=/usr/local/bin/nexthop-relay\n"
			if !bytes.Contains(text, []byte(program)) {
				t.Errorf("the service has not %s", program)
			}
			text = bytes.Replace(text, []byte(program), []byte("ExecStart="+os.Getenv("RELAY_BINARY")+"\n"), 1)
		}
		units = append(units, filepath.Join(dir, name))
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, units...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=15", units[0]).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// TestContainer: what the Containerfile builds needs no other file, and its variables are
// settings.
func TestContainer(t *testing.T) {
	text, err := os.ReadFile("Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	build := regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build .*) -o /out/relay (\S+)$`).FindSubmatch(text)
	if build == nil {
		t.Fatal("it builds no program")
	}
	program := filepath.Join(t.TempDir(), "relay")
	c := exec.Command("sh", "-c", string(build[1])+" -o "+program+" "+string(build[2]))
	c.Dir = "../.."
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("it needs %v (%v)", libraries, err)
	}
	out, err := exec.Command(program, "-version").Output()
	if err != nil || !strings.HasPrefix(string(out), "relay of nexthop ") || !strings.HasSuffix(string(out), ")\n") {
		t.Errorf("its version is %q (%v)", out, err)
	}
	for _, m := range regexp.MustCompile(`\b(NEXTHOP_[A-Z_]+)=(\S+)`).FindAllSubmatch(text, -1) {
		flag := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(string(m[1]), "NEXTHOP_")), "_", "-")
		if out, err := exec.Command(program, "-"+flag, string(m[2]), "-version").CombinedOutput(); err != nil {
			t.Errorf("%s: %v, %s", m[0], err, out)
		}
	}
}
