//go:build linux

package peers_test

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// policyHost is where the policies of MTA-STS are.
const policyHost = "127.4.0.1"

// trustCase is a domain of both servers, and what becomes of mail for it.
type trustCase struct {
	name   string // in a domain name
	row    string
	zone   string // the words in capitals are replaced
	policy string // of MTA-STS, if any: a mode and a host
	in     string // the zone that it is in; default: the root
	away   bool   // the host is in the zone that is not signed
	tls    string // what authenticates; none: the mail is kept
	reason string
}

// The zones: one that is not signed, one that ldns-signzone has signed with hashes of names
// (NSEC3), and one below that which is left out there.
const (
	notSigned = "plain.test"
	hashed    = "hashed.test"
	optedOut  = "free.hashed.test"
)

// trustCases are the domains, each with an MX record for one host of the server.
func trustCases() []trustCase {
	const tlsa = "_25._tcp.HOST. TLSA "
	return []trustCase{
		{name: "key", row: "TLS-27, TLS-37 the key", zone: tlsa + "RIGHT", tls: "dane"},
		{name: "root", row: "TLS-38, TLS-39 the authority, and the name of the host", zone: tlsa + "ROOT", tls: "dane"},
		{name: "next", row: "TLS-41 the key, and the next one", zone: tlsa + "WRONG\n" + tlsa + "RIGHT", tls: "dane"},
		{name: "wrong", row: "TLS-27 another key", zone: tlsa + "WRONG", tls: "none", reason: "tlsa-no-match"},
		{name: "two", row: "TLS-20, TLS-27 another key, and a second host with the right one", zone: tlsa + "WRONG\nDOMAIN. MX 20 key.SERVER.test.", tls: "dane"},
		{name: "nouse", row: "TLS-27 records that are of no use", zone: tlsa + "1 1 1 " + strings.Repeat("00", 32), tls: "encrypted"},
		{name: "bogus", row: "TLS-27, TLS-29 records whose zone is signed with another key", zone: "_tcp.HOST. NS ns.test.\n_tcp.HOST. DS 1 13 2 " + strings.Repeat("00", 32), tls: "none", reason: "dns-lookup-failed"},
		{name: "old", row: "TLS-27, TLS-29 records whose signatures have expired", zone: "_tcp.HOST. NS ns.test.\n_tcp.HOST. DS OLD", tls: "none", reason: "dns-lookup-failed"},
		{name: "any", row: "TLS-33 records by a wildcard", zone: "*._tcp.HOST. TLSA RIGHT", tls: "dane"},
		{name: "many", row: "TLS-27 more records than a datagram holds", zone: strings.Repeat(tlsa+"OTHER\n", 60) + tlsa + "RIGHT", tls: "dane"},
		{name: "whole", row: "TLS-37 the whole certificate", zone: tlsa + "WHOLE", tls: "dane"},
		{name: "elsewhere", row: "TLS-33 records behind an alias", zone: "_25._tcp.HOST. CNAME dane.HOST.\ndane.HOST. TLSA RIGHT", tls: "dane"},
		{name: "outside", row: "TLS-33 records behind an alias that leads to an unsigned zone", zone: "_25._tcp.HOST. CNAME _25._tcp.SERVER.plain.test.", tls: "encrypted"},
		{name: "target", row: "TLS-31 a host that is an alias, records at its target", zone: "HOST. CNAME key.SERVER.test.", tls: "dane"},
		{name: "alias", row: "TLS-32 a host that is an alias of one in an unsigned zone", zone: "HOST. CNAME SERVER.plain.test.\n" + tlsa + "RIGHT", tls: "dane"},
		{name: "hashed", row: "TLS-27 a zone with NSEC3", in: hashed, zone: tlsa + "RIGHT", tls: "dane"},
		{name: "hashedwrong", row: "TLS-27 a zone with NSEC3, another key", in: hashed, zone: tlsa + "WRONG", tls: "none", reason: "tlsa-no-match"},
		{name: "hashedbare", row: "TLS-27 a zone with NSEC3, no records", in: hashed, tls: "encrypted"},
		{name: "optout", row: "TLS-28 an unsigned zone that NSEC3 has opted out", in: optedOut, zone: tlsa + "WRONG", tls: "encrypted"},
		{name: "bare", row: "TLS-27 no records", tls: "encrypted"},
		{name: "away", row: "TLS-30 records of a host that is not signed", away: true, tls: "encrypted"},
		{name: "free", row: "TLS-28 an unsigned zone", in: notSigned, tls: "encrypted"},
		{name: "sts", row: "TLS-19 an unsigned zone, and an MTA-STS policy", in: notSigned, policy: "enforce HOST", tls: "mta-sts"},
		{name: "else", row: "TLS-19 an unsigned zone, and an MTA-STS policy for another host", in: notSigned, policy: "enforce else.test", tls: "none", reason: "mx-mismatch"},
		{name: "both", row: "TLS-25 DANE, and an MTA-STS policy for another host", zone: tlsa + "RIGHT", policy: "enforce else.test", tls: "dane"},
		{name: "less", row: "TLS-25 another key, and an MTA-STS policy that the host meets", zone: tlsa + "WRONG", policy: "enforce HOST", tls: "none", reason: "tlsa-no-match"},
	}
}

