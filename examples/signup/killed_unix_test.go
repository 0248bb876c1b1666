//go:build unix

package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

const soon = 60 * time.Second // for what must happen

// TestMain is the program itself, with a mail host of the test's, if a test has started it.
func TestMain(m *testing.M) {
	host, err := netip.ParseAddrPort(os.Getenv("SIGNUP_TEST_HOST"))
	if err != nil {
		os.Exit(m.Run())
	}
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	slog.Info("listening", "addr", listener.Addr().String())
	sender := &delivery.Sender{Hello: "app.example.org", AllowLoopback: true, Port: host.Port(), Resolver: &mxtest.DNS{
		Zone: "example.com. MX 10 mail.example.com.\nmail.example.com. A " + host.Addr().String(),
	}}
	if err := run(ctx, listener, os.Getenv("SIGNUP_TEST_DATA"), ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), sender); err != nil {
		panic(err)
	}
	os.Exit(0)
}

// process is the program, and the lines of its log.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	log chan map[string]any
	url string
}

func launch(t *testing.T, host, data string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0]), log: make(chan map[string]any, 100)}
	p.cmd.Env = append(os.Environ(), "SIGNUP_TEST_HOST="+host, "SIGNUP_TEST_DATA="+data, "GORACE=atexit_sleep_ms=0")
	out, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	go func() {
		defer close(p.log)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			line := map[string]any{"msg": lines.Text()}
			json.Unmarshal(lines.Bytes(), &line)
			p.log <- line
		}
	}()
	p.url = "http://" + p.wait("listening")["addr"].(string)
	return p
}

// wait returns the next line of the log with a message.
func (p *process) wait(msg string) map[string]any {
	p.t.Helper()
	for end := time.After(soon); ; {
		select {
		case line, ok := <-p.log:
			if line["msg"] == msg {
				return line
			}
			p.t.Log(line)
			if ok {
				continue
			}
			p.t.Fatalf("it ended, and did not say %q", msg)
		case <-end:
			p.t.Fatalf("it does not say %q", msg)
		}
	}
}

func (p *process) signUp(user string) {
	p.t.Helper()
	answer, err := http.PostForm(p.url+"/signup", url.Values{"user": {user}, "email": {user + "@example.com"}})
	if err != nil {
		p.t.Fatal(err)
	}
	if answer.Body.Close(); answer.StatusCode != http.StatusOK {
		p.t.Errorf("sign-up of %s: %s", user, answer.Status)
	}
}

// status returns what became of the mail to a user.
func (p *process) status(user string) string {
	p.t.Helper()
	answer, err := http.Get(p.url + "/status?user=" + user)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Error(err)
	}
	return string(text)
}

// TestKilled: mail that was promised survives a kill, and is sent once.
func TestKilled(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, data := silent.Addr().String(), t.TempDir()
	p := launch(t, addr, data)
	p.signUp("bob")
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Process.Kill() // while it waits for the greeting
	p.cmd.Wait()
	conn.Close()
	silent.Close()

	host := &smtptest.Host{}
	_, end, err := host.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	p = launch(t, addr, data)
	p.signUp("bob")
	line := p.wait("mail delivered")
	if who, _ := line["metadata"].(map[string]any); who["user"] != "bob" || line["recipient"] != "bob@example.com" {
		t.Errorf("the log has %v", line)
	}
	p.signUp("bob")
	p.signUp("carol")
	p.wait("mail delivered")
	numbers, err := http.Get(p.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(numbers.Body)
	numbers.Body.Close()
	if err != nil || !strings.Contains(string(text), "\nnexthop_events_total{event=\"delivered\"} 2\n") {
		t.Errorf("the metrics are %v\n%s", err, text)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for range p.log {
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	if got := host.Messages(); len(got) != 2 || got[0].To()[0] != "bob@example.com" || got[1].To()[0] != "carol@example.com" {
		t.Errorf("arrived: %v", got)
	}
	host.Check(t)
	p = launch(t, addr, data) // what became of mail is known after the next start, too
	for user, want := range map[string]string{"bob": "delivered: ", "carol": "delivered: ", "dave": "\n"} {
		if got := p.status(user); !strings.HasPrefix(got, want) {
			t.Errorf("the status of %s is %q, want %q", user, got, want)
		}
	}
}
