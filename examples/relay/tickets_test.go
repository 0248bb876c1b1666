package main

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
)

// tickets is a client's cache that counts what it is given.
type tickets struct{ given atomic.Int32 }

func (c *tickets) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

func (c *tickets) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		c.given.Add(1)
	}
}

// TestNothingBetweenHandshakeAndEHLO: clients of a large provider end the connection if a
// message of TLS comes while they still are in the handshake, as a ticket for resumption
// may. The relay sends none, so it is the client who speaks next.
func TestNothingBetweenHandshakeAndEHLO(t *testing.T) {
	w := newWorld(t, zone)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	p := keyPairOf(t)
	replace(t, cert, p.cert)
	replace(t, key, p.key)
	r := w.relay("-queue", inMemory, "-cert", cert, "-key", key, "-listen-tls", "127.0.0.1:0")
	var listening [][]string // on -listen, and on -listen-tls
	eventually(t, "it listens on both", func() bool {
		listening = regexp.MustCompile(`(?m)^listening (\S+)$`).FindAllStringSubmatch(r.errs.String(), -1)
		return len(listening) == 2
	})
	for name, addr := range map[string]string{"STARTTLS": listening[0][1], "TLS from the start": listening[1][1]} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+", "+tls.VersionName(version), func(t *testing.T) {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				buf := make([]byte, 4096)
				if name == "STARTTLS" {
					for _, line := range []string{"", "EHLO client.example.org\r\n", "STARTTLS\r\n"} {
						if _, err := conn.Write([]byte(line)); err != nil {
							t.Fatal(err)
						}
						if _, err := conn.Read(buf); err != nil {
							t.Fatal(err)
						}
					}
				}
				cache := &tickets{}
				c := tls.Client(conn, &tls.Config{ServerName: "relay.example.net", InsecureSkipVerify: true, MaxVersion: version, ClientSessionCache: cache})
				if _, err := c.Write([]byte("EHLO client.example.org\r\n")); err != nil {
					t.Fatal(err)
				}
				for said := ""; !strings.Contains(said, "\r\n250 "); {
					n, err := c.Read(buf)
					if err != nil {
						t.Fatal(err)
					}
					said += string(buf[:n])
				}
				if n := cache.given.Load(); n != 0 {
					t.Errorf("%d tickets came", n)
				}
			})
		}
	}
	r.stop()
}
