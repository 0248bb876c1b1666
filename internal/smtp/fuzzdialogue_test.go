package smtp_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// babbler is a server that says what it has been given, whatever it hears: the
// next piece each time it is listened to.
type babbler struct {
	pieces [][]byte
	heard  bytes.Buffer
	by     time.Time
}

// babble is a babbler with the pieces between the bars.
func babble(said []byte) *babbler {
	b := &babbler{}
	for piece := range bytes.SplitSeq(said, []byte("|")) {
		if len(piece) > 0 {
			b.pieces = append(b.pieces, slices.Clone(piece))
		}
	}
	return b
}

func (b *babbler) Read(p []byte) (int, error) {
	if time.Until(b.by) < time.Second && !b.by.IsZero() {
		return 0, os.ErrDeadlineExceeded
	}
	if len(b.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.pieces[0])
	if b.pieces[0] = b.pieces[0][n:]; len(b.pieces[0]) == 0 {
		b.pieces = b.pieces[1:]
	}
	return n, nil
}

func (b *babbler) Write(p []byte) (int, error)       { return b.heard.Write(p) }
func (b *babbler) Close() error                      { return nil }
func (b *babbler) LocalAddr() net.Addr               { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} }
func (b *babbler) RemoteAddr() net.Addr              { return b.LocalAddr() }
func (b *babbler) SetReadDeadline(t time.Time) error { b.by = t; return nil }
func (b *babbler) SetWriteDeadline(time.Time) error  { return nil }
func (b *babbler) SetDeadline(t time.Time) error     { b.by = t; return nil }

// FuzzDialogue lets a server say anything. It must not make the client say
// anything but the commands of its transactions, nor deliver what was not
// answered 2yz.
func FuzzDialogue(f *testing.F) {
	const esmtp = "220 h\r\n|250-h\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-SIZE\r\n250 DSN\r\n|"
	for _, s := range []string{
		"220 h\r\n|250 h\r\n|250 a\r\n|250 b\r\n|550 c\r\n|354 d\r\n|250 e\r\n|250 f\r\n|250 g\r\n|450 h\r\n|354 i\r\n|554 j\r\n|221 k\r\n",
		esmtp + "250 a\r\n250 b\r\n550 c\r\n|250 e\r\n|250 f\r\n250 g\r\n450 h\r\n250 i\r\n|221 k\r\n",
		esmtp + "250 a\r\n550 b\r\n550 c\r\n|250 r\r\n250 f\r\n250 g\r\n450 h\r\n250 i\r\n|221 k\r\n",
		esmtp + "555 a\r\n503 b\r\n503 c\r\n|250 f\r\n250 g\r\n450 h\r\n|500 i\r\n",
		"220 h\r\n|250-h\r\n250-LIMITS RCPTMAX=1\r\n250 PIPELINING\r\n|250 a\r\n250 b\r\n354 c\r\n|250 d\r\n",
		"220 h\r\n|502 h\r\n|250 h\r\n|421 bye\r\n",
		"220 h\r\n|250-h\r\n250 STARTTLS\r\n|220 go\r\n250 evil\r\n",
	} {
		f.Add([]byte(s))
	}
	allowed := []string{"EHLO client.example", "HELO client.example", "STARTTLS", "RSET", "MAIL FROM:<a@x.test>", "MAIL FROM:<a@x.test> SIZE=7",
		"RCPT TO:<u@e.test>", "RCPT TO:<v@e.test>", "RCPT TO:<u@e.test> NOTIFY=NEVER", "DATA", "BDAT 7 LAST", "QUIT", ".", "words", ""}
	f.Fuzz(func(t *testing.T, said []byte) {
		b := babble(said)
		s, err := smtp.New(b, &smtp.Config{Hello: "client.example"})
		if err != nil {
			t.Fatal(err)
		}
		talk(t, s, b)
		s.Quit(context.Background())
		heard, _, _ := strings.Cut(b.heard.String(), "\x16\x03") // TLS from there
		if !strings.HasSuffix(heard, "\r\n") && heard != "" {
			t.Errorf("half a line in %q", heard)
		}
		for line := range strings.SplitSeq(heard, "\r\n") {
			if !slices.Contains(allowed, line) {
				t.Errorf("said %q", line)
			}
		}
	})
}

// talk goes as far as the server lets it.
func talk(t *testing.T, s *smtp.Session, b *babbler) {
	ctx := t.Context()
	if s.Greet(ctx) != nil || s.Hello(ctx) != nil {
		return
	}
	if s.Extensions().StartTLS {
		if s.StartTLS(ctx, insecure()) == nil {
			t.Fatal("a handshake with nobody")
		}
	}
	for range 3 {
		tx := message("u@e.test", "v@e.test")
		tx.Body = body("words\r\n")
		tx.To[0].Notify = "NEVER"
		res := s.Send(ctx, tx)
		for i, rr := range res.Rcpts {
			if rr.State > smtp.Unknown || rr.State == smtp.Delivered && !rr.Reply.Positive() || rr.State == smtp.Refused && !rr.Reply.Negative() {
				t.Errorf("recipient %d: %+v", i, rr)
			}
			if (rr.State == smtp.Failed || rr.State == smtp.Unknown) != (rr.Err != nil) && rr.State != smtp.NotTried {
				t.Errorf("recipient %d: %+v", i, rr)
			}
			if rr.State == smtp.Delivered && !strings.Contains(b.heard.String(), "words") {
				t.Error("delivered without content")
			}
		}
	}
}
