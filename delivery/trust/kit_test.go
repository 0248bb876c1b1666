package trust_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// world is an internet with a web of policy hosts, and a sender in it that goes by DANE and
// MTA-STS. Everything is signed unless a test says otherwise.
type world struct {
	t      *testing.T
	ca     *smtptest.Authority
	net    *smtptest.Internet
	web    *web
	source *trust.Source
	sender *delivery.Sender

	mu      sync.Mutex
	decided []*delivery.Decision
	notices []*delivery.TLSNotice
}

// authority is one for all tests: making keys costs time.
var authority = sync.OnceValues(smtptest.NewAuthority)

// bubble runs f in virtual time.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ca, err := authority()
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, ca: ca, web: &web{ca: ca, policies: make(map[string]string)}}
		w.net = &smtptest.Internet{
			Hosts: make(map[string]*smtptest.Host), Servers: map[string]smtptest.Server{"203.0.113.1:443": w.web},
			Signed: map[string]bool{".": true}, Authority: ca, Rules: []mxtest.Rule{},
		}
		f(t, w)
		if w.sender != nil {
			w.sender.Close()
		}
		pass(time.Second)
	})
}

// host adds a host with STARTTLS and its certificate.
func (w *world) host(name string, certificate tls.Certificate) *smtptest.Host {
	h := &smtptest.Host{Name: name, Extensions: []string{"PIPELINING", "CHUNKING", "STARTTLS", "ENHANCEDSTATUSCODES", "REQUIRETLS"}}
	h.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	w.net.Hosts[name] = h
	return h
}

// certificate is one for names, valid now.
func (w *world) certificate(names ...string) tls.Certificate {
	w.t.Helper()
	c, err := w.ca.Certificate(names...)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// certificateFor is one by a template.
func (w *world) certificateFor(template *x509.Certificate, names ...string) tls.Certificate {
	w.t.Helper()
	c, err := w.ca.CertificateFor(template, names...)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// certificateUntil is one for a name that ends at a time.
func (w *world) certificateUntil(end time.Time, name string) tls.Certificate {
	w.t.Helper()
	return w.certificateFor(&x509.Certificate{NotBefore: time.Now().Add(-time.Hour), NotAfter: end}, name)
}

// tlsa is the record "3 1 1" for a certificate.
func tlsa(c tls.Certificate) string {
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return err.Error()
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return "TLSA 3 1 1 " + hex.EncodeToString(sum[:])
}

// otherTLSA is one that matches nothing, and unusable one that can match nothing.
const (
	otherTLSA = "TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000"
	unusable  = "TLSA 1 1 1 0000000000000000000000000000000000000000000000000000000000000000"
)

// start begins the world with a zone. Lines end the zone text as they are.
func (w *world) start(lines ...string) {
	w.t.Helper()
	w.net.Zone = strings.Join(lines, "\n") + "\n"
	w.net.Start(w.t)
	fetcher := &mtasts.Fetcher{Resolver: w.net, Dial: w.net.DialContext, Roots: w.ca.Pool()}
	w.source = &trust.Source{
		Resolver: w.net, MTASTS: &mtasts.Source{Resolver: w.net, Fetcher: fetcher},
		Notice: func(n *delivery.TLSNotice) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.notices = append(w.notices, n)
		},
	}
	w.sender = &delivery.Sender{
		Hello: "from.test", Resolver: w.net, Dial: w.net.DialContext, Policy: w.source, TLSConfig: w.ca.ClientConfig(),
		Trace: &delivery.Trace{Decided: func(d *delivery.Decision) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.decided = append(w.decided, d)
		}},
	}
}

// zone replaces the zone.
func (w *world) zone(lines ...string) {
	w.t.Helper()
	if err := w.net.DNS().SetZone(strings.Join(lines, "\n") + "\n"); err != nil {
		w.t.Fatal(err)
	}
}

// send sends one message.
func (w *world) send(to ...string) *delivery.Report {
	w.t.Helper()
	return w.sendMessage(message(to...))
}

func (w *world) sendMessage(m *queue.Message) *delivery.Report {
	w.t.Helper()
	report, _ := w.sender.Send(w.t.Context(), m)
	return report
}

func message(to ...string) *queue.Message {
	m := &queue.Message{From: "a@from.test", Content: queue.String("From: a@from.test\r\nSubject: s\r\n\r\nbody\r\n")}
	for _, a := range to {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: a})
	}
	return m
}

// told are the decisions so far, and forgets them.
func (w *world) told() []*delivery.Decision {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.decided
	w.decided = nil
	return list
}

// asked reports whether a question of a type was asked, about any name.
func (w *world) asked(what string) bool {
	return slices.ContainsFunc(w.net.DNS().Queries(), func(q mxtest.Query) bool {
		return strings.Contains(fmt.Sprintf("%s %v", q.Name, q.Type), what)
	})
}

// web is the policy hosts.
type web struct {
	ca *smtptest.Authority

	mu       sync.Mutex
	policies map[string]string // by policy domain
	down     bool
	gets     int
	certs    map[string]*tls.Certificate
}

// Serve implements smtptest.Server.
func (w *web) Serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	server := tls.Server(conn, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return w.certificate(h.ServerName) }})
	r, err := http.ReadRequest(bufio.NewReader(server))
	if err != nil {
		return
	}
	w.mu.Lock()
	w.gets++
	policy, ok := w.policies[strings.TrimPrefix(r.Host, "mta-sts.")]
	down := w.down
	w.mu.Unlock()
	status := "200 OK"
	if !ok || down {
		status, policy = "404 Not Found", ""
	}
	_, _ = io.WriteString(server, fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", status, len(policy), policy))
	_ = server.Close()
}

func (w *web) certificate(name string) (*tls.Certificate, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.certs[name]; c != nil {
		return c, nil
	}
	c, err := w.ca.Certificate(name)
	if w.certs == nil {
		w.certs = make(map[string]*tls.Certificate)
	}
	w.certs[name] = &c
	return &c, err
}

// set is the policy of a domain from now on: its mode, its hosts.
func (w *web) set(domain, mode string, hosts ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := "version: STSv1\nmode: " + mode + "\nmax_age: 604800\n"
	for _, h := range hosts {
		text += "mx: " + h + "\n"
	}
	w.policies[domain] = text
}

// fetched is how often a policy was asked for.
func (w *web) fetched() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gets
}

// setDown has the policy hosts answer with no policy.
func (w *web) setDown(is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = is
}

// sts are the lines of a zone for the policy of a domain.
func sts(domain, id string) string {
	return fmt.Sprintf("_mta-sts.%[1]s. 60 TXT \"v=STSv1; id=%[2]s;\"\nmta-sts.%[1]s. A 203.0.113.1", domain, id)
}

// pass lets time pass in the bubble.
func pass(d time.Duration) { <-time.After(d) }

// mails is how many MAIL commands a host has had.
func mails(h *smtptest.Host) (n int) {
	for _, c := range h.Commands() {
		if strings.HasPrefix(c, "MAIL") {
			n++
		}
	}
	return n
}
