//go:build linux

package peers_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// installed are the files of examples in the repository, as their comments say to
// install them.
func installed(t *testing.T, files map[string]string) map[string]string {
	t.Helper()
	for path, source := range files {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = string(text)
	}
	return files
}

// machine is a machine under systemd, and the test or subtest that is at work on it.
type machine struct {
	*peers.Machine
	t *testing.T
}

// sub is a subtest.
func (m *machine) sub(name string, f func(*testing.T)) {
	outer := m.t
	outer.Run(name, func(t *testing.T) {
		m.t = t
		f(t)
	})
	m.t = outer
}

// must runs a program on the machine.
func (m *machine) must(args ...string) string {
	m.t.Helper()
	out, err := m.Run(m.t.Context(), args...)
	if err != nil {
		m.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(out)
}

// property is what systemd says about a service.
func (m *machine) property(service, name string) string {
	m.t.Helper()
	return m.must("systemctl", "show", "--property="+name, "--value", service)
}

// confined checks that a service runs without any privilege.
func (m *machine) confined(service string) {
	m.t.Helper()
	if state := m.property(service, "ActiveState"); state != "active" {
		m.t.Fatalf("%s is %s once it is started", service, state)
	}
	status := m.must("cat", "/proc/"+m.property(service, "MainPID")+"/status")
	for _, line := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"} {
		if !strings.Contains(status, "\n"+line+"\n") {
			m.t.Errorf("%s has not %q: %s", service, line, status)
		}
	}
	if strings.Contains(status, "\nUid:\t0\t") {
		m.t.Errorf("%s is root", service)
	}
}

// relayMachine is a machine with examples/relay as a service, which passes all mail on
// to a smart host that wants a login.
type relayMachine struct {
	machine
	hop   *smtptest.Host
	roots *x509.CertPool
}

const relayService = "nexthop-relay.service"

func newRelayMachine(t *testing.T) *relayMachine {
	t.Helper()
	dns := &mxtest.Server{Listen: "127.0.0.1:53", DNS: &mxtest.DNS{Zone: "hop.e.test. A 127.0.2.1\n"}}
	if err := dns.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dns.Close() })
	w := &world{}
	w.newRoot(t)
	m := &relayMachine{machine: machine{t: t}, roots: w.roots, hop: &smtptest.Host{
		Name: "hop.e.test", Extensions: []string{"PIPELINING", "8BITMIME", "AUTH SCRAM-SHA-256"}, Users: map[string]string{"user": "geheim"},
		Allow: []smtptest.Rule{smtptest.RuleNoQuit}, // it is killed

	}}
	serve(t, "127.0.2.1:2525", m.hop)
	files := installed(t, map[string]string{
		"/etc/systemd/system/nexthop-relay.service":    "../../examples/relay/nexthop-relay.service",
		"/etc/systemd/system/nexthop-relay.socket":     "../../examples/relay/nexthop-relay.socket",
		"/etc/systemd/system/nexthop-relay-tls.socket": "../../examples/relay/nexthop-relay-tls.socket",
		"/usr/local/bin/nexthop-relay":                 filepath.Join(os.Getenv(builtPath), "relay"),
	})
	files["/etc/nexthop/relay.env"] = "# settings\nNEXTHOP_HELO=relay.e.test\nNEXTHOP_LOOPBACK=true\nNEXTHOP_RETRY=100ms\n" +
		"NEXTHOP_SMARTHOST=@/run/credentials/nexthop-relay.service/smarthost\nNEXTHOP_LOGINS=/run/credentials/nexthop-relay.service/logins\n" +
		"NEXTHOP_CERT=/run/credentials/nexthop-relay.service/cert\nNEXTHOP_KEY=/run/credentials/nexthop-relay.service/key\n"
	files["/etc/nexthop/smarthost"] = "smtp://user:geheim@hop.e.test:2525?tls=none\n"
	files["/etc/nexthop/cert"], files["/etc/nexthop/key"] = w.pem(t, "relay.e.test")
	files["/etc/systemd/system/nexthop-relay.service.d/credentials.conf"] = "[Service]\n" +
		"LoadCredential=smarthost:/etc/nexthop/smarthost\nLoadCredential=logins:/etc/nexthop/logins\n" +
		"LoadCredential=cert:/etc/nexthop/cert\nLoadCredential=key:/etc/nexthop/key\n"
	m.Machine = &peers.Machine{Server: peers.Server{
		Package: "systemd",
		Files:   files,
		Before: [][]string{
			{"/bin/chmod", "755", "/usr/local/bin/nexthop-relay"},
			{"/bin/sh", "-euc", "echo hidden | /usr/local/bin/nexthop-relay passwd -logins /etc/nexthop/logins user@from.test; chmod 600 /etc/nexthop/*"},
		},
	}}
	m.Boot(t)
	m.must("systemctl", "enable", "--now", "nexthop-relay.socket", "nexthop-relay-tls.socket", "nexthop-relay")
	return m
}

