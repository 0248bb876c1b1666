//go:build linux

package peers_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// presenter is where hosts with certificates are.
const presenter = "127.3.0.1"

// signed is a signed root zone, served by Knot, and Unbound that trusts its key and
// nothing else.
type signed struct {
	knot, unbound     *peers.Server
	signer, validator string // addresses
}

// signedRoot begins one with these records, at addresses of a network. The record of
// ns.test, where zones that are delegated may be, is there.
func signedRoot(t *testing.T, network, text string, more ...peers.Zone) *signed {
	t.Helper()
	s := &signed{signer: network + ".1", validator: network + ".53"}
	zones := append([]peers.Zone{{Name: ".", NS: "ns.test.", Sign: peers.KnotSigns, More: "acl: itself", Text: "ns.test. A " + s.signer + "\n" + text}}, more...)
	s.knot = peers.Knot(s.signer, zones...)
	s.knot.Start(t)
	s.unbound = peers.Unbound(s.validator, s.signer, []string{"."}, []string{peers.Anchor(t, s.signer, ".")})
	s.unbound.Start(t)
	return s
}

// vouching is what DNS says by the resolver that validates, and is trusted.
func (s *signed) vouching() mx.Resolver {
	return &mx.Client{Servers: []mx.Server{{Addr: s.validator + ":53", TrustAD: true}}}
}

// destination is a way to a host whose certificate is looked at.
type destination struct {
	name    string
	nextHop string // in Postfix's notation, without a port
	host    string // where the TLSA records are
}

const waysZone = `
mx.example.test.    A     127.3.0.1
other.test.         A     127.3.0.1
mx.test.            A     127.3.0.1
example.test.       MX    10 mx.example.test.
alias.test.         CNAME example.test.
mail.old.test.      CNAME mx.example.test.
viaalias.test.      MX    10 mail.old.test.
insecure.test.      NS    ns.test.
`

// ways are the destinations that lead to mx.example.test, by what is known of them.
var ways = []destination{
	{"the host by name", "[mx.example.test]", baseDomain},
	{"the host as a domain", baseDomain, baseDomain},
	{"a domain", "example.test", baseDomain},
	{"an alias of a domain", "alias.test", baseDomain},
	{"a host that is an alias, records at its target", "viaalias.test", baseDomain},
	{"a host that is an alias, records at its own name", "viaalias.test", "mail.old.test"},
	{"a domain that is not signed", "insecure.test", baseDomain},
}

// judged is a case of the matrix.
type judged struct {
	chain, set, way string
	nextHop         string // with its port
	port            uint16
}

// named are hosts that differ in the name of their certificate.
func named(t *testing.T) []shown {
	root := issue(t, nil, "root", anAuthority)
	middle := issue(t, root, "middle", anAuthority)
	var all []shown
	for _, name := range []string{baseDomain, "example.test", "alias.test", "mail.old.test", "viaalias.test", "insecure.test", "*.example.test", "other.test"} {
		all = append(all, shown{"for " + name, []*issued{issue(t, middle, "", forNames(name)), middle}, middle, root, baseDomain})
	}
	return all
}

