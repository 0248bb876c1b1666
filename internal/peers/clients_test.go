//go:build linux

package peers_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// client is a mail client of the relay.
type client struct {
	name  string
	tree  func(peers.Client) *peers.Server
	serve bool // a part of it is a daemon
	can   string
	args  func(*order) []string
	then  []string // a command that sends what the first has put into a queue
	dot   bool     // wants the dot at the end
}

// What a client can do that not all can.
const (
	canUTF8  = "SMTPUTF8 "
	canNull  = "null "  // the null reverse-path
	canPart  = "part "  // sends to the others where one is refused
	canWrite = "write " // is given a body, and writes the header itself
	canTLS   = "STARTTLS "
	canChunk = "CHUNKING "
	canQueue = "queue " // has a queue: what becomes of a message is not told at once
)

// order is what a client is to send.
type order struct {
	mail
	host string // the relay's name
	tls  bool
	word string
}

func (o *order) choose(tls, clear string) string {
	if o.tls {
		return tls
	}
	return clear
}

func clients() []client {
	return []client{
		{name: "swaks", tree: peers.Clients, dot: true, can: canNull + canPart + canTLS, args: func(o *order) []string {
			args := []string{"/usr/bin/swaks", "--server", o.host, "--port", "25", "--helo", "client.test", "--from", cmp.Or(o.from, "<>"),
				"--to", strings.Join(o.to, ","), "--data", "-", "--suppress-data", "--pipeline"}
			if o.tls {
				args = append(args, "--tls", "--tls-verify", "--tls-ca-path", "/etc/roots.pem")
			}
			return args
		}},
		{name: "msmtp", tree: peers.Clients, can: canTLS, args: func(o *order) []string {
			return append([]string{"/usr/bin/msmtp", "--host=" + o.host, "--port=25", "--domain=client.test", "--from=" + o.from, "--auth=off",
				"--tls=" + o.choose("on", "off"), "--tls-starttls=on", "--tls-trust-file=/etc/roots.pem", "--"}, o.to...)
		}},
		{name: "curl", tree: peers.Clients, can: canUTF8 + canNull + canPart + canTLS, args: func(o *order) []string {
			args := []string{"/usr/bin/env", "LC_ALL=C.UTF-8", "/usr/bin/curl", "-sS", "--url", "smtp://" + o.host + "/client.test", "--mail-from", o.from,
				"--mail-rcpt-allowfails", "--cacert", "/etc/roots.pem", o.choose("--ssl-reqd", "--no-ssl"), "--upload-file", "-"}
			for _, to := range o.to {
				args = append(args, "--mail-rcpt", to)
			}
			return args
		}},
		{name: "s-nail", tree: peers.Clients, can: canWrite + canTLS, args: func(o *order) []string {
			return append([]string{"/usr/bin/env", "HOME=/root", "LC_ALL=C.UTF-8", "/usr/bin/s-nail", "-:/", "-S", "v15-compat", "-S", "mta=smtp://" + o.host + ":25",
				"-S", "smtp-auth=none", "-S", "hostname=client.test", "-S", "tls-ca-file=/etc/roots.pem", "-S", "tls-verify=strict",
				"-S", o.choose("smtp-use-starttls", "nosmtp-use-starttls"), "-r", o.from, "-s", o.word}, o.to...)
		}},
		{name: "mutt", tree: peers.Clients, can: canWrite + canTLS, args: func(o *order) []string {
			return append([]string{"/usr/bin/env", "HOME=/root", "LC_ALL=C.UTF-8", "/usr/bin/mutt", "-n", "-F", "/dev/null",
				"-e", "set smtp_url=smtp://" + o.host + ":25/ hostname=client.test from=" + o.from + " use_envelope_from=yes copy=no record=''",
				"-e", "set ssl_ca_certificates_file=/etc/roots.pem",
				"-e", "set ssl_starttls=" + o.choose("yes", "no") + " ssl_force_tls=" + o.choose("yes", "no") + " tmpdir=/tmp charset=utf-8 send_charset=utf-8",
				"-s", o.word, "--"}, o.to...)
		}},
		{name: "smtplib", tree: peers.Smtplib, can: canUTF8 + canNull + canPart + canTLS, args: func(o *order) []string {
			return append([]string{"/usr/bin/env", "LC_ALL=C.UTF-8", "/usr/bin/python3", "/srv/send.py", o.host, o.choose("starttls", "clear"), o.from}, o.to...)
		}},
		{name: "Nodemailer", tree: peers.Nodemailer, can: canUTF8 + canNull + canPart + canTLS, args: func(o *order) []string {
			return append([]string{peers.Node, "/srv/send.js", o.host, o.choose("starttls", "clear"), o.from}, o.to...)
		}},
		{name: "nullmailer", tree: peers.Nullmailer, can: canQueue + canTLS, args: func(o *order) []string {
			return append([]string{"/usr/sbin/sendmail", "-f", o.from}, o.to...)
		}, then: []string{"/usr/sbin/nullmailer-send"}},
		{name: "dma", tree: peers.DMA, can: canQueue + canPart + canTLS, args: func(o *order) []string {
			return append([]string{"/usr/sbin/dma", "-i", "-f", o.from}, o.to...)
		}},
		{name: "Postfix", tree: func(c peers.Client) *peers.Server { return peers.PostfixClient(c, "127.0.4.1") }, serve: true,
			can: canUTF8 + canNull + canPart + canTLS + canQueue, args: func(o *order) []string {
				return append([]string{"/usr/sbin/sendmail", "-i", "-f", o.from}, o.to...)
			}},
		{name: "sendmail", tree: peers.SendmailClient, can: canNull + canPart + canTLS + canQueue, args: func(o *order) []string {
			return append([]string{"/usr/libexec/sendmail/sendmail", "-Am", "-odi", "-i", "-f", cmp.Or(o.from, "<>")}, o.to...)
		}},
		{name: "Exim", tree: peers.EximClient, can: canUTF8 + canNull + canPart + canTLS + canQueue + canChunk, args: func(o *order) []string {
			return append([]string{"/usr/sbin/exim4", "-odf", "-i", "-f", cmp.Or(o.from, "<>")}, o.to...)
		}},
	}
}