// hop is a real server with a certificate.
type hop struct {
	name, ip string
	server   *peers.Server
	chain    []*x509.Certificate
}

func (h *hop) domain(c *trustCase) string { return c.name + "-" + h.name + "." + cmp.Or(c.in, "test") }

// host is the name of the server for a domain.
func (h *hop) host(c *trustCase) string {
	if c.in == notSigned || c.away {
		return h.name + "." + notSigned
	}
	return c.name + "." + h.name + "." + cmp.Or(c.in, "test")
}

// trusting is Postfix and Exim with the domains of trustCases, Knot and Unbound.
type trusting struct {
	*world
	hops   []*hop
	dns    *signed
	sender *delivery.Sender
}

func startTrusting(t *testing.T) *trusting {
	w := &trusting{world: &world{}}
	w.newRoot(t)
	for i, name := range []string{"postfix", "exim"} {
		w.hops = append(w.hops, &hop{name: name, ip: fmt.Sprintf("127.5.0.%d", i+1)})
	}
	text := map[string]*strings.Builder{"": {}, notSigned: {}, hashed: {}, optedOut: {}}
	policies := map[string]string{}
	var zones []peers.Zone
	for _, h := range w.hops {
		w.start(t, h)
		fmt.Fprintf(text[notSigned], "%s.%s. A %s\n_25._tcp.%[1]s.%[2]s. TLSA %[4]s\n", h.name, notSigned, h.ip, wrongTLSA)
		for _, c := range trustCases() {
			zones = append(zones, w.describe(t, h, &c, text[c.in], policies)...)
		}
	}
	w.web(t, policies)
	fmt.Fprintf(text[hashed], "%s. NS ns.test.\n", optedOut)
	signed, ds := presigned(t, hashed, text[hashed].String(), "-n", "-p")
	fmt.Fprintf(text[""], "%s. NS ns.test.\n%s. NS ns.test.\n%[2]s. DS %s\n", notSigned, hashed, ds)
	zones = append(zones, signed)
	for _, name := range []string{notSigned, optedOut} {
		zones = append(zones, peers.Zone{Name: name, NS: "ns.test.", Text: text[name].String()})
	}
	w.dns = signedRoot(t, "127.2.2", text[""].String(), zones...)
	resolver := &mx.Cache{Resolver: w.dns.vouching()}
	w.sender = w.newSender(t)
	w.sender.Router = delivery.ByMX(&mx.Router{Resolver: resolver, AllowLoopback: true})
	w.sender.Policy = &trust.Source{Resolver: resolver, Fetcher: &mtasts.Fetcher{Resolver: resolver, Roots: w.roots, AllowLoopback: true}}
	return w
}

// describe adds the records of a domain to a zone, and its policy. It returns zones of its
// own that it has.
func (w *trusting) describe(t *testing.T, h *hop, c *trustCase, zone *strings.Builder, policies map[string]string) (own []peers.Zone) {
	t.Helper()
	domain, host := h.domain(c), h.host(c)
	fmt.Fprintf(zone, "%s. MX 10 %s.\n", domain, host)
	if host != h.name+"."+notSigned && !strings.HasPrefix(c.zone, "HOST. CNAME") {
		fmt.Fprintf(zone, "%s. A %s\n", host, h.ip)
	}
	key, root := sha256.Sum256(h.chain[0].RawSubjectPublicKeyInfo), sha256.Sum256(w.root.Raw)
	right, below, oldDS := "3 1 1 "+hex.EncodeToString(key[:]), "_tcp."+host, ""
	switch c.name {
	case "bogus":
		own = append(own, peers.Zone{Name: below, NS: "ns.test.", Sign: peers.KnotSigns, Text: "_25 TLSA " + right})
	case "old":
		var old peers.Zone
		old, oldDS = presigned(t, below, "_25 TLSA "+right, "-i", "20200101000000", "-e", "20200201000000")
		own = append(own, old)
	}
	records := strings.NewReplacer("DOMAIN", domain, "SERVER", h.name, "HOST", host, "RIGHT", right, "ROOT", "2 0 1 "+hex.EncodeToString(root[:]),
		"WHOLE", "3 0 0 "+hex.EncodeToString(h.chain[0].Raw), "WRONG", wrongTLSA, "DS OLD", "DS "+oldDS).Replace(c.zone)
	for i := 0; strings.Contains(records, "OTHER"); i++ {
		records = strings.Replace(records, "OTHER", fmt.Sprintf("3 1 1 %064x", i), 1)
	}
	fmt.Fprintln(zone, records)
	if c.policy != "" {
		mode, pattern, _ := strings.Cut(strings.Replace(c.policy, "HOST", host, 1), " ")
		policies["mta-sts."+domain] = "version: STSv1\nmode: " + mode + "\nmx: " + pattern + "\nmax_age: 86400\n"
		fmt.Fprintf(zone, "mta-sts.%s. A %s\n_mta-sts.%[1]s. TXT \"v=STSv1; id=1;\"\n", domain, policyHost)
	}
	return own
}

