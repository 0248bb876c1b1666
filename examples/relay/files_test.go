package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// replace puts a file in the place of another at once.
func replace(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// TestSecretRenewed: the file of a smart host's URL is renewed while the relay runs.
// Mail that the old secret kept waiting goes with the new one; a file that makes no
// sense changes nothing.
func TestSecretRenewed(t *testing.T) {
	for name, signal := range map[string]bool{"by itself": false, "at SIGHUP": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, zone)
			smart := &smtptest.Host{Name: "smart.example.net", Extensions: []string{"AUTH XOAUTH2"}, Users: map[string]string{"me": "new"}}
			w.start("127.0.0.8", smart)
			file := filepath.Join(t.TempDir(), "url")
			url := func(token string) string {
				return "smtp://me:" + token + "@[127.0.0.8]:" + w.port + "?tls=none&auth=xoauth2\n"
			}
			replace(t, file, url("old"))
			r := w.relay("-queue", inMemory, "-retry", "100ms", "-smarthost-for", "two.example=@"+file)
			if _, err := submit(t, r.client("127.0.0.1"), "one", "u@two.example"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the old token is refused", func() bool { return strings.Contains(strings.Join(smart.Commands(), "\n"), "AUTH") })
			replace(t, file, "nonsense://")
			if signal {
				_ = r.Process.Signal(syscall.SIGHUP)
			}
			replace(t, file, url("new"))
			if signal {
				_ = r.Process.Signal(syscall.SIGHUP)
			}
			eventually(t, "the mail goes with the new token", func() bool { return len(smart.Messages()) == 1 })
			replace(t, file, "")
			_ = r.Process.Signal(syscall.SIGHUP)
			if _, err := submit(t, r.client("127.0.0.1"), "two", "u@two.example"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "mail goes on with what was in force", func() bool { return len(smart.Messages()) == 2 })
			r.stop()
			if errs := r.errs.String(); !strings.Contains(errs, "the smart hosts in use stay so") || strings.Contains(errs, "new@") {
				t.Errorf("the relay says:\n%s", errs)
			}
		})
	}
}

// TestCertificateRenewed: certificate and key are renewed, one after the other, while
// the relay runs.
func TestCertificateRenewed(t *testing.T) {
	w := newWorld(t, zone)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	first, second := keyPairOf(t), keyPairOf(t)
	replace(t, cert, first.cert)
	replace(t, key, first.key)
	r := w.relay("-queue", inMemory, "-cert", cert, "-key", key)
	if got := shown(t, r.addr.String()); got != first.cert {
		t.Fatal("another certificate is shown than the one given")
	}
	replace(t, cert, second.cert)
	_ = r.Process.Signal(syscall.SIGHUP)
	if got := shown(t, r.addr.String()); got != first.cert {
		t.Fatal("a certificate without its key is shown")
	}
	replace(t, key, second.key)
	eventually(t, "the new certificate is shown", func() bool { return shown(t, r.addr.String()) == second.cert })
	r.stop()
}

// pair is a certificate and its key, as in files.
type pair struct{ cert, key string }

func keyPairOf(t *testing.T) pair {
	t.Helper()
	a, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Certificate("relay.example.net")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		cert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})),
		key:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
	}
}

// shown is the certificate that the relay shows behind STARTTLS.
func shown(t *testing.T, addr string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	buf := make([]byte, 4096)
	for _, line := range []string{"", "EHLO client.example.org\r\n", "STARTTLS\r\n"} {
		if _, err := conn.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.ConnectionState().PeerCertificates[0].Raw}))
}

// TestReadersGoAway: whoever reads the events or the dialogue ends, and mail goes on.
func TestReadersGoAway(t *testing.T) {
	w := newWorld(t, zone)
	com := modern("mail.example.com")
	w.start("127.0.0.2", com)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := command("-listen", "127.0.0.1:0", "-dns", w.dns.Addr(), "-port", w.port, "-loopback", "-helo", "relay.example.net", "-queue", inMemory, "-events", "-", "-v")
	c.Stdout = write
	r := &process{t: t}
	r.launch(c)
	write.Close()
	read.Close()
	for n := range 3 {
		if _, err := submit(t, r.client("127.0.0.1"), "x", "b@example.com"); err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
		eventually(t, "it is delivered", func() bool { return len(com.Messages()) == n+1 })
	}
	r.stop()
}
