package mtasts_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// world is DNS and the web in memory: one policy host, that of e.test, at 203.0.113.1 and
// 2001:db8::1 unless the zone says otherwise.
type world struct {
	*mxtest.DNS
	t     *testing.T
	roots *x509.CertPool
	ca    tls.Certificate
	caOf  *x509.Certificate

	mu     sync.Mutex
	cert   tls.Certificate
	most   uint16 // the latest version of TLS; 0 is any
	answer func(conn net.Conn, r *http.Request)
	dead   map[string]bool // addresses that do not answer
	dialed []string
	gets   []string
	names  []string // of SNI
	wg     sync.WaitGroup
}

const (
	zoneOfTest = "mta-sts.e.test A 203.0.113.1\nmta-sts.e.test AAAA 2001:db8::1\n_mta-sts.e.test TXT \"v=STSv1; id=1;\"\n"
	goodPolicy = "version: STSv1\nmode: enforce\nmx: mx.e.test\nmax_age: 604800\n"
)

// bubble runs a test under virtual time, in a world of its own.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f(t, w)
		w.wg.Wait()
	})
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{DNS: &mxtest.DNS{Zone: zoneOfTest}, t: t, roots: x509.NewCertPool(), dead: map[string]bool{}}
	w.ca, w.caOf = w.certificate(nil, nil, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign })
	w.roots.AddCert(w.caOf)
	w.cert, _ = w.certificate(w.caOf, &w.ca, forName("mta-sts.e.test"))
	w.serve(goodPolicy)
	return w
}

func forName(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

func (w *world) certificate(by *x509.Certificate, signer *tls.Certificate, changes ...func(*x509.Certificate)) (tls.Certificate, *x509.Certificate) {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(w.names) + 1)), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(2, 0, 0),
		BasicConstraintsValid: true, Subject: pkix.Name{CommonName: "test"},
	}
	for _, change := range changes {
		change(c)
	}
	parent, sign := c, any(key)
	if by != nil {
		parent, sign = by, signer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), sign)
	if err != nil {
		w.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, cert
}

// serve has the policy host answer with a policy.
func (w *world) serve(policy string) { w.respond("200 OK", "text/plain", policy) }

// respond has it answer with a status, a content type and a body.
func (w *world) respond(status, kind, body string) {
	header := ""
	if kind != "" {
		header = "Content-Type: " + kind + "\r\n"
	}
	w.reply(fmt.Sprintf("HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s", status, header, len(body), body))
}

// reply has it answer with these octets.
func (w *world) reply(text string) {
	w.handle(func(conn net.Conn, _ *http.Request) { _, _ = io.WriteString(conn, text) })
}

func (w *world) handle(f func(conn net.Conn, r *http.Request)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

// down has the policy host not answer.
func (w *world) down(is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead["*"] = is
}

// fetched is how often a policy was asked for.
func (w *world) fetched() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.gets)
}

// Dial connects to the policy host.
func (w *world) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dialed = append(w.dialed, address)
	dead, cert, most := w.dead[address] || w.dead["*"], w.cert, w.most
	w.mu.Unlock()
	if dead {
		<-ctx.Done()
		return nil, errors.New("no answer from " + address)
	}
	client, server := smtptest.Pipe()
	w.wg.Go(func() {
		defer server.Close()
		conn := tls.Server(server, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: most, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.names = append(w.names, h.ServerName)
			return &cert, nil
		}})
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		w.mu.Lock()
		w.gets = append(w.gets, r.Method+" "+r.Host+r.RequestURI+" "+r.UserAgent())
		answer := w.answer
		w.mu.Unlock()
		answer(conn, r)
		_ = conn.Close()
	})
	return client, nil
}

// fetcher is one that lives in this world.
func (w *world) fetcher() *mtasts.Fetcher {
	return &mtasts.Fetcher{Resolver: w.DNS, Dial: w.Dial, Roots: w.roots}
}

// source is one that lives in this world.
func (w *world) source() *mtasts.Source {
	return &mtasts.Source{Resolver: w.DNS, Fetcher: w.fetcher()}
}

// record is the TXT record of e.test from now on; the empty one is none.
func (w *world) record(text string) {
	w.t.Helper()
	zone := strings.Join(strings.Split(zoneOfTest, "\n")[:2], "\n")
	if text != "" {
		zone += "\n_mta-sts.e.test TXT \"" + text + "\""
	}
	if err := w.SetZone(zone); err != nil {
		w.t.Fatal(err)
	}
}

// pass lets time pass in the bubble.
func pass(d time.Duration) { time.Sleep(d) }