const (
	relayName = "relay.e.test"
	nowhere   = "stranger@nowhere.test" // of a domain that does not exist
)

// TestClients has real mail clients send the same mails through the relay: in clear,
// and by STARTTLS. What arrives at the next hop is what they sent.
func TestClients(t *testing.T) {
	w := &world{}
	w.newRoot(t)
	dns := &mxtest.Server{Listen: "127.0.0.1:53", DNS: &mxtest.DNS{
		Zone: "e.test. MX 10 hop.e.test.\nhop.e.test. A 127.0.2.1\nfrom.test. MX 10 hop.e.test.\n"}}
	if err := dns.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dns.Close() })
	hop := &smtptest.Host{Name: "hop.e.test", Extensions: []string{"PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "SIZE 50000000", "DSN"}}
	serve(t, "127.0.2.1:25", hop)
	cert, key := w.pem(t, relayName)
	relay(t, "127.0.2.2:25")
	relay(t, "127.0.2.3:25", "-cert", file(t, cert), "-key", file(t, key))
	t.Run("all", func(t *testing.T) {
		for i, c := range clients() {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				for n, tls := range []bool{false, true} {
					if tls && !strings.Contains(c.can, canTLS) {
						continue
					}
					ip := fmt.Sprintf("127.0.3.%d", 2*i+n+1)
					x := &clientTest{client: c, tls: tls, hop: hop, wire: wiretapped(t, ip+":25", fmt.Sprintf("127.0.2.%d:25", n+2))}
					x.server = c.tree(peers.Client{Relay: relayName, IP: ip, Roots: string(w.rootPEM()), TLS: tls})
					t.Run(map[bool]string{false: "in clear", true: "STARTTLS"}[tls], x.run)
				}
			})
		}
	})
	hop.Check(t)
}

// serve puts a scripted host on an address.
func serve(t *testing.T, addr string, h *smtptest.Host) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		_ = l.Close()
		cancel()
	})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go h.Serve(ctx, conn)
		}
	}()
}

// relay starts the example of that name, which asks whether there is a way to a
// recipient before it takes the message.
func relay(t *testing.T, addr string, more ...string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(os.Getenv(builtPath), "relay"), append([]string{"-listen", addr, "-queue", t.TempDir(), "-helo", relayName,
		"-dns", "127.0.0.1:53", "-loopback", "-check-routes"}, more...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the relay: %v", err)
		}
	})
	// It may say other things before, of DNS for example.
	listening := make(chan bool, 1)
	var said []string
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "listening ") {
				listening <- true
				_, _ = io.Copy(io.Discard, out)
				return
			}
			said = append(said, lines.Text())
		}
		listening <- false
	}()
	if !<-listening {
		t.Fatalf("the relay does not listen: %q", said)
	}
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// clientTest is a client under test.
type clientTest struct {
	client
	tls    bool
	server *peers.Server
	hop    *smtptest.Host
	wire   *wiretap
}

func (x *clientTest) ability(a string) bool { return strings.Contains(x.can, a) }

