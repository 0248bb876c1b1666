package smtpd

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// one is a connection on which everything has been said already.
type one struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (o *one) Read(p []byte) (int, error)       { return o.in.Read(p) }
func (o *one) Write(p []byte) (int, error)      { return o.out.Write(p) }
func (o *one) Close() error                     { return nil }
func (o *one) SetDeadline(time.Time) error      { return nil }
func (o *one) SetReadDeadline(time.Time) error  { return nil }
func (o *one) SetWriteDeadline(time.Time) error { return nil }
func (o *one) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }
func (o *one) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// FuzzSession says anything to a server. Every reply is one, and every message handed
// over has lines that end with CRLF.
func FuzzSession(f *testing.F) {
	f.Add([]byte(envelope + "DATA\r\nx\r\n..\r\n.\r\nQUIT\r\n"))
	f.Add([]byte(envelope + "BDAT 3\r\nx\r\nBDAT 2 LAST\r\n\r\nRSET\r\n"))
	f.Add([]byte(envelope + "BDAT 4\r\nx\r\n\rBDAT 1 LAST\r\n\nNOOP\r\n"))
	f.Add([]byte("EHLO me\r\nMAIL FROM:<\"a\\>\"@b.example> SIZE=1 ENVID=+2B RET=FULL\r\nRCPT TO:<a@b.example> ORCPT=rfc822;x NOTIFY=DELAY\r\nDATA\r\n\n.\r\n"))
	f.Add([]byte("HELO\r\nMAIL FROM : a@b.example\r\nRCPT TO:<postmaster@[127.0.0.1]>\r\nRCPT TO:a..b@c_d.example ORCPT=utf-8;\\x{F6}\r\nBDAT 0 LAST\r\nGET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		for _, trusted := range []func(netip.Addr) bool{nil, everybody} {
			say(t, said, trusted)
		}
	})
}

// say says what was made up to a server.
func say(t *testing.T, said []byte, trusted func(netip.Addr) bool) {
	conn := &one{in: bytes.NewReader(said)}
	s := &Server{Name: "relay.example", MaxSize: 10_000, TempDir: t.TempDir(), Trusted: trusted}
	s.Data = func(_ context.Context, _ *Transaction, c queue.Content) Reply {
		r, _ := c.Open()
		b, _ := io.ReadAll(r)
		if strings.ContainsAny(strings.ReplaceAll(string(b), "\r\n", ""), "\r\n") {
			t.Errorf("content with a bare CR or LF: %q", b)
		}
		if head, _, _ := strings.Cut(string(b), "\r\n\t"); !strings.HasPrefix(head, "Received: from ") || !isASCII(head) {
			t.Errorf("the Received field begins with %q", head)
		}
		return Reply{250, "2.0.0", "ok"}
	}
	s.serve(t.Context(), conn)
	for l := range strings.SplitSeq(strings.TrimSuffix(conn.out.String(), "\r\n"), "\r\n") {
		if len(l) < 4 || l[0] < '2' || l[0] > '5' || strings.ContainsAny(l, "\r\n\x00") {
			t.Errorf("%q is no reply line", l)
		}
	}
}