// judgeMatrix is the cases: every chain with sets of records, and every way with every
// name of a certificate. It has the hosts listen, and returns the zone with the records.
func judgeMatrix(t *testing.T) (cases []judged, zone string) {
	other := issue(t, nil, "someone else", anAuthority)
	var records strings.Builder
	add := func(s *shown, host *smtptest.Host, set string, texts []string, d destination) {
		c := judged{chain: s.name, set: set, way: d.name, port: uint16(10000 + len(cases))}
		c.nextHop = fmt.Sprintf("%s:%d", d.nextHop, c.port)
		for _, text := range texts {
			fmt.Fprintf(&records, "_%d._tcp.%s. TLSA %s\n", c.port, d.host, text)
		}
		_, end, err := host.Listen(fmt.Sprintf("%s:%d", presenter, c.port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(end)
		cases = append(cases, c)
	}
	whole := os.Getenv("NEXTHOP_LONG") != ""
	for _, s := range chains(t) {
		host := s.speak()
		for set, texts := range s.sets(other) {
			if whole || usual[set] && (s.name == "the whole chain" || set != "another authority" && set != "none of use") {
				add(&s, host, set, texts, destination{"the host by name", "[" + s.base + "]", s.base})
			}
		}
	}
	for _, s := range named(t) {
		host := s.speak()
		sets := s.sets(other)
		for _, set := range []string{"3 1 1", "2 0 1 of the issuer", "another authority"} {
			if !whole && set != "2 0 1 of the issuer" && s.name != "for other.test" {
				continue
			}
			for _, d := range ways {
				add(&s, host, set, sets[set], d)
			}
		}
	}
	return cases, waysZone + records.String()
}

// usual are the sets of records that every chain is judged by each time the tests run.
var usual = map[string]bool{
	"3 1 1": true, "2 0 1 of the issuer": true, "2 1 1 of the root": true, "2 1 0 of the root": true, "another authority": true,
	"the weaker digest alone matches": true, "the host as its own authority": true, "none of use": true,
}

// speak is a mail server with the chain of certificates.
func (s *shown) speak() *smtptest.Host {
	cert := tls.Certificate{PrivateKey: s.chain[0].key}
	for _, one := range s.chain {
		cert.Certificate = append(cert.Certificate, one.cert.Raw)
	}
	return &smtptest.Host{Name: s.base, Extensions: []string{"STARTTLS"}, TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}
}

// daneSays is what our whole way to a host says of it: the route, the records, the session.
func (c *judged) daneSays(t *testing.T, resolver mx.Resolver) string {
	router := &mx.Router{Resolver: resolver, AllowLoopback: true, HostLookup: &mx.HostLookup{DNSOnly: true}}
	sender := &delivery.Sender{
		Hello: "from.test", Port: c.port, MaxIdle: -1, ConnectTimeout: patience,
		Timeouts: delivery.Timeouts{Greeting: patience, Hello: patience},
		Policy:   &trust.Source{Resolver: resolver, NoMTASTS: true, DANE: &dane.Source{Resolver: resolver, Port: c.port, InsecureMX: true}},
	}
	defer sender.Close()
	domain, _, err := net.SplitHostPort(strings.NewReplacer("[", "", "]", "").Replace(c.nextHop))
	if err != nil {
		t.Fatal(err)
	}
	if sender.Router = delivery.ByMX(router); c.nextHop[0] == '[' {
		host, err := smarthost.Parse(c.nextHop)
		if err != nil {
			t.Fatal(err)
		}
		table := &smarthost.Table{Router: router}
		if err := table.Set(smarthost.Rules{Default: []smarthost.Host{host}}); err != nil {
			t.Fatal(err)
		}
		sender.Router = table
	}
	e, err := sender.ExplainConnect(t.Context(), "", domain)
	if err != nil || len(e.Policies) != 1 || e.Policies[0].Probe == nil || e.Policies[0].Probe.Decision == nil {
		return fmt.Sprintf("%+v, %v", e, err)
	}
	d := e.Policies[0].Probe.Decision
	evidence, ok := d.Evidence.(*trust.Evidence)
	switch {
	case ok && evidence.DANE != nil && evidence.DANE.Policy.Outcome == dane.Unusable:
		return "unusable"
	case ok && evidence.DANE != nil && evidence.DANE.Authenticated:
		return "authenticated"
	case !d.Accepted:
		return "refused"
	}
	return d.String()
}

// finger is posttls-finger among its files.
func finger(t *testing.T, validator string) *peers.Server {
	s := &peers.Server{Package: "postfix", Users: []string{"postfix", "postdrop"}, Files: map[string]string{
		"/etc/postfix/main.cf": "compatibility_level = 3.6\nmyhostname = from.test\ninet_protocols = ipv4\nmynetworks =\n",
		"/etc/resolv.conf":     "nameserver " + validator + "\noptions trust-ad edns0\n",
	}}
	s.Unpack(t)
	return s
}

var established = regexp.MustCompile(`(Verified|Trusted|Untrusted|Anonymous) TLS connection established`)

// postfixSays is what posttls-finger says of the same.
func (c *judged) postfixSays(t *testing.T, s *peers.Server) string {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	text, err := s.Run(ctx, nil, "/usr/sbin/posttls-finger", "-c", "-l", "dane", "-L", "certmatch,summary", c.nextHop)
	m := established.FindStringSubmatch(text)
	switch {
	case err != nil || m == nil:
		return fmt.Sprintf("%s: %v", text, err)
	case m[1] == "Verified", m[1] == "Trusted" && strings.Contains(text, "Matched DANE"):
		return "authenticated" // where it is not known that the host is the domain's, it says "trusted"
	case strings.Contains(text, "TLSA records unusable"), strings.Contains(text, "unsupported TLSA certificate usage") && !strings.Contains(text, "num=6"):
		return "unusable"
	}
	return "refused"
}

// listed are the cases of which we say something else than Postfix, and why.
func (c *judged) listed(ours, theirs string) (why string, is bool) {
	if c.way == "a domain that is not signed" && c.chain == "for insecure.test" {
		return "RFC 7672 section 3.2.2: the domain is a name for the certificate if a secure MX lookup led from it", ours == "refused"
	}
	return listed(c.chain, c.set, ours, theirs)
}

// TestDANEAsPostfixSees holds our way to a host, from the name of a domain to the verdict
// on a certificate, to that of posttls-finger, over one validating resolver.
func TestDANEAsPostfixSees(t *testing.T) {
	t.Parallel()
	cases, zone := judgeMatrix(t)
	dns := signedRoot(t, "127.2.1", zone, peers.Zone{Name: "insecure.test", NS: "ns.test.", Text: "@ MX 10 mx.example.test."})
	s := finger(t, dns.validator)
	var wg sync.WaitGroup
	var mu sync.Mutex
	turns := make(chan struct{}, 4)
	said, known := map[string]int{}, map[string]int{}
	for _, c := range cases {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			ours, theirs := c.daneSays(t, dns.vouching()), c.postfixSays(t, s)
			mu.Lock()
			defer mu.Unlock()
			said[ours]++
			if ours == theirs {
				return
			}
			why, is := c.listed(ours, theirs)
			if known[why]++; !is {
				t.Errorf("TLS-37, TLS-38, TLS-39, TLS-40 %s, %s, %s: we say %s, Postfix %s", c.chain, c.set, c.way, ours, theirs)
			}
		})
	}
	wg.Wait()
	if len(cases) < 120 {
		t.Errorf("%d cases, want 120 at least", len(cases))
	}
	t.Logf("%d cases: %v; known to differ: %v", len(cases), said, known)
}