func (x *clientTest) run(t *testing.T) {
	if x.serve {
		x.server.Start(t)
	} else {
		x.server.Unpack(t)
	}
	for _, m := range mails() {
		if m.utf8 && !x.ability(canUTF8) || m.from == "" && !x.ability(canNull) {
			continue
		}
		for i, to := range m.to {
			if to == stranger {
				m.to[i] = nowhere
			}
		}
		t.Run(m.name, func(t *testing.T) { x.send(t, m) })
	}
	if chunks := slices.ContainsFunc(x.wire.read(), func(s sent) bool { return s.chunked }); chunks != (x.ability(canChunk) && !x.tls) {
		t.Errorf("it sent by BDAT: %t", chunks)
	}
}

// send has the client send a mail, and compares what comes out with what went in.
func (x *clientTest) send(t *testing.T, m mail) {
	o := &order{mail: m, host: relayName, tls: x.tls, word: token(t) + "-end"}
	text := m.text(o.word)
	input := text
	if x.ability(canWrite) {
		input = strings.ToValidUTF8(m.body, "?")
	}
	if x.ability(canQueue) || x.ability(canWrite) {
		input = strings.ReplaceAll(input, "\r\n", "\n") // as programs of the machine's have it
	}
	if x.dot {
		input += "."
	}
	out, err := x.server.Run(t.Context(), strings.NewReader(input), x.args(o)...)
	if x.then != nil && err == nil {
		out, err = x.server.Run(t.Context(), strings.NewReader(""), x.then...)
	}
	refused := slices.Contains(m.to, nowhere)
	if err != nil && !refused || err == nil && refused && len(m.to) == 1 && !x.ability(canQueue) {
		t.Errorf("a recipient is refused: %t; the client ended with %v: %s", refused, err, out)
	}
	want := slices.DeleteFunc(slices.Clone(m.to), func(to string) bool { return to == nowhere })
	if refused && !x.ability(canPart) {
		want = nil
	}
	if refused && !x.tls {
		peers.Eventually(t, "the refusal", func() bool {
			return slices.ContainsFunc(x.wire.read(), func(s sent) bool { return s.from == m.from && s.refused == nowhere })
		})
	}
	for _, got := range x.arrived(t, o, want) {
		x.compare(t, o, &got, text)
	}
}

// arrived waits until a mail has reached the next hop for all who are to have it.
func (x *clientTest) arrived(t *testing.T, o *order, want []string) (got []smtptest.Message) {
	slices.Sort(want)
	var to []string
	peers.Eventually(t, "the mail at the next hop", func() bool {
		got, to = nil, nil
		for _, m := range x.hop.Messages() {
			if bytes.Contains(m.Content[:min(len(m.Content), 4096)], []byte(o.word)) && m.From == o.from {
				got, to = append(got, m), append(to, m.To()...)
			}
		}
		return len(to) >= len(want)
	})
	if slices.Sort(to); !slices.Equal(to, want) {
		t.Errorf("it arrived for %q, want %q", to, want)
	}
	return got
}

// compare compares what arrived with what was said to the relay, and that with what
// the client was given.
func (x *clientTest) compare(t *testing.T, o *order, got *smtptest.Message, text string) {
	trace := received.Find(got.Content)
	content := string(got.Content[len(trace):])
	if protocol := withProtocol.FindSubmatch(trace); protocol == nil || bytes.HasSuffix(protocol[1], []byte("S")) != x.tls {
		t.Errorf("no trace of the relay, or of another protocol: %.300q", got.Content)
	}
	if !x.tls {
		said := slices.DeleteFunc(x.wire.read(), func(s sent) bool { return !strings.Contains(s.content, o.word) })
		if !slices.ContainsFunc(said, func(s sent) bool {
			return s.content == content && s.from == got.From && slices.Contains(s.to, got.To()[0])
		}) {
			t.Errorf("it arrived otherwise than it was said: %.300q", content)
			for _, s := range said {
				t.Errorf("said from %s to %q: %s", s.from, s.to, difference(content, s.content))
			}
		}
	}
	if x.ability(canWrite) {
		if head, body, _ := strings.Cut(content, "\r\n\r\n"); len(body) < len(o.body) || !strings.Contains(head, o.word) {
			t.Errorf("%d octets of a body of %d arrived, below %q", len(body), len(o.body), head)
		}
		return
	}
	if !strings.HasSuffix(content, text) {
		t.Errorf("it arrived otherwise than the client had it: %s", difference(content, text))
	}
}

var withProtocol = regexp.MustCompile(`\tby ` + regexp.QuoteMeta(relayName) + ` with (\w+) id`)

var received = regexp.MustCompile(`^Received: from [^\r]*\r\n(\t[^\r]*\r\n)*`)