// own is what systemd says about the relay.
func (m *relayMachine) own(name string) string {
	m.t.Helper()
	return m.property(relayService, name)
}

// mail sends a message, and waits for it at the smart host.
func (m *relayMachine) mail(word string) {
	m.t.Helper()
	if reply, err := converse(word); err != nil || !strings.HasPrefix(reply, "250") {
		m.t.Fatalf("%s: %q, %v", word, reply, err)
	}
	peers.Eventually(m.t, word+" at the smart host", func() bool { return slices.Contains(m.arrived(), word) })
}

// again sends a signal to the relay, and waits until systemd has started another.
func (m *relayMachine) again(signal string) {
	m.t.Helper()
	pid := m.own("MainPID")
	m.must("systemctl", "kill", "--signal="+signal, "--kill-whom=main", relayService)
	peers.Eventually(m.t, "another relay", func() bool {
		now := m.own("MainPID")
		return now != pid && now != "0" && m.own("ActiveState") == "active"
	})
}

// arrived are the subjects at the smart host.
func (m *relayMachine) arrived() (words []string) {
	for _, message := range m.hop.Messages() {
		_, rest, _ := strings.Cut(string(message.Content), "\r\nSubject: ")
		word, _, _ := strings.Cut(rest, "\r\n")
		words = append(words, word)
	}
	return words
}

// converse is one connection with one message. It returns the first reply that is not
// what it hoped for, or the one to the message.
func converse(word string) (reply string, err error) {
	return converseAt("127.0.0.1:25", word, "text\r\n")
}

func converseAt(addr, word, text string) (reply string, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	for _, step := range []struct{ say, want string }{
		{"", "220"}, {"HELO client.test\r\n", "250"}, {"MAIL FROM:<a@from.test>\r\n", "250"}, {"RCPT TO:<u@e.test>\r\n", "250"}, {"DATA\r\n", "354"},
		{"From: a@from.test\r\nSubject: " + word + "\r\n\r\n" + text + ".\r\n", "250"},
	} {
		if _, err := io.WriteString(conn, step.say); err != nil && reply == "" {
			return "", fmt.Errorf("saying %q: %w", step.say, err)
		}
		if reply, err = in.ReadString('\n'); err != nil {
			return "", fmt.Errorf("after %q: %w", step.say, err)
		}
		if !strings.HasPrefix(reply, step.want) {
			return reply, nil
		}
	}
	_, _ = io.WriteString(conn, "QUIT\r\n")
	return reply, nil
}

// logIn logs a user in, by STARTTLS or with TLS from the start.
func (m *relayMachine) logIn(port string) error {
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	config := &tls.Config{RootCAs: m.roots, ServerName: "relay.e.test", MinVersion: tls.VersionTLS12}
	if port == "465" {
		conn = tls.Client(conn, config)
	}
	c, err := smtp.NewClient(conn, "relay.e.test")
	if err != nil {
		return err
	}
	if port != "465" {
		if err := c.StartTLS(config); err != nil {
			return err
		}
	}
	if err := c.Auth(smtp.PlainAuth("", "user@from.test", "hidden", "relay.e.test")); err != nil {
		return err
	}
	return c.Quit()
}

