package content_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nexthop-mail/nexthop/internal/content"
)

// stream is a source that must be read.
type stream struct {
	data []byte
	size int64
	wrap func(io.Reader) io.Reader
}

func (s stream) Size() int64 { return s.size }
func (s stream) Open() (io.ReadCloser, error) {
	return io.NopCloser(s.wrap(bytes.NewReader(s.data))), nil
}

type memory []byte

func (m memory) Size() int64                  { return int64(len(m)) }
func (m memory) Bytes() []byte                { return m }
func (m memory) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m)), nil }

func whole(r io.Reader) io.Reader { return r }

// plainly is the canonical form, by the definition and slowly.
func plainly(data string) string {
	s := strings.ReplaceAll(data, "\r\n", "\n")
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r", "\n"), "\n", "\r\n")
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "\r\n"
	}
	return s
}

func read(t *testing.T, b *content.Body) string {
	t.Helper()
	r, err := b.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func TestCanonicalForm(t *testing.T) {
	long := strings.Repeat("0123456789\n", 100_000) // past what is kept in memory
	cases := []struct{ name, in string }{
		{"canonical", "a: b\r\n\r\nbody\r\n"},
		{"bare LF", "a: b\n\nbody\n"},
		{"bare CR", "a: b\r\rbody\r"},
		{"no final newline", "a: b\r\n\r\nbody"},
		{"empty", ""},
		{"a dot", "."},
		{"CR CR LF", "a\r\r\nb\r\n"},
		{"LF CR", "a\n\rb\r\n"},
		{"long", long},
		{"long, CR at the end", long + "x\r"},
		{"long, no end", long + "x"},
		// RFC 5321 section 4.1.1.4; CVE-2023-51764 and its kin.
		{"smuggle LF.LF", "x\n.\ny\r\n"},
		{"smuggle LF.CRLF", "x\n.\r\ny\r\n"},
		{"smuggle CRLF.LF", "x\r\n.\ny\r\n"},
		{"smuggle CR.CR", "x\r.\ry\r\n"},
		{"smuggle CR.LF", "x\r.\ny\r\n"},
		{"smuggle CR.CRLF", "x\r.\r\ny\r\n"},
		{"smuggle CRLF.CR", "x\r\n.\ry\r\n"},
		{"smuggle CRCRLF.CRCRLF", "x\r\r\n.\r\r\ny\r\n"},
		{"smuggle LF.CR", "x\n.\ry\r\n"},
	}
	for _, c := range cases {
		t.Run("SMTP-30, EXT-5 "+c.name, func(t *testing.T) {
			want := plainly(c.in)
			for kind, s := range map[string]content.Source{
				"memory":     memory(c.in),
				"stream":     stream{[]byte(c.in), int64(len(c.in)), whole},
				"no size":    stream{[]byte(c.in), -1, whole},
				"half reads": stream{[]byte(c.in), -1, iotest.HalfReader},
			} {
				b, err := content.Prepare(s, content.Origin)
				if err != nil {
					t.Fatalf("%s: %v", kind, err)
				}
				if b.Size() != int64(len(want)) {
					t.Errorf("%s: Size = %d, want %d", kind, b.Size(), len(want))
				}
				if got := read(t, &b); got != want {
					t.Errorf("%s: got %.80q, want %.80q", kind, got, want)
				}
				if !b.Streams() && string(b.Bytes()) != want {
					t.Errorf("%s: Bytes differ", kind)
				}
				b.Release()
			}
		})
	}
	t.Run("canonical content in memory is not copied", func(t *testing.T) {
		in := memory("a: b\r\n\r\nbody\r\n")
		b, err := content.Prepare(in, content.Relay)
		if err != nil || &b.Bytes()[0] != &in[0] {
			t.Errorf("copied, or %v", err)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = content.Prepare(in, content.Relay) }); n > 1 {
			t.Errorf("%v allocations, want at most one", n)
		}
	})
}

func TestRefusals(t *testing.T) {
	line := strings.Repeat("x", 999) + "\r\n"
	cases := []struct {
		name   string
		in     string
		policy content.Policy
		line   int // 0: taken
	}{
		{"SMTP-31 a line of 998 is originated", line[1:], content.Origin, 0},
		{"SMTP-31 a line of 999 is not", "a: b\r\n\r\n" + line, content.Origin, 3},
		{"SMTP-31 a relay passes it", line, content.Relay, 0},
		{"SMTP-30 NUL is not originated", "a\r\nb\x00\r\n", content.Origin, 2},
		{"SMTP-30 a relay refuses a bare LF", "a\r\nb\nc\r\n", content.Relay, 2},
		{"SMTP-30 a relay refuses a bare CR", "a\rb\r\n", content.Relay, 1},
		{"SMTP-30 a relay refuses a CR at the end", "a\r\nb\r", content.Relay, 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, s := range []content.Source{memory(c.in), stream{[]byte(c.in), -1, iotest.OneByteReader}} {
				_, err := content.Prepare(s, c.policy)
				var e *content.Error
				switch {
				case c.line == 0 && err != nil:
					t.Errorf("refused: %v", err)
				case c.line > 0 && (!errors.As(err, &e) || e.Line != c.line || e.Temporary()):
					t.Errorf("error %v, want a permanent one about line %d", err, c.line)
				}
			}
		})
	}
}

