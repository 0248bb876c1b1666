//go:build linux

package peers_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// mxsendPath is where TestMain puts the path of the mxsend it has built.
const mxsendPath = "NEXTHOP_MXSEND"

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "nexthop")
	if err != nil {
		panic(err)
	}
	code := peers.Main(m, func() ([]string, error) {
		path := filepath.Join(dir, "mxsend")
		build := exec.Command("go", "build", "-o", path, "./mxsend")
		build.Dir = filepath.Join("..", "..", "examples")
		build.Stderr = os.Stderr
		return []string{mxsendPath + "=" + path}, build.Run()
	})
	os.RemoveAll(dir)
	os.Exit(code)
}

const text = "From: a@from.test\r\nTo: u@e.test\r\nSubject: s\r\n\r\n.a line with a dot\r\n..two\r\n.\r\nthe last word\r\n"

// world is DNS and the four servers: Postfix before Exim before OpenSMTPD before
// smtp-sink.
type world struct {
	ca                       *smtptest.Authority
	bind, sink               *peers.Server
	postfix, exim, opensmtpd *peers.Server
	sender                   *delivery.Sender
	dials                    atomic.Int32
	written                  func() []byte // by the last connection
}

const eTest = "@ MX 40 sink\n@ MX 20 exim\n@ MX 10 postfix\n@ MX 30 opensmtpd\n" +
	"postfix A 127.0.0.2\nexim A 127.0.0.3\nopensmtpd A 127.0.0.4\nsink A 127.0.0.5\n"

func build(t *testing.T) *world {
	t.Helper()
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{ca: ca}
	cert, key := w.pem(t, "postfix.e.test")
	w.postfix = peers.Postfix("127.0.0.2", "postfix.e.test", cert, key, "")
	cert, key = w.pem(t, "exim.e.test")
	w.exim = peers.Exim("127.0.0.3", "exim.e.test", cert, key)
	cert, key = w.pem(t, "opensmtpd.e.test")
	w.opensmtpd = peers.OpenSMTPD("127.0.0.4", "opensmtpd.e.test", cert, key)
	w.sink = peers.SMTPSink("127.0.0.5")
	w.bind = peers.BIND("127.0.0.53", map[string]string{"e.test": eTest})
	for _, s := range []*peers.Server{w.bind, w.postfix, w.exim, w.opensmtpd, w.sink} {
		s.Start(t)
	}
	w.sender = w.newSender(t)
	return w
}

// newSender is a Sender that asks BIND and counts its connections.
func (w *world) newSender(t *testing.T) *delivery.Sender {
	s := &delivery.Sender{
		Hello:         "from.test",
		Resolver:      &mx.Client{Servers: []mx.Server{{Addr: "127.0.0.53:53"}}},
		AllowLoopback: true,
		TLSConfig:     w.ca.ClientConfig(),
	}
	s.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		w.dials.Add(1)
		tap := smtptest.NewTap(conn)
		w.written = tap.AllWritten
		return tap, nil
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// pem is a certificate of the test's authority, and its key, as servers want
// them.
func (w *world) pem(t *testing.T, name string) (cert, key string) {
	t.Helper()
	c, err := w.ca.Certificate(name)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range c.Certificate {
		cert += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: part}))
	}
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// rootPEM is the authority's own certificate.
func (w *world) rootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.ca.Root().Raw})
}

// only is a Router that knows one host.
type only struct{ name, ip string }

func (o only) Route(_ context.Context, _, domain string) (mx.Route, error) {
	return mx.Route{Domain: domain, Kind: mx.ViaSmartHost, Hosts: []mx.Host{{
		Name: o.name, Target: o.name, Addrs: []netip.Addr{netip.MustParseAddr(o.ip)},
	}}}, nil
}

func message(content string, to ...string) *queue.Message {
	m := &queue.Message{From: "a@from.test", Content: queue.String(content)}
	for _, a := range to {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: a})
	}
	return m
}
