package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// TestRequireTLS: what a client asks for with REQUIRETLS in MAIL is asked of the next host,
// whatever the header says; without it the field TLS-Required: No has mail delivered that a
// policy would keep.
func TestRequireTLS(t *testing.T) {
	w := newWorld(t, zone)
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	right, wrong, bare := modern("mail.example.com"), modern("mail.two.example"), modern("mail.example.org")
	records := ". NS a.root.test.\n"
	for ip, h := range map[string]*smtptest.Host{"127.0.0.2": right, "127.0.0.5": wrong, "127.0.0.6": bare} {
		h.Extensions = append(h.Extensions, "STARTTLS")
		if h != bare {
			h.Extensions = append(h.Extensions, "REQUIRETLS")
		}
		if h.TLS, err = ca.ServerConfig(h.Name); err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(h.TLS.Certificates[0].Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
		if h == wrong {
			sum = [32]byte{}
		}
		records += fmt.Sprintf("_%s._tcp.%s. TLSA 3 1 1 %s\n", w.port, h.Name, hex.EncodeToString(sum[:]))
		w.start(ip, h)
	}
	if err := w.dns.DNS.SetZone(zone + records); err != nil {
		t.Fatal(err)
	}
	w.dns.DNS.SetSigned(".", true)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, ca, cert, key)
	r := w.relay("-queue", inMemory, "-cert", cert, "-key", key, "-events", filepath.Join(dir, "events"))
	client := dialTLS(t, r.addr.String())
	send := func(subject, to, params, fields string) {
		t.Helper()
		client.do("MAIL FROM:<a@client.example>"+params, 250)
		client.do("RCPT TO:<"+to+">", 250)
		client.do("DATA", 354)
		client.do("Subject: "+subject+"\r\n"+fields+"\r\nbody\r\n.", 250)
	}
	const no = "TLS-Required: No\r\n"
	send("required", "b@example.com", " REQUIRETLS", no)
	send("optional", "b@two.example", "", no)
	send("kept", "b@two.example", "", "")
	send("refused", "b@example.org", " REQUIRETLS", "")
	eventually(t, "mail that requires TLS arrives, and asks for it", func() bool {
		return slices.ContainsFunc(right.Messages(), func(m smtptest.Message) bool {
			return strings.Contains(string(m.Content), "Subject: required") && slices.Contains(m.Params, "REQUIRETLS") && strings.Contains(string(m.Content), no)
		})
	})
	eventually(t, "mail that would rather be delivered is", func() bool { return slices.Contains(subjects(wrong), "optional") })
	told := func(parts ...string) bool {
		text, _ := os.ReadFile(filepath.Join(dir, "events"))
		for line := range strings.Lines(string(text)) {
			if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
				return true
			}
		}
		return false
	}
	eventually(t, "mail that requires what the next host has not fails", func() bool { return told(`"event":"failed"`, `"enhanced":"5.7.30"`) })
	eventually(t, "a policy keeps other mail", func() bool { return told(`"event":"deferred"`, `"reason":"tlsa-no-match"`) })
	if slices.Contains(subjects(wrong), "kept") || len(bare.Messages()) != 0 {
		t.Errorf("arrived: %q, %q", subjects(wrong), subjects(bare))
	}
	r.stop()
}

// secured is a dialogue with a relay, in TLS.
type secured struct {
	t *testing.T
	*textproto.Conn
}

// dialTLS connects to a relay and brings up TLS.
func dialTLS(t *testing.T, addr string) *secured {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s := &secured{t, textproto.NewConn(conn)}
	s.want(220)
	s.do("EHLO client.example", 250)
	s.do("STARTTLS", 220)
	s.Conn = textproto.NewConn(tls.Client(conn, &tls.Config{InsecureSkipVerify: true})) //nolint:gosec // it is the relay of the test
	s.do("EHLO client.example", 250)
	return s
}

func (s *secured) do(line string, code int) {
	s.t.Helper()
	if err := s.PrintfLine("%s", line); err != nil {
		s.t.Fatal(err)
	}
	s.want(code)
}

func (s *secured) want(code int) {
	s.t.Helper()
	if _, text, err := s.ReadResponse(code); err != nil {
		s.t.Fatalf("%v (%s)", err, text)
	}
}
