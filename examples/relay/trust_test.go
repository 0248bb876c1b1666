package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// TestPolicies: a relay goes by DANE, tells what keeps mail, and lets a rule of -limits win.
func TestPolicies(t *testing.T) {
	w := newWorld(t, zone)
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	host := modern("mail.example.com")
	host.Extensions = append(host.Extensions, "STARTTLS")
	if host.TLS, err = ca.ServerConfig("mail.example.com"); err != nil {
		t.Fatal(err)
	}
	w.start("127.0.0.2", host)
	records := func(digest string) {
		t.Helper()
		if err := w.dns.DNS.SetZone(zone + "\n_" + w.port + "._tcp.mail.example.com. 1 TLSA 3 1 1 " + digest + "\n. NS a.root.test.\n"); err != nil {
			t.Fatal(err)
		}
	}
	records(strings.Repeat("00", 32))
	w.dns.DNS.SetSigned(".", true)
	dir := t.TempDir()
	events, limits := filepath.Join(dir, "events"), filepath.Join(dir, "limits.json")
	replace(t, limits, `{"rules": []}`)
	r := w.relay("-queue", filepath.Join(dir, "queue"), "-events", events, "-limits", limits, "-retry", "100ms")
	client := r.client("127.0.0.1")
	if _, err := submit(t, client, "one", "b@example.com"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what keeps the mail is told", func() bool {
		text, _ := os.ReadFile(events)
		return strings.Contains(string(text), `"result":"certificate-not-trusted","reason":"tlsa-no-match","fault":"host"`)
	})
	if n := len(host.Messages()); n != 0 {
		t.Fatalf("%d messages arrived at a host that its records do not authenticate", n)
	}
	replace(t, limits, `{"rules": [{"match": {"domain": "example.com"}, "tls": {"level": "encrypt"}}]}`)
	_ = r.Process.Signal(syscall.SIGHUP)
	eventually(t, "a rule wins", func() bool { return len(host.Messages()) == 1 })
	replace(t, limits, `{"rules": [{"match": {"domain": "example.com"}, "tls": {"level": "dane-only"}}]}`)
	_ = r.Process.Signal(syscall.SIGHUP)
	leaf, err := x509.ParseCertificate(host.TLS.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	records(hex.EncodeToString(sum[:]))
	if _, err := submit(t, client, "two", "b@example.com"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the records are put right", func() bool {
		text, _ := os.ReadFile(events)
		return strings.Contains(string(text), `"tls":"dane"`) && len(host.Messages()) == 2
	})
	r.stop()
}

// TestWithoutDNSSEC: a relay says at the start that DANE is off, and -tls dane wants it.
func TestWithoutDNSSEC(t *testing.T) {
	w := newWorld(t, zone+"\n. NS a.root.test.\n")
	w.start("127.0.0.2", modern("mail.example.com"))
	r := w.relay("-queue", inMemory)
	eventually(t, "it says so", func() bool {
		return strings.Contains(r.errs.String(), "relay: TLS: DANE is off: the resolver does not report DNSSEC validation") && strings.Contains(r.errs.String(), "-trust-ad")
	})
	r.stop()
	r = w.relay("-queue", inMemory, "-dnssec", "off")
	r.stop()
	if strings.Contains(r.errs.String(), "DANE") {
		t.Errorf("with -dnssec off: %s", r.errs.String())
	}
	c := command("-listen", "127.0.0.1:0", "-dns", w.dns.Addr(), "-queue", inMemory, "-tls", "dane")
	if out, _ := c.CombinedOutput(); c.ProcessState.ExitCode() != 78 || !strings.Contains(string(out), "-tls dane: ") {
		t.Errorf("exit code %d: %s", c.ProcessState.ExitCode(), out)
	}
}
