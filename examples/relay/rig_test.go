package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// soon is how long a test waits for what must happen: long enough for any machine.
const soon = 60 * time.Second

// TestMain builds the program once, with the race detector as its tests are.
func TestMain(m *testing.M) {
	becomeCalled()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "relay-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary := filepath.Join(dir, "relay")
		if out, err := exec.Command("go", "build", "-race", "-o", binary, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
		// A program with the race detector sleeps a second before it ends otherwise.
		for name, value := range map[string]string{"RELAY_BINARY": binary, "GORACE": "atexit_sleep_ms=0"} {
			if err := os.Setenv(name, value); err != nil {
				return 1
			}
		}
		return m.Run()
	}())
}

// world is DNS and mail hosts on loopback, all on one port.
type world struct {
	t    *testing.T
	dns  *mxtest.Server
	port string
}

func newWorld(t *testing.T, zone string) *world {
	t.Helper()
	w := &world{t: t, dns: &mxtest.Server{DNS: &mxtest.DNS{Zone: zone}}}
	if err := w.dns.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.dns.Close() })
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	_, w.port, _ = net.SplitHostPort(free.Addr().String())
	return w
}

// start puts a host on an address; stop takes it away.
func (w *world) start(ip string, h *smtptest.Host) (stop func()) {
	w.t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, w.port))
	if err != nil {
		w.t.Fatal(err)
	}
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
	stop = sync.OnceFunc(func() {
		l.Close()
		cancel()
		serving.Wait()
	})
	w.t.Cleanup(stop)
	return stop
}

// text is what a process writes, which others may read meanwhile.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (x *text) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.buf.Write(p)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.buf.String()
}

// process is a relay that runs.
type process struct {
	*exec.Cmd
	t      *testing.T
	addr   netip.AddrPort
	http   string
	out    bytes.Buffer
	errs   text
	reader sync.WaitGroup // of errs
}

func command(args ...string) *exec.Cmd { return exec.Command(os.Getenv("RELAY_BINARY"), args...) }

// relay starts one in the world and waits until it accepts.
func (w *world) relay(args ...string) *process {
	w.t.Helper()
	p := &process{t: w.t}
	p.launch(command(append([]string{
		"-listen", "127.0.0.1:0", "-dns", w.dns.Addr(), "-port", w.port, "-loopback", "-helo", "relay.example.net", "-self", "mx2.example.com",
	}, args...)...))
	return p
}

// launch starts a command that is a relay.
func (p *process) launch(c *exec.Cmd) {
	p.t.Helper()
	p.Cmd = c
	if p.Stdout == nil {
		p.Stdout = &p.out
	}
	pipe, err := p.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { p.kill() })
	from := bufio.NewReader(pipe)
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			break
		}
		_, _ = io.WriteString(&p.errs, line)
		line = strings.TrimSuffix(line, "\n")
		if addr, ok := strings.CutPrefix(line, "http "); ok {
			p.http = "http://" + addr
		}
		if addr, ok := strings.CutPrefix(line, "listening "); ok {
			p.addr = netip.MustParseAddrPort(addr)
			p.reader.Go(func() { _, _ = io.Copy(&p.errs, from) })
			return
		}
	}
	p.t.Fatalf("the relay does not listen: %v\n%s", p.Wait(), p.errs.String())
}

// end waits for the process and gives its exit code.
func (p *process) end() int {
	p.reader.Wait()
	_ = p.Wait()
	return p.ProcessState.ExitCode()
}

func (p *process) kill() {
	if p.ProcessState == nil {
		_ = p.Process.Kill()
		p.end()
	}
}

// stop is SIGTERM; the exit code must be 0.
func (p *process) stop() {
	p.t.Helper()
	began := time.Now()
	_ = p.Process.Signal(os.Interrupt)
	if code := p.end(); code != 0 || time.Since(began) > 30*time.Second {
		p.t.Errorf("exit code %d after %v, want 0 within 30 s\n%s", code, time.Since(began), p.errs.String())
	}
}

// queue is "relay queue" on a directory: what it prints and its exit code.
func queueCommand(dir string, words ...string) (out, errs string, code int) {
	c := command(append([]string{"queue", "-queue", dir}, words...)...)
	var o, e bytes.Buffer
	c.Stdout, c.Stderr = &o, &e
	_ = c.Run()
	return o.String(), e.String(), c.ProcessState.ExitCode()
}

// client is a Sender that hands everything to a relay.
func (p *process) client(from string) *delivery.Sender {
	s := &delivery.Sender{
		Hello: "client.example.org", Router: handOver(p.addr), TLS: mx.TLSNone,
		Source: []netip.Addr{netip.MustParseAddr(from)},
	}
	p.t.Cleanup(func() { s.Close() })
	return s
}

// handOver is the Router of a client whose only way is a relay.
type handOver netip.AddrPort

func (h handOver) Route(context.Context, string, string) (mx.Route, error) {
	addr := netip.AddrPort(h)
	return mx.Route{Via: mx.ViaSmartHost, Hosts: []mx.Host{{
		Name: "relay.example.net", Target: "relay.example.net", Port: addr.Port(), Addrs: []netip.Addr{addr.Addr()},
	}}}, nil
}

// submit sends a message through a client.
func submit(t *testing.T, s *delivery.Sender, text string, to ...string) (*delivery.Report, error) {
	t.Helper()
	m := &queue.Message{From: "alice@example.org", Content: queue.String("Subject: " + text + "\r\n\r\n" + text + "\r\n")}
	for _, r := range to {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: r})
	}
	return s.Send(t.Context(), m)
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

// subjects lists the subjects of what a host has taken.
func subjects(h *smtptest.Host) (list []string) {
	for _, m := range h.Messages() {
		list = append(list, subject(m.Content))
	}
	return list
}

func subject(content []byte) string {
	_, rest, _ := bytes.Cut(content, []byte("Subject: "))
	line, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return string(line)
}