// TestFalseSources shows that what cannot be read, or is not what was
// announced, never yields its last octet.
func TestFalseSources(t *testing.T) {
	long := []byte(strings.Repeat("0123456789abcd\r\n", 100_000))
	broken := errors.New("broken")
	failing := func(r io.Reader) io.Reader {
		return io.MultiReader(io.LimitReader(r, 1_200_000), iotest.ErrReader(broken))
	}
	for name, s := range map[string]content.Source{
		"shorter than announced":       stream{[]byte("a\r\n"), 4, whole},
		"longer than announced":        stream{[]byte("a\r\n"), 2, whole},
		"long, shorter than announced": stream{long, int64(len(long)) + 1, whole},
		"fails half way":               stream{long, -1, failing},
	} {
		t.Run("FAULTS content: "+name, func(t *testing.T) {
			_, err := content.Prepare(s, content.Origin)
			var e *content.Error
			if !errors.As(err, &e) || !e.Temporary() {
				t.Errorf("error %v, want a temporary one", err)
			}
		})
	}
	// Sources that change between being looked at and being sent.
	for name, second := range map[string]func(io.Reader) io.Reader{
		"shrinks": func(r io.Reader) io.Reader { return io.LimitReader(r, 1_200_000) },
		"grows":   func(r io.Reader) io.Reader { return io.MultiReader(r, strings.NewReader("x\r\n")) },
		"breaks":  failing,
	} {
		t.Run("FAULTS content: "+name+" before it is sent", func(t *testing.T) {
			opened := 0
			b, err := content.Prepare(stream{long, int64(len(long)), func(r io.Reader) io.Reader {
				if opened++; opened > 1 {
					return second(r)
				}
				return r
			}}, content.Origin)
			if err != nil {
				t.Fatal(err)
			}
			r, err := b.Open()
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, r)
			var e *content.Error
			if !errors.As(err, &e) || n >= b.Size() {
				t.Errorf("%d of %d octets and error %v", n, b.Size(), err)
			}
		})
	}
}

func TestFacts(t *testing.T) {
	parts := "Content-Type: multipart/mixed;\r\n\tboundary=\"b 1\"\r\n\r\npreamble\r\n--b 1\r\n"
	cases := []struct {
		name, in     string
		eight, heads bool
	}{
		{"plain", "a: b\r\n\r\nc\r\n", false, false},
		{"EXT-11 8-bit body", "a: b\r\n\r\n\xc3\xa9\r\n", true, false},
		{"I18N-5 header", "From: j\xc3\xb6@e.test\r\n\r\nc\r\n", true, true},
		{"I18N-6 header of a part", parts + "Subject: \xc3\xa9\r\n\r\nc\r\n--b 1--\r\n", true, true},
		{"8-bit body of a part", parts + "A: b\r\n\r\n\xc3\xa9\r\n--b 1--\r\n", true, false},
		{"I18N-6 header of an enclosed message", parts +
			"Content-Type: message/rfc822\r\n\r\nFrom: j\xc3\xb6@e.test\r\n\r\nc\r\n--b 1--\r\n", true, true},
		{"body of an enclosed message", parts +
			"Content-Type: message/rfc822\r\n\r\nFrom: j@e.test\r\n\r\n\xc3\xa9\r\n--b 1--\r\n", true, false},
		{"a signature is no part", "a: b\r\n\r\nc\r\n-- \r\nTel: \xc3\xa9\r\n", true, false},
		{"after the last part", parts + "A: b\r\n\r\nc\r\n--b 1--\r\nX: \xc3\xa9\r\n", true, false},
		{"bare LF", "From: j\xc3\xb6@e.test\n\nc\n", true, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, s := range []content.Source{memory(c.in), stream{[]byte(c.in), -1, iotest.OneByteReader}} {
				b, err := content.Prepare(s, content.Origin)
				if err != nil {
					t.Fatal(err)
				}
				if b.EightBit != c.eight || b.UTF8Header != c.heads {
					t.Errorf("EightBit %t, UTF8Header %t, want %t, %t", b.EightBit, b.UTF8Header, c.eight, c.heads)
				}
			}
		})
	}
}

// FuzzPrepare holds every way to read content against the definition.
func FuzzPrepare(f *testing.F) {
	for _, s := range []string{"", ".", "a\r\n.\r\n", "\r\r\n", "\n.\n", "a\rb\n\r", "x\x00\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		want := plainly(string(in))
		for _, s := range []content.Source{memory(in), stream{in, -1, iotest.OneByteReader}} {
			b, err := content.Prepare(s, content.Origin)
			if err != nil {
				continue
			}
			if got := read(t, &b); got != want || b.Size() != int64(len(want)) {
				t.Errorf("%q became %q (size %d), want %q", in, got, b.Size(), want)
			}
		}
	})
}

func BenchmarkPrepare(b *testing.B) {
	header := "Received: from a.test (a.test [192.0.2.1])\r\n\tby b.test with ESMTP id 1\r\n\tfor <u@e.test>; " +
		"Mon, 2 Jan 2006 15:04:05 +0000\r\nFrom: A <a@a.test>\r\nTo: B <b@b.test>\r\nSubject: a subject\r\n" +
		"Date: Mon, 2 Jan 2006 15:04:05 +0000\r\nMessage-ID: <1@a.test>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\n\r\n"
	crlf := header + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 136)
	for _, c := range []struct {
		name string
		in   content.Source
	}{
		{"canonical", memory(crlf)},
		{"LF", memory(strings.ReplaceAll(crlf, "\r", ""))},
		{"eight bit", memory(strings.ReplaceAll(crlf, "xxxxx", "x\u00e4\u00f6\u00fc"))},
		{"stream", stream{[]byte(crlf), int64(len(crlf)), whole}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(crlf)))
			b.ReportAllocs()
			for b.Loop() {
				body, err := content.Prepare(c.in, content.Origin)
				if err != nil {
					b.Fatal(err)
				}
				body.Release()
			}
		})
	}
}
