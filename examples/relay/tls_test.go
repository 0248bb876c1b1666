package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// TestTLSRules: mail goes as the rules of -limits say, and otherwise when they are replaced.
func TestTLSRules(t *testing.T) {
	w := newWorld(t, zone)
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	secure := modern("mail.example.com") // with a certificate of its own that nobody knows
	secure.Extensions = append(secure.Extensions, "STARTTLS")
	if secure.TLS, err = ca.ServerConfig("mail.example.com"); err != nil {
		t.Fatal(err)
	}
	shown := make(chan int, 100)
	secure.TLS.ClientAuth = tls.RequestClientCert
	secure.TLS.VerifyConnection = func(s tls.ConnectionState) error {
		shown <- len(s.PeerCertificates)
		return nil
	}
	clear := modern("mail.two.example") // without TLS
	w.start("127.0.0.2", secure)
	w.start("127.0.0.5", clear)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, ca, cert, key)
	file := filepath.Join(dir, "limits.json")
	rules := func(list ...string) { replace(t, file, `{"rules": [`+strings.Join(list, ",\n")+`]}`) }
	sum := sha256.Sum256(secure.TLS.Certificates[0].Certificate[0])
	known := fmt.Sprintf(`{"match": {"domain": "example.com"}, "tls": {"level": "fingerprint", "fingerprints": ["%s"], "min": "1.3", "cert": %q, "key": %q}}`,
		hex.EncodeToString(sum[:]), cert, key)
	unknown := `{"match": {"domain": "example.com"}, "tls": {"level": "fingerprint", "fingerprints": ["` + strings.Repeat("00:", 31) + `00"]}}`
	rules(unknown)
	r := w.relay("-queue", inMemory, "-limits", file, "-tls", "encrypt", "-retry", "100ms")
	client := r.client("127.0.0.1")
	send := func(subject, to string) {
		t.Helper()
		if _, err := submit(t, client, subject, to); err != nil {
			t.Fatal(err)
		}
	}
	reload := func(list ...string) {
		t.Helper()
		rules(list...)
		_ = r.Process.Signal(syscall.SIGHUP)
	}
	send("one", "b@example.com")
	send("two", "b@two.example")
	eventually(t, "both hosts have been tried", func() bool {
		return len(secure.Connections()) > 0 && len(clear.Connections()) > 0
	})
	if n := len(secure.Messages()) + len(clear.Messages()); n != 0 {
		t.Fatalf("%d messages arrived, want none: one host is a stranger, and the other has no TLS", n)
	}
	reload(known, `{"match": {"mx": "mail.two.example"}, "tls": {"level": "may"}}`)
	eventually(t, "one goes to the host whose fingerprint is known", func() bool { return slices.Contains(subjects(secure), "one") })
	eventually(t, "the other goes in clear, since a rule says it may", func() bool { return slices.Contains(subjects(clear), "two") })
	last := 0
	for len(shown) > 0 {
		last = <-shown
	}
	if last == 0 {
		t.Error("the certificate of the rule was not shown")
	}
	reload(`{"match": {"domain": "example.com"}, "tls": {"level": "high"}}`)
	eventually(t, "the relay says what is wrong", func() bool {
		return strings.Contains(r.errs.String(), `-limits: those in force stay so: `+file+`:1: rules[0].tls.level: unknown level "high"`)
	})
	send("three", "b@example.com")
	eventually(t, "the old rules hold", func() bool { return slices.Contains(subjects(secure), "three") })
	r.stop()
}

// writePair writes a certificate and its key.
func writePair(t *testing.T, ca *smtptest.Authority, cert, key string) {
	t.Helper()
	pair, err := ca.Certificate("relay.example.net")
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// keyFiles are files of a certificate of relay.example.net and its key, and what a client needs to believe it.
func keyFiles(t *testing.T) (cert, key string, client *tls.Config) {
	t.Helper()
	authority, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, authority, cert, key)
	client = authority.ClientConfig()
	client.ServerName = "relay.example.net"
	return cert, key, client
}
