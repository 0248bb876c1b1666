//go:build linux

package peers_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// issued is a certificate with its key.
type issued struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate for a host, signed by another or by itself.
func issue(t *testing.T, by *issued, name string, changes ...func(*x509.Certificate)) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return issueFor(t, by, key, name, changes...)
}

// issueFor makes a certificate for a key that is there.
func issueFor(t *testing.T, by *issued, key *ecdsa.PrivateKey, name string, changes ...func(*x509.Certificate)) *issued {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true,
	}
	for _, change := range changes {
		change(template)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{cert, key}
}

func anAuthority(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }
func noPathBelow(c *x509.Certificate) { c.MaxPathLenZero = true }
func over(c *x509.Certificate)        { c.NotAfter = time.Now().Add(-time.Minute) }
func ahead(c *x509.Certificate)       { c.NotBefore = time.Now().Add(time.Minute) }
func elsewhere(c *x509.Certificate) {
	c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"else.test"}, true
}
func forUse(u x509.ExtKeyUsage) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{u} }
}
func forNames(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

// shown is what a host sends, and who else there is.
type shown struct {
	name         string
	chain        []*issued
	issuer, root *issued
	base         string
}

const baseDomain = "mx.example.test"

// chains are the hosts of the matrix.
func chains(t *testing.T) []shown {
	root := issue(t, nil, "root", anAuthority)
	middle := issue(t, root, "middle", anAuthority)
	leaf := func(by *issued, changes ...func(*x509.Certificate)) *issued {
		return issue(t, by, baseDomain, append([]func(*x509.Certificate){forNames(baseDomain)}, changes...)...)
	}
	good, self, stranger := leaf(middle), leaf(nil), issue(t, nil, "stranger", anAuthority)
	tight := issue(t, root, "tight", anAuthority, noPathBelow)
	below := issue(t, tight, "below", anAuthority)
	noCA, dead, narrow := issue(t, root, "no authority"), issue(t, root, "dead", anAuthority, over), issue(t, root, "narrow", anAuthority, elsewhere)
	deadRoot := issue(t, nil, "dead root", anAuthority, over)
	full := func(name string, l, by *issued) shown {
		return shown{name, []*issued{l, by, root}, by, root, baseDomain}
	}
	all := []shown{
		full("the whole chain", good, middle),
		{"without the root", []*issued{good, middle}, middle, root, baseDomain},
		{"the host's alone", []*issued{good}, middle, root, baseDomain},
		{"a gap in the middle", []*issued{good, root}, middle, root, baseDomain},
		{"another order, and a stranger", []*issued{good, stranger, root, middle}, middle, root, baseDomain},
		{"another base domain", []*issued{good, middle, root}, middle, root, "other.test"},
		{"self-signed", []*issued{self}, self, root, baseDomain},
		{"self-signed, an authority", []*issued{leaf(nil, anAuthority)}, stranger, root, baseDomain},
		{"self-signed and expired", []*issued{leaf(nil, over, forNames("old.test"))}, stranger, root, baseDomain},
		full("expired", leaf(middle, over), middle),
		full("not valid yet", leaf(middle, ahead), middle),
		full("another name", issue(t, middle, "other.test", forNames("other.test")), middle),
		full("a wildcard", issue(t, middle, "", forNames("*.example.test")), middle),
		full("a wildcard too high", issue(t, middle, "", forNames("*.test")), middle),
		{"a wildcard below the root", []*issued{issue(t, middle, "", forNames("*.test")), middle, root}, middle, root, "mx.test"},
		full("a common name alone", issue(t, middle, baseDomain), middle),
		full("a common name beside another name", issue(t, middle, baseDomain, forNames("other.test")), middle),
		{"a path too long", []*issued{leaf(below), below, tight, root}, below, root, baseDomain},
		full("an issuer that is no authority", leaf(noCA), noCA),
		full("an issuer that has expired", leaf(dead), dead),
		{"a root that has expired", []*issued{leaf(deadRoot), deadRoot}, deadRoot, deadRoot, baseDomain},
		full("an issuer for other names", leaf(narrow), narrow),
		full("for clients", leaf(middle, forUse(x509.ExtKeyUsageClientAuth)), middle),
		full("for servers", leaf(middle, forUse(x509.ExtKeyUsageServerAuth)), middle),
	}
	return all
}

// tlsa is a record about a certificate, as zone text.
func tlsa(usage, selector, matching int, of *issued) string {
	data := of.cert.Raw
	if selector == 1 {
		data = of.cert.RawSubjectPublicKeyInfo
	}
	switch matching {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return fmt.Sprintf("%d %d %d %x", usage, selector, matching, data)
}

// sets are the sets of records for a host, by what they are.
func (s *shown) sets(other *issued) map[string][]string {
	leaf := s.chain[0]
	sets := map[string][]string{
		"another key":                            {tlsa(3, 1, 1, other)},
		"another authority":                      {tlsa(2, 1, 1, other)},
		"another whole authority":                {tlsa(2, 0, 0, other)},
		"another whole key of an authority":      {tlsa(2, 1, 0, other)},
		"the host as its own authority":          {tlsa(2, 0, 1, leaf)},
		"the host as its own, whole":             {tlsa(2, 0, 0, leaf)},
		"the host's key as its own":              {tlsa(2, 1, 0, leaf)},
		"the weaker digest alone matches":        {tlsa(3, 1, 1, leaf), tlsa(3, 1, 2, other)},
		"the stronger digest matches":            {tlsa(3, 1, 1, other), tlsa(3, 1, 2, leaf)},
		"a whole key beside a digest of another": {tlsa(3, 1, 0, leaf), tlsa(3, 1, 2, other)},
		"another key, or the right authority":    {tlsa(3, 1, 1, other), tlsa(2, 1, 1, s.issuer)},
		"the weaker authority alone matches":     {tlsa(2, 1, 1, s.root), tlsa(2, 1, 2, other)},
		"two authorities":                        {tlsa(2, 1, 1, other), tlsa(2, 1, 1, s.root)},
		"one of no use beside a good one":        {"3 1 1 00", tlsa(3, 1, 1, leaf)},
		"one of no use beside a wrong one":       {"3 1 9 00", tlsa(3, 1, 1, other)},
		"none of use":                            {"3 1 1 00", "3 9 1 00", "9 1 1 00", "3 0 0 3000"},
		"the usage of PKIX alone":                {tlsa(1, 1, 1, leaf)},
	}
	for selector := range 2 {
		for matching := range 3 {
			sets[fmt.Sprintf("3 %d %d", selector, matching)] = []string{tlsa(3, selector, matching, leaf)}
			sets[fmt.Sprintf("2 %d %d of the issuer", selector, matching)] = []string{tlsa(2, selector, matching, s.issuer)}
			sets[fmt.Sprintf("2 %d %d of the root", selector, matching)] = []string{tlsa(2, selector, matching, s.root)}
		}
	}
	return sets
}

// listed are the cases of which we say something else than OpenSSL, and programs that
// leave it to OpenSSL, and why.
func listed(chain, set string, ours, theirs string) (why string, is bool) {
	switch {
	case set == "the usage of PKIX alone":
		return "RFC 7672 section 3.1.3: usages 0 and 1 are unusable in SMTP", ours == "unusable"
	case chain == "a wildcard below the root" && theirs == "refused":
		return "RFC 7672 section 3.2.3: a wildcard is the whole first label; it says nothing of how many are left", ours == "authenticated"
	case chain == "self-signed, an authority" && set == "the host's key as its own":
		return "RFC 7671 section 5.2.3: the key has signed the last certificate that was sent", ours == "authenticated"
	case chain == "a root that has expired" && theirs == "refused":
		return "RFC 5280 section 6.1.1: an anchor of trust is a name and a key, not dates", ours == "authenticated"
	}
	return "", false
}

// TestDANEAsOpenSSLSees holds our verdicts to those of openssl s_client, case by case:
// what a host sends, what records there are, and under which name.
func TestDANEAsOpenSSLSees(t *testing.T) {
	other := issue(t, nil, "someone else", anAuthority)
	var cases sync.Map
	var wg sync.WaitGroup
	turns := make(chan struct{}, 2)
	n, known := 0, map[string]int{}
	var mu sync.Mutex
	for _, s := range chains(t) {
		addr := s.serve(t)
		for name, records := range s.sets(other) {
			n++
			wg.Go(func() {
				turns <- struct{}{}
				defer func() { <-turns }()
				ours, theirs := s.ours(t, records), s.theirs(t, addr, records)
				cases.Store(s.name+", "+name, ours)
				if ours == theirs {
					return
				}
				why, is := listed(s.name, name, ours, theirs)
				mu.Lock()
				defer mu.Unlock()
				if known[why]++; !is {
					t.Errorf("TLS-37, TLS-38, TLS-39, TLS-40 %s, %s: we say %s, OpenSSL %s", s.name, name, ours, theirs)
				}
			})
		}
	}
	wg.Wait()
	if n < 120 {
		t.Errorf("%d cases, want 120 at least", n)
	}
	said := map[string]int{}
	cases.Range(func(_, what any) bool { said[what.(string)]++; return true })
	t.Logf("%d cases: %v; known to differ: %v", n, said, known)
}

// serve has the host wait for connections.
func (s *shown) serve(t *testing.T) string {
	t.Helper()
	cert := tls.Certificate{PrivateKey: s.chain[0].key}
	for _, one := range s.chain {
		cert.Certificate = append(cert.Certificate, one.cert.Raw)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
				server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
				_, _ = server.Read(make([]byte, 1))
			})
		}
	})
	return listener.Addr().String()
}

