package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// signed is a world whose DNS is signed, and whose host has TLS. records gives what is at
// _PORT._tcp.mx.e.test by the SHA-256 of the host's key.
func signed(t *testing.T, records func(digest string) string, rules ...mxtest.Rule) *world {
	t.Helper()
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	host := &smtptest.Host{Name: "mx.e.test", Extensions: []string{"STARTTLS", "PIPELINING"}}
	if host.TLS, err = ca.ServerConfig("mx.e.test"); err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(host.TLS.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	w := build(t, host)
	if err := w.dns.DNS.SetZone(zone + "$ORIGIN e.test.\n_" + w.port + "._tcp.mx " + records(hex.EncodeToString(sum[:])) + "\n. NS a.root.test.\n"); err != nil {
		t.Fatal(err)
	}
	w.dns.DNS.SetSigned(".", true)
	for _, r := range rules {
		r.Name = strings.ReplaceAll(r.Name, "PORT", w.port)
		if err := w.dns.DNS.Set(r); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func matching(digest string) string { return "TLSA 3 1 1 " + digest }

func other(string) string { return "TLSA 3 1 1 " + strings.Repeat("00", 32) }

// TestDANE is DANE on the command line: a loopback -dns is believed.
func TestDANE(t *testing.T) {
	for _, c := range []struct {
		name    string
		records func(string) string
		rules   []mxtest.Rule
		args    []string
		code    int
		status  string
		tls     string
	}{
		{"records that match", matching, nil, nil, 0, "delivered", "dane"},
		{"records that do not", other, nil, nil, 75, "deferred", "none"},
		{"records that do not, with -no-dane", other, nil, []string{"-no-dane"}, 0, "delivered", "encrypted"},
		{"records that do not, with -dnssec off", other, nil, []string{"-dnssec", "off"}, 0, "delivered", "encrypted"},
		{"records that match, with -dnssec ad", matching, nil, []string{"-dnssec", "ad"}, 0, "delivered", "dane"},
		{"records that do not, with -tls none", other, nil, []string{"-tls", "none"}, 0, "delivered", "none"},
		{"-tls verify, which DANE satisfies", matching, nil, []string{"-tls", "verify"}, 0, "delivered", "dane"},
		{"-tls dane, with a resolver that can", matching, nil, []string{"-tls", "dane"}, 0, "delivered", "dane"},
		{"a question about records that fails", matching, []mxtest.Rule{{Name: "_PORT._tcp.mx.e.test", Type: mx.TypeTLSA, Fault: mxtest.ServFail}}, nil, 75, "deferred", "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := signed(t, c.records, c.rules...)
			out, errs, code := w.mxsend(t, text, append(c.args, "-json", "-f", "a@from.test", "u@e.test")...)
			var got struct{ Status, TLS, Reply string }
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Fatal(err, out, errs)
			}
			if code != c.code || got.Status != c.status || got.TLS != c.tls {
				t.Errorf("exit code %d, %s, TLS %s (%s); want %d, %s, %s", code, got.Status, got.TLS, got.Reply, c.code, c.status, c.tls)
			}
		})
	}
}

// TestExplainConnect: a receiver sees what senders will, for people and as JSON.
func TestExplainConnect(t *testing.T) {
	w := signed(t, matching)
	out, errs, code := w.mxsend(t, "", "-explain", "-explain-connect", "u@e.test")
	for _, part := range []string{"certificate for mx.e.test (dane)", "mail would go there, TLS dane", "matches at depth 0", "asked TLSA of _" + w.port, "until 2099-12-31", "MTA-STS of e.test: no policy"} {
		if code != 0 || !strings.Contains(out, part) {
			t.Errorf("exit code %d, it does not say %q:\n%s%s", code, part, out, errs)
		}
	}
	out, _, _ = w.mxsend(t, "", "-explain", "-explain-connect", "-json", "u@e.test")
	var got struct {
		Domain, Route string
		Secure        bool
		Hosts         []struct {
			Host, Source, Level, TLS string
			Accepted                 bool
			Decision                 struct{ Authenticated bool }
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err, out)
	}
	if h := got.Hosts; !got.Secure || got.Domain != "e.test" || len(h) != 1 || h[0].Host != "mx.e.test" || h[0].Source != "dane" ||
		!h[0].Accepted || h[0].TLS != "dane" || !h[0].Decision.Authenticated || h[0].Level != "verify" {
		t.Errorf("%s", out)
	}
	for _, line := range w.host.Commands() {
		if strings.HasPrefix(line, "MAIL") {
			t.Error("it sent mail")
		}
	}
	if _, errs, code := w.mxsend(t, "", "-explain-connect", "-f", "", "u@e.test"); code != 64 {
		t.Errorf("without -explain: exit code %d, %s", code, errs)
	}
	w = signed(t, other)
	out, _, _ = w.mxsend(t, "", "-explain", "-explain-connect", "u@e.test")
	if !strings.Contains(out, "no mail for now: starttls: DANE for mx.e.test: refused: no certificate matches a TLSA record") {
		t.Error(out)
	}
}

// TestTLSCache is what is kept from one call to the next: which hosts were authenticated.
func TestTLSCache(t *testing.T) {
	w := signed(t, matching)
	dir := t.TempDir() + "/policies"
	send := func(args ...string) int {
		t.Helper()
		out, errs, code := w.mxsend(t, text, append(args, "-tls-cache", dir, "-f", "a@from.test", "u@e.test")...)
		t.Logf("%q: exit code %d: %s%s", args, code, out, errs)
		return code
	}
	if send("-no-dane") != 0 {
		t.Error("it is not sent")
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory was made, though there is nothing to keep")
	}
	if send() != 0 {
		t.Error("it is not sent by DANE")
	}
	w.dns.DNS.SetSigned(".", false)
	for ratchet, code := range map[string]int{"refuse": 75, "tell": 0, "forget": 0, "other": 64} {
		if got := send("-ratchet", ratchet); got != code {
			t.Errorf("-ratchet %s: exit code %d, want %d", ratchet, got, code)
		}
	}
}

// TestTLSCacheThatCannotBeRead: mail that a stored policy might keep is not sent, and it is
// said why.
func TestTLSCacheThatCannotBeRead(t *testing.T) {
	w := signed(t, matching)
	file := t.TempDir() + "/policies"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{nil, 0, ""}, // by DANE
		{[]string{"-no-dane"}, 75, "the store of policies cannot be read"},
		{[]string{"-no-dane", "-no-mta-sts"}, 0, ""},
		{[]string{"-no-mta-sts", "-ratchet", "refuse"}, 0, ""}, // by DANE
		{[]string{"-no-dane", "-ratchet", "forget"}, 75, "the store of policies cannot be read"},
	} {
		out, errs, code := w.mxsend(t, text, append(c.args, "-tls-cache", file, "-f", "a@from.test", "u@e.test")...)
		if code != c.code || !strings.Contains(out+errs, c.says) {
			t.Errorf("%q: exit code %d, %s%s; want %d, %q", c.args, code, out, errs, c.code, c.says)
		}
	}
}
