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

// TestLinesTogether: content is the same wherever it is cut on its way, for all short texts
// of dots, CR, LF and others, at the end of short lines and of such as fill the buffer. It
// is taken if it has no bare CR or LF, and without the dots that its client has added.
func TestLinesTogether(t *testing.T) {
	dir, texts := t.TempDir(), []string{""}
	for at := 0; len(texts[at]) < 5; at++ { // all of up to three of them
		for _, next := range []string{"x", ".", "\r", "\n", "\r\n"} {
			texts = append(texts, texts[at]+next)
		}
	}
	try := func(content string, from io.Reader) {
		t.Helper()
		want, taken := unstuffed(content + "\r\n")
		got, times := takenFrom(t, dir, from)
		if times > 1 || times == 1 != taken || got != want {
			t.Fatalf("%q: taken %d times with %q, want %t with %q", content[max(0, len(content)-30):], times, got, taken, want)
		}
	}
	dots := "one\r\nx" + strings.Repeat(".", 3*inBuffer) // each part of the line begins with one
	try(dots, strings.NewReader(dots+"\r\n.\r\nQUIT\r\n"))
	for i, text := range texts {
		content := "one\r\n" + text
		said := content + "\r\n.\r\nQUIT\r\n"
		for cut := range len(said) {
			try(content, io.MultiReader(strings.NewReader(said[:cut]), strings.NewReader(said[cut:])))
		}
		if i%16 == 0 {
			try(content, iotest.OneByteReader(strings.NewReader(said)))
		}
		for _, begin := range []string{"", "."} {
			for length := inBuffer - 10; length < inBuffer+4; length++ {
				long := "one\r\n" + begin + strings.Repeat("x", length) + text
				try(long, strings.NewReader(long+"\r\n.\r\nQUIT\r\n"))
			}
		}
	}
}

// takenFrom is content that a server took from a client without its Received field, and
// how many it took.
func takenFrom(t *testing.T, dir string, from io.Reader) (content string, times int) {
	s := &Server{Name: "relay.example", TempDir: dir, Trusted: everybody}
	s.Data = func(_ context.Context, _ *Transaction, c queue.Content) Reply {
		r, err := c.Open()
		if err != nil {
			t.Error(err)
		}
		b, _ := io.ReadAll(r)
		field, rest, ok := strings.Cut(string(b), "one\r\n")
		if !ok || !strings.HasPrefix(field, "Received:") {
			t.Errorf("%.300q was taken", b)
		}
		content = "one\r\n" + rest
		times++
		return Reply{250, "2.0.0", "ok"}
	}
	s.serve(t.Context(), &one{in: io.MultiReader(strings.NewReader(envelope+"DATA\r\n"), from)})
	return content, times
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