// TestRelayUnderSystemd has a real systemd run examples/relay by its unit files.
func TestRelayUnderSystemd(t *testing.T) {
	m := newRelayMachine(t)
	m.sub("it has no privilege", func(*testing.T) {
		m.confined(relayService)
		m.mail("first")
	})
	m.sub("it reads what only root can", func(t *testing.T) {
		for _, port := range []string{"587", "465"} {
			if err := m.logIn(port); err != nil {
				t.Errorf("at port %s: %v", port, err)
			}
		}
		if journal := m.must("journalctl", "--unit="+relayService); strings.Contains(journal, "everybody") {
			t.Errorf("it says of its files: %s", journal)
		}
	})
	m.sub("only it has its queue", func(t *testing.T) {
		owner := m.must("stat", "--format=%u %a", "/var/lib/private/nexthop-relay")
		if uid, mode, _ := strings.Cut(owner, " "); uid == "0" || mode != "700" {
			t.Errorf("its directory has owner and mode %s", owner)
		}
	})
	m.sub("it is started by a connection", func(t *testing.T) {
		m.must("systemctl", "stop", relayService)
		m.mail("wakes it")
	})
	m.sub("root can work on its queue while it does not run", func(t *testing.T) {
		m.must("systemctl", "stop", relayService)
		m.must("nexthop-relay", "queue", "-queue", "/var/lib/nexthop-relay", "suspend", "other.test")
		m.must("nexthop-relay", "queue", "-queue", "/var/lib/nexthop-relay", "list")
		m.mail("after root")
		if got := m.must("nexthop-relay", "queue", "-queue", "/var/lib/nexthop-relay", "suspensions"); !strings.Contains(got, "other.test") {
			t.Errorf("the suspensions are %q", got)
		}
	})
	m.sub("it reads files again without another start", func(t *testing.T) {
		pid := m.own("MainPID")
		m.must("systemctl", "reload", relayService)
		m.mail("after reload")
		if now := m.own("MainPID"); now != pid {
			t.Errorf("it was process %s and is %s", pid, now)
		}
	})
	m.sub("files that only root can read are those of its start", func(t *testing.T) {
		const passed, changed = "/run/credentials/nexthop-relay.service/smarthost", "smtp://user:geheim@hop.e.test:2525?tls=none&pref=5"
		m.must("sh", "-euc", "echo '"+changed+"' >/etc/nexthop/smarthost")
		m.must("systemctl", "reload", relayService)
		if got := m.must("cat", passed); got == changed {
			t.Error("after a reload it has the changed file")
		}
		m.must("systemctl", "restart", relayService)
		if got := m.must("cat", passed); got != changed {
			t.Errorf("after a restart it has %q", got)
		}
		m.mail("after a change")
	})
	m.sub("it is started again when it is killed", func(*testing.T) {
		m.again("KILL")
		m.mail("after a kill")
	})
	m.sub("it is started again when it hangs", func(t *testing.T) {
		m.must("sh", "-euc", `dir=/run/systemd/system/nexthop-relay.service.d
			mkdir -p $dir; printf '[Service]\nWatchdogSec=2s\nTimeoutAbortSec=100ms\n' >$dir/watchdog.conf; systemctl daemon-reload; systemctl restart nexthop-relay`)
		pid := m.own("MainPID")
		alive := m.own("WatchdogTimestampMonotonic")
		peers.Eventually(t, "a sign of life", func() bool { return m.own("WatchdogTimestampMonotonic") != alive })
		if now := m.own("MainPID"); now != pid {
			t.Errorf("it does not hang, and was started again: process %s, then %s", pid, now)
		}
		m.again("STOP")
		m.mail("after hanging")
	})
	m.sub("no client is lost while it is started again", m.restarts)
	m.hop.Check(t)
}

// restarts has clients send mail all the time while the service is restarted. Each
// connection is answered, and what was accepted arrives once.
func (m *relayMachine) restarts(t *testing.T) {
	var mu sync.Mutex
	var accepted []string
	var clients sync.WaitGroup
	end := make(chan struct{})
	for i := range 8 {
		clients.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-end:
					return
				default:
				}
				word := fmt.Sprintf("load-%d-%d", i, n)
				reply, err := converse(word)
				mu.Lock()
				switch {
				case err != nil:
					t.Errorf("%s: %v", word, err)
				case strings.HasPrefix(reply, "250"):
					accepted = append(accepted, word)
				case !strings.HasPrefix(reply, "421"):
					t.Errorf("%s: %s", word, reply)
				}
				mu.Unlock()
			}
		})
	}
	served := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(accepted)
	}
	func() {
		defer clients.Wait()
		defer close(end)
		for range 6 {
			before := served()
			peers.Eventually(t, "the next messages", func() bool { return served() >= before+50 })
			m.must("systemctl", "restart", relayService)
		}
	}()
	peers.Eventually(t, "all of it at the smart host", func() bool {
		got := m.arrived()
		return !slices.ContainsFunc(accepted, func(word string) bool { return !slices.Contains(got, word) })
	})
	count := make(map[string]int)
	for _, word := range m.arrived() {
		if count[word]++; count[word] == 2 {
			t.Errorf("%s has arrived twice", word)
		}
	}
}