// ours is our verdict in a word.
func (s *shown) ours(t *testing.T, records []string) string {
	dns := &mxtest.DNS{Signed: map[string]bool{".": true}}
	for _, r := range records {
		dns.Zone += "_25._tcp." + s.base + " TLSA " + r + "\n"
	}
	source := dane.Source{Resolver: dns}
	policy := source.Find(t.Context(), &mx.Route{Domain: s.base, Via: mx.ViaImplicit}, &mx.Host{Name: s.base, Target: s.base, Secure: mx.Secure, NameSecure: mx.Secure})
	session := dane.Session{Offered: true}
	for _, one := range s.chain {
		session.Chain = append(session.Chain, one.cert)
	}
	verdict := policy.Judge(session, time.Now())
	switch {
	case policy.Outcome == dane.Unusable:
		return "unusable"
	case verdict.Authenticated:
		return "authenticated"
	}
	return "refused"
}

var verifyCode = regexp.MustCompile(`Verify return code: (\d+)`)

// theirs is OpenSSL's.
func (s *shown) theirs(t *testing.T, addr string, records []string) string {
	args := []string{"s_client", "-connect", addr, "-servername", s.base, "-dane_tlsa_domain", s.base, "-dane_ee_no_namechecks", "-no-CAfile", "-no-CApath", "-no-CAstore"}
	for _, r := range records {
		args = append(args, "-dane_tlsa_rrdata", r)
	}
	cmd, err := peers.Tool("openssl", "usr/bin/openssl", args...)
	if err != nil {
		t.Error(err)
		return ""
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return ""
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	_ = cmd.Wait() // its status says whether the handshake succeeded, and the text what came of it
	text := out.String()
	if strings.Contains(text, "Failed to import any TLSA records") {
		return "unusable"
	}
	code := verifyCode.FindStringSubmatch(text)
	if code == nil {
		return text
	}
	if code[1] != "0" {
		return "refused" // which error OpenSSL names depends on the order in which it looks
	}
	if !strings.Contains(text, "DANE TLSA") {
		return "accepted without a record: " + text
	}
	return "authenticated"
}