const wrongTLSA = "3 1 1 0000000000000000000000000000000000000000000000000000000000000000"

// start has a server take mail for its domains, with a certificate for its names.
func (w *trusting) start(t *testing.T, h *hop) {
	t.Helper()
	var domains []string
	for _, c := range trustCases() {
		domains = append(domains, h.domain(&c))
	}
	cert, key := w.pemFor(t, "*."+h.name+".test", h.name+".plain.test")
	for rest := []byte(cert); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		h.chain = append(h.chain, c)
	}
	switch h.name {
	case "postfix":
		h.server = peers.Postfix(h.ip, "postfix.test", cert, key,
			"virtual_mailbox_domains = "+strings.Join(domains, " ")+"\nvirtual_mailbox_maps = static:u")
	case "exim":
		h.server = peers.Exim(h.ip, "exim.test", cert, key)
		conf := h.server.Files["/etc/exim4/exim4.conf"]
		h.server.Files["/etc/exim4/exim4.conf"] = strings.Replace(conf, "domains = e.test", "domains = "+strings.Join(domains, " : "), 1)
	}
	h.server.Start(t)
}

// pemFor is a certificate of the test's authority for names, with the authority's own
// behind it, and its key.
func (w *world) pemFor(t *testing.T, names ...string) (chain, key string) {
	t.Helper()
	leaf, key := w.pem(t, names...)
	return leaf + string(w.rootPEM()), key
}

// web serves policies over HTTPS, by host.
func (w *trusting) web(t *testing.T, policies map[string]string) {
	t.Helper()
	var names []string
	for name := range policies {
		names = append(names, name)
	}
	cert, key := w.pem(t, names...)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", policyHost+":443", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/plain")
		_, _ = rw.Write([]byte(policies[r.Host]))
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
}

