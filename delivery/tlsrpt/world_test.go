package tlsrpt_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// world is DNS, the web and a mailer in memory. Hosts of the web are whatever the zone has
// addresses for; their certificate is for all names of test.
type world struct {
	*mxtest.DNS
	t     *testing.T
	roots *x509.CertPool
	cert  tls.Certificate
	wg    sync.WaitGroup

	mu     sync.Mutex
	status func(host string) int // 0 does not answer
	posts  []post
	dialed []string

	mails    []*queue.Message
	refuse   func(m *queue.Message) error
	unsigned bool
}

// post is a report that came over HTTPS.
type post struct {
	at     time.Time
	url    string
	kind   string
	agent  string
	report *tlsrpt.Report
}

func (p post) String() string {
	return fmt.Sprintf("%s %s", p.at.UTC().Format("02 15:04"), p.url)
}

// bubble runs a test under virtual time, in a world of its own. The bubble's time begins
// at midnight UTC.
func bubble(t *testing.T, zone string, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{DNS: &mxtest.DNS{Zone: zone}, t: t, roots: x509.NewCertPool(), status: func(string) int { return 200 }}
		w.certify("*.test", "*.e.test")
		f(t, w)
		w.wg.Wait()
	})
}

// certify gives the hosts of the web a certificate.
func (w *world) certify(names ...string) {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), DNSNames: names,
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	w.roots.AddCert(cert)
	w.cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// answer has hosts of the web answer with a status; 0 is not at all.
func (w *world) answer(status func(host string) int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = status
}

func (w *world) answerAll(status int) { w.answer(func(string) int { return status }) }

// Dial connects to a host of the web.
func (w *world) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dialed = append(w.dialed, address)
	dead := w.status("") == 0
	w.mu.Unlock()
	if dead {
		<-ctx.Done()
		return nil, errors.New("no answer from " + address)
	}
	client, server := smtptest.Pipe()
	w.wg.Go(func() {
		defer server.Close()
		conn := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{w.cert}})
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.mu.Lock()
		status := w.status(r.Host)
		report, err := tlsrpt.ParseReport(body)
		if err != nil {
			w.t.Error(err)
		}
		w.posts = append(w.posts, post{time.Now(), r.Method + " https://" + r.Host + r.RequestURI, r.Header.Get("Content-Type"), r.UserAgent(), report})
		w.mu.Unlock()
		if status != 0 {
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d X\r\nLocation: https://other.test/\r\nContent-Length: 2\r\n\r\nok", status)
		}
		_ = conn.Close()
	})
	return client, nil
}

// Submit takes a report by mail.
func (w *world) Submit(_ context.Context, m *queue.Message) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		if err := w.refuse(m); err != nil {
			return "", err
		}
	}
	w.mails = append(w.mails, m)
	return fmt.Sprint(len(w.mails)), nil
}

// Signs is whether mail is signed.
func (w *world) Signs() (is bool) {
	w.locked(func() { is = !w.unsigned })
	return is
}

// reporter is one that lives in this world.
func (w *world) reporter() *tlsrpt.Reporter {
	return &tlsrpt.Reporter{
		Counts: &tlsrpt.Counts{}, Submitter: tlsrpt.Submitter{Organization: "Send", Contact: "tls@send.test"}, Resolver: w.DNS,
		Mail: w, Poster: &tlsrpt.Poster{Dial: w.Dial, Roots: w.roots},
	}
}

// run runs Reporters until the end of the test, or until stop is called.
func (w *world) run(reporters ...*tlsrpt.Reporter) (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	var all sync.WaitGroup
	for _, r := range reporters {
		all.Go(func() {
			if err := r.Run(ctx); !errors.Is(err, context.Canceled) {
				w.t.Error(err)
			}
		})
	}
	stop = func() {
		cancel()
		all.Wait()
	}
	w.t.Cleanup(stop)
	return stop
}

// locked does something that nothing else in the world does at the same time.
func (w *world) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// reports are those that came over HTTPS.
func (w *world) reports() (all []post) {
	w.locked(func() { all = slices.Clone(w.posts) })
	return all
}

// letters are those that came by mail.
func (w *world) letters() (all []*queue.Message) {
	w.locked(func() { all = slices.Clone(w.mails) })
	return all
}

// dials is how often somebody was connected to.
func (w *world) dials() (n int) {
	w.locked(func() { n = len(w.dialed) })
	return n
}

// received are the reports that came over HTTPS, by URL and domain.
func (w *world) received() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.posts {
		all = append(all, p.url)
	}
	return all
}

// mailed are the addresses that reports were mailed to.
func (w *world) mailed() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.mails {
		all = append(all, m.Recipients[0].Address)
	}
	slices.Sort(all)
	return all
}

// sessions are the numbers of a report.
func sessions(r *tlsrpt.Report) string {
	var all []string
	for _, p := range r.Policies {
		all = append(all, fmt.Sprintf("%s %s %d/%d", p.Policy.Type, p.Policy.Domain, p.Summary.Successful, p.Summary.Failed))
	}
	return r.DateRange.Start.Format(time.DateOnly) + " " + strings.Join(all, ", ")
}

// until waits for a time of the bubble's first days, such as 1d10h.
func until(days int, clock time.Duration) {
	time.Sleep(time.Until(time.Date(2000, 1, 1+days, 0, 0, 0, 0, time.UTC).Add(clock)))
	synctest.Wait()
}
