package smtpd

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// TestLinesTogether: content is the same whether its lines arrive together or an octet at a
// time, for all short texts of dots, CR, LF and others. It is taken if it has no bare CR or
// LF, and without the dots that its client has added.
func TestLinesTogether(t *testing.T) {
	dir, texts := t.TempDir(), []string{""}
	for at := 0; len(texts[at]) < 5; at++ {
		for _, next := range []string{"x", ".", "\r", "\n", "\r\n"} {
			texts = append(texts, texts[at]+next)
		}
	}
	for i, text := range texts {
		want, taken := unstuffed("one\r\n" + text + "\r\n")
		said := envelope + "DATA\r\none\r\n" + text + "\r\n.\r\nQUIT\r\n"
		readers := map[string]io.Reader{"together": strings.NewReader(said)}
		if i%16 == 0 {
			readers["an octet at a time"] = iotest.OneByteReader(strings.NewReader(said))
		}
		for name, from := range readers {
			got, was := "", false
			s := &Server{Name: "relay.example", TempDir: dir, Trusted: everybody}
			s.Data = func(_ context.Context, _ *Transaction, c queue.Content) Reply {
				r, err := c.Open()
				if err != nil {
					t.Error(err)
				}
				b, _ := io.ReadAll(r)
				got, was = string(b), true
				return Reply{250, "2.0.0", "ok"}
			}
			s.serve(t.Context(), &one{in: from})
			field, rest, _ := strings.Cut(got, "one\r\n")
			if was != taken || taken && ("one\r\n"+rest != want || !strings.HasPrefix(field, "Received:")) {
				t.Errorf("%q %s: taken %t with %q, want %t with %q", text, name, was, got, taken, want)
			}
		}
	}
}

// unstuffed is content up to its end without the dots that a client has added, and whether
// it may be taken.
func unstuffed(text string) (content string, ok bool) {
	for line := range strings.Lines(text + ".\r\n") {
		if line == ".\r\n" {
			return content, true
		}
		if strings.ContainsAny(strings.TrimSuffix(line, "\r\n"), "\r\n") {
			return "", false
		}
		content += strings.TrimPrefix(line, ".")
	}
	return content, false
}

// TestBareCRsTakeNoLonger: content of lines with bare CRs is read in about the time that
// good content of this length takes. Anybody can send it, and at any speed.
func TestBareCRsTakeNoLonger(t *testing.T) {
	const length = 300_000
	took := func(line string) time.Duration {
		said := envelope + "DATA\r\n" + strings.Repeat(line, length/len(line)) + ".\r\n"
		least := time.Hour
		for range 3 { // the machine may be busy with other things
			s := &Server{Name: "relay.example", TempDir: t.TempDir(), Trusted: everybody}
			s.Data = func(context.Context, *Transaction, queue.Content) Reply { return Reply{250, "2.0.0", "ok"} }
			began := time.Now()
			s.serve(t.Context(), &one{in: strings.NewReader(said)})
			least = min(least, time.Since(began))
		}
		return least
	}
	good := took("x\r\n")
	for _, line := range []string{"\r\r\n", "x\rx\r\n", "x\r\n\r\r\n", "x\n", ".\r\r\n", "x\r\n.x\r\n"} {
		if bad := took(line); bad > 100*good {
			t.Errorf("lines %q take %v, and good ones %v", line, bad, good)
		}
	}
}