// presigned is a zone that ldns-signzone has signed, and its DS record.
func presigned(t *testing.T, name, records string, flags ...string) (zone peers.Zone, ds string) {
	t.Helper()
	dir := t.TempDir()
	run := func(args ...string) string {
		cmd, err := peers.Tool("ldns", "usr/bin/"+args[0], args[1:]...)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	text := "$ORIGIN " + name + ".\n$TTL 60\n@ SOA ns.test. root.invalid. 1 3600 600 86400 60\n@ NS ns.test.\n" + records + "\n"
	if err := os.WriteFile(filepath.Join(dir, "zone"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	key := run("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", name)
	run(append(append([]string{"ldns-signzone"}, flags...), "-f", "signed", "zone", key)...)
	_, ds, _ = strings.Cut(strings.Join(strings.Fields(read(key+".ds")), " "), "DS ")
	return peers.Zone{Name: name, Whole: read("signed")}, ds
}

// TestTrustedHops sends to Postfix and Exim, over signed zones of Knot's that Unbound
// validates.
func TestTrustedHops(t *testing.T) {
	t.Parallel()
	w := startTrusting(t)
	t.Run("programs", w.programs)
	t.Run("SMTP-43 TLS that is resumed", w.resumes)
	for _, h := range w.hops {
		for _, c := range trustCases() {
			t.Run(c.row+", "+h.name, func(t *testing.T) {
				word := token(t)
				r, _ := w.sender.Send(t.Context(), message(text+word+"\r\n", "u@"+h.domain(&c)))
				rr := &r.Recipients[0]
				if c.tls == "none" {
					if rr.Outcome != queue.Deferred || rr.Decision == nil || rr.Decision.Reason != c.reason {
						t.Errorf("%v, %v, %v; want it deferred for %s", rr.Outcome, rr.Err, rr.Decision, c.reason)
					}
					if strings.Contains(h.server.Mail("/var/vmail"), word) {
						t.Error("it arrived")
					}
					return
				}
				if rr.Outcome != queue.Delivered || rr.TLS.String() != c.tls {
					t.Fatalf("%v with TLS %v: %v, %v; want it delivered with TLS %s", rr.Outcome, rr.TLS, rr.Err, rr.Decision, c.tls)
				}
				arrived(t, h.server, "/var/vmail", word)
			})
		}
	}
}

// programs is mxsend and the relay on the same servers.
func (w *trusting) programs(t *testing.T) {
	roots := w.hops[0].server.Path("/roots.pem")
	if err := os.WriteFile(roots, w.rootPEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	runBy := func(dns, stdin string, args ...string) (string, int) {
		cmd := exec.Command(filepath.Join(os.Getenv(builtPath), "mxsend"), append([]string{"-dns", dns + ":53", "-loopback", "-helo", "from.test"}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+roots)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	run := func(stdin string, args ...string) (string, int) { return runBy(w.dns.validator, stdin, args...) }
	for _, h := range w.hops {
		for _, c := range []struct {
			domain string
			code   int
			tls    string
			says   string // when it connects and explains
		}{
			{"key", 0, "dane", `mail would go there, TLS dane`},
			{"root", 0, "dane", `matches at depth 1`},
			{"wrong", 75, "none", `no mail for now: starttls: DANE for wrong\.` + h.name + `\.test: refused: no certificate matches a TLSA record`},
			{"old", 75, "none", `no mail for now: DANE for old\.` + h.name + `\.test: refused: .*DNSSEC validation failure`},
			{"bare", 0, "encrypted", `mail would go there, TLS encrypted`},
			{"sts", 0, "mta-sts", `mail would go there, TLS mta-sts`},
		} {
			domain := c.domain + "-" + h.name + ".test"
			if c.domain == "sts" {
				domain = c.domain + "-" + h.name + ".plain.test"
			}
			t.Run("TLS-27 mxsend, "+domain, func(t *testing.T) {
				word := token(t)
				out, code := run(text+word+"\n", "-json", "-tls", "dane", "-f", "a@from.test", "u@"+domain)
				var got struct{ TLS string }
				if err := json.Unmarshal([]byte(out), &got); err != nil || code != c.code || got.TLS != c.tls {
					t.Errorf("exit code %d, TLS %s (%v): %s; want %d, %s", code, got.TLS, err, out, c.code, c.tls)
				}
				if c.code == 0 {
					arrived(t, h.server, "/var/vmail", word)
				} else if strings.Contains(h.server.Mail("/var/vmail"), word) {
					t.Error("it arrived")
				}
				if out, code := run("", "-explain", "-explain-connect", "-tls", "dane", "u@"+domain); code != 0 || !regexp.MustCompile(c.says).MatchString(out) {
					t.Errorf("exit code %d, it does not say %s:\n%s", code, c.says, out)
				}
			})
		}
	}
	t.Run("TLS-26 a server that validates nothing", func(t *testing.T) {
		out, code := runBy(w.dns.signer, text, "-tls", "dane", "-f", "a@from.test", "u@key-postfix.test")
		if code != 78 || !strings.Contains(out, "does not report DNSSEC validation") {
			t.Errorf("exit code %d: %s", code, out)
		}
	})
	t.Run("TLS-27 the relay", func(t *testing.T) {
		events := filepath.Join(t.TempDir(), "events")
		relay(t, "127.5.0.9:2525", "-dns", w.dns.validator+":53", "-tls", "dane", "-events", events)
		words := map[string]string{}
		for _, h := range w.hops {
			for _, name := range []string{"key", "wrong"} {
				word := token(t) + "-" + name
				to := "u@" + name + "-" + h.name + ".test"
				if err := smtp.SendMail("127.5.0.9:2525", nil, "a@from.test", []string{to}, []byte(text+word+"\r\n")); err != nil {
					t.Fatal(to, err)
				}
				words[to] = word
			}
		}
		for _, h := range w.hops {
			arrived(t, h.server, "/var/vmail", words["u@key-"+h.name+".test"])
			wrong := "u@wrong-" + h.name + ".test"
			peers.Eventually(t, "the event about "+wrong, func() bool {
				data, err := os.ReadFile(events)
				return err == nil && regexp.MustCompile(wrong+`.*"reason":"tlsa-no-match"`).Match(data)
			})
			if strings.Contains(h.server.Mail("/var/vmail"), words[wrong]) {
				t.Errorf("to %s: it arrived", wrong)
			}
		}
	})
}
