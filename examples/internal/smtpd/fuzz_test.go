package smtpd

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// one is a connection on which everything has been said already.
type one struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (o *one) Read(p []byte) (int, error)       { return o.in.Read(p) }
func (o *one) Write(p []byte) (int, error)      { return o.out.Write(p) }
func (o *one) Close() error                     { return nil }
func (o *one) SetReadDeadline(time.Time) error  { return nil }
func (o *one) SetWriteDeadline(time.Time) error { return nil }
func (o *one) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// FuzzSession says anything to a server. Every reply is one, and every message handed
// over has lines that end with CRLF.
func FuzzSession(f *testing.F) {
	f.Add([]byte(envelope + "DATA\r\nx\r\n..\r\n.\r\nQUIT\r\n"))
	f.Add([]byte(envelope + "BDAT 3\r\nx\r\nBDAT 2 LAST\r\n\r\nRSET\r\n"))
	f.Add([]byte(envelope + "BDAT 4\r\nx\r\n\rBDAT 1 LAST\r\n\nNOOP\r\n"))
	f.Add([]byte("EHLO me\r\nMAIL FROM:<\"a\\>\"@b.example> SIZE=1 ENVID=+2B RET=FULL\r\nRCPT TO:<a@b.example> ORCPT=rfc822;x NOTIFY=DELAY\r\nDATA\r\n\n.\r\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		conn := &one{in: bytes.NewReader(said)}
		s := &Server{Name: "relay.example", MaxSize: 10_000, TempDir: t.TempDir()}
		s.Data = func(_ context.Context, _ *Transaction, c queue.Content) Reply {
			r, _ := c.Open()
			b, _ := io.ReadAll(r)
			if strings.ContainsAny(strings.ReplaceAll(string(b), "\r\n", ""), "\r\n") {
				t.Errorf("content with a bare CR or LF: %q", b)
			}
			return Reply{250, "2.0.0", "ok"}
		}
		s.serve(t.Context(), conn)
		for l := range strings.SplitSeq(strings.TrimSuffix(conn.out.String(), "\r\n"), "\r\n") {
			if len(l) < 4 || l[0] < '2' || l[0] > '5' || strings.ContainsAny(l, "\r\n\x00") {
				t.Errorf("%q is no reply line", l)
			}
		}
	})
}
