//go:build linux

package peers_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/internal/tap"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// builtPath is the folder of what TestMain has built: mxsend, relay, sendmail and gosmtp.
const builtPath = "NEXTHOP_BUILT"

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "nexthop")
	if err != nil {
		panic(err)
	}
	code := peers.Main(m, func() ([]string, error) {
		for _, pkg := range []string{"../../examples/mxsend", "../../examples/relay", "../../examples/sendmail", "gosmtp"} {
			build := exec.Command("go", "build", "-o", dir+"/", ".")
			build.Dir, build.Stderr = pkg, os.Stderr
			if err := build.Run(); err != nil {
				return nil, err
			}
		}
		return []string{builtPath + "=" + dir}, nil
	})
	os.RemoveAll(dir)
	os.Exit(code)
}

const text = "From: a@from.test\r\nTo: u@e.test\r\nSubject: s\r\n\r\n.a line with a dot\r\n..two\r\n.\r\nthe last word\r\n"

// world is DNS and the four servers: Postfix before Exim before OpenSMTPD before
// smtp-sink.
type world struct {
	root                     *x509.Certificate
	rootKey                  *rsa.PrivateKey
	roots                    *x509.CertPool
	bind, sink               *peers.Server
	postfix, exim, opensmtpd *peers.Server
	sender                   *delivery.Sender
	dials                    atomic.Int32
	tap                      *tap.Conn // of the last connection
}

const eTest = "@ MX 40 sink\n@ MX 20 exim\n@ MX 10 postfix\n@ MX 30 opensmtpd\n" +
	"postfix A 127.0.0.2\nexim A 127.0.0.3\nopensmtpd A 127.0.0.4\nsink A 127.0.0.5\n"

func build(t *testing.T) *world {
	t.Helper()
	w := &world{}
	w.newRoot(t)
	cert, key := w.pem(t, "postfix.e.test")
	w.postfix = peers.Postfix("127.0.0.2", "postfix.e.test", cert, key, "")
	cert, key = w.pem(t, "exim.e.test")
	w.exim = peers.Exim("127.0.0.3", "exim.e.test", cert, key)
	w.opensmtpd = peers.OpenSMTPD("127.0.0.4", "opensmtpd.e.test", "", "")
	w.sink = peers.SMTPSink("127.0.0.5")
	w.bind = peers.BIND("127.0.0.1", map[string]string{"e.test": eTest})
	for _, s := range []*peers.Server{w.bind, w.postfix, w.exim, w.opensmtpd, w.sink} {
		s.Start(t)
	}
	w.sender = w.newSender(t)
	return w
}

// patience is how long a server may be silent: long for a server on loopback, short
// for a test that must not hang.
const patience = 30 * time.Second

// newSender is a Sender that asks BIND and counts its connections.
func (w *world) newSender(t *testing.T) *delivery.Sender {
	s := &delivery.Sender{
		Hello:     "from.test",
		Router:    delivery.ByMX(&mx.Router{Resolver: &mx.Client{Servers: []mx.Server{{Addr: "127.0.0.1:53"}}}, AllowLoopback: true}),
		Timeouts:  delivery.Timeouts{Greeting: patience, Hello: patience, Mail: patience, Rcpt: patience, Data: patience, Final: patience},
		TLSConfig: &tls.Config{RootCAs: w.roots, MinVersion: tls.VersionTLS12},
	}
	s.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		w.dials.Add(1)
		w.tap = tap.New(conn)
		return w.tap, nil
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// pem is a certificate of the test's authority for names, and its key, as servers want
// them. The key is RSA, for OpenSMTPD knows no other.
func (w *world) pem(t *testing.T, names ...string) (cert, key string) {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template(names...), w.root, &k.PublicKey, w.rootKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func template(names ...string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: names[0]},
		DNSNames:     names,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
}

// newRoot makes the test's authority.
func (w *world) newRoot(t *testing.T) {
	t.Helper()
	var err error
	if w.rootKey, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	w.root = template("nexthop test authority")
	w.root.IsCA, w.root.BasicConstraintsValid = true, true
	w.root.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, w.root, w.root, &w.rootKey.PublicKey, w.rootKey)
	if err != nil {
		t.Fatal(err)
	}
	if w.root, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	w.roots = x509.NewCertPool()
	w.roots.AddCert(w.root)
}

// rootPEM is the authority's own certificate.
func (w *world) rootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.root.Raw})
}

// only is a Router that knows one host.
type only struct{ name, ip string }

func (o only) Route(_ context.Context, _, domain string) (mx.Route, error) {
	return mx.Route{Domain: domain, Via: mx.ViaSmartHost, Hosts: []mx.Host{{
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
