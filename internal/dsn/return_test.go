package dsn_test

import (
	"bytes"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReturned(t *testing.T) {
	header := "From: a@from.test\r\nMessage-ID:\r\n <1@from.test>\r\nSubject: s\r\n"
	long := "X: " + strings.Repeat("y", 5000) + "\r\n"
	eight := "Subject: \xe9 = \x00 - \t\r\n-\xe9\r\n"
	for _, c := range []struct {
		name, content  string
		max            int64
		kind, returned string
	}{
		{"DSN-25 whole", original, 1000, "message/rfc822", original},
		{"DSN-25 just as long as may be", original, int64(len(original)), "message/rfc822", original},
		{"DSN-25 too long for that", original, int64(len(original)) - 1, "text/rfc822-headers", header},
		{"DSN-25 DSN-26 its header", original, 0, "text/rfc822-headers", header},
		{"DSN-26 a header without a body", header, 0, "text/rfc822-headers", header},
		{"line ends that are not canonical", strings.ReplaceAll(original, "\r\n", "\n"), 1000, "message/rfc822", original},
		{"a last line without an end", strings.TrimSuffix(original, "\r\n"), 1000, "message/rfc822", original},
		{"DSN-27 8 bits in the body", header + "\r\n\xe9\r\n", 1000, "text/rfc822-headers", header},
		{"DSN-27 a NUL in the body", header + "\r\n\x00\r\n", 1000, "text/rfc822-headers", header},
		{"DSN-27 a CR in the body", header + "\r\na\rb\r\n", 1000, "text/rfc822-headers", header},
		{"DSN-27 a long line in the body", header + "\r\n" + long, 9000, "text/rfc822-headers", header},
		{"DSN-27 8 bits in the header", eight + "\r\nbody\r\n", 1000, "text/rfc822-headers", eight},
		{"DSN-27 a long line in the header", long + "\r\n", 0, "text/rfc822-headers", long},
		{"DSN-27 a CR at the end of a piece", strings.Repeat("z", 4095) + "\r\n\r\n", 0, "text/rfc822-headers", strings.Repeat("z", 4095) + "\r\n"},
		{"DSN-9 a boundary in it", "X: y\r\n\r\n--TOKEN0\r\n--TOKEN1--\r\n", 1000, "message/rfc822", "X: y\r\n\r\n--TOKEN0\r\n--TOKEN1--\r\n"},
		{"DSN-9 a boundary in a header that is encoded", "X: \xe9\r\n--TOKEN0\r\n\r\n", 0, "text/rfc822-headers", "X: \xe9\r\n--TOKEN0\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := report(c.content)
			r.MaxFull = c.max
			got := read(t, r)
			returned := got.Returned
			if got.Encoding == "quoted-printable" {
				b, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(returned)))
				if err != nil {
					t.Fatal(err)
				}
				returned = string(b)
			}
			if got.Type != c.kind || returned != c.returned {
				t.Errorf("returned as %s: %q\nwant %s: %q", got.Type, returned, c.kind, c.returned)
			}
			if says := strings.Contains(got.Text, "\r\nYour message is attached."); says != (c.kind == "message/rfc822") {
				t.Errorf("the text says that the message is attached: %t", says)
			}
		})
	}
}

func TestBoundaryAtSoftBreak(t *testing.T) {
	t.Run("DSN-9 encoding makes no line that looks like a boundary", func(t *testing.T) {
		for n := range 80 {
			header := "X: \xe9" + strings.Repeat("y", n) + "--TOKEN0\r\n"
			got := read(t, report(header+"\r\n"))
			b, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(got.Returned)))
			if err != nil || string(b) != header {
				t.Fatalf("returned %q, %v; want %q", b, err, header)
			}
		}
	})
}

func TestDamagedOriginal(t *testing.T) {
	broken := func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader(original), iotest.ErrReader(errRead))), nil
	}
	times := 0
	for _, c := range []struct {
		name string
		open func() (io.ReadCloser, error)
	}{
		{"cannot be opened", func() (io.ReadCloser, error) { return nil, errRead }},
		{"cannot be read to its end", broken},
		{"cannot be opened again", func() (io.ReadCloser, error) {
			if times++; times == 1 {
				return opener(original)()
			}
			return nil, errRead
		}},
		{"consists of boundaries", func() (io.ReadCloser, error) {
			var b bytes.Buffer
			for i := range 10 {
				b.WriteString("--TOKEN" + string(rune('0'+i)) + "\r\n")
			}
			return io.NopCloser(&b), nil
		}},
		{"is not there", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := report("")
			r.Original = c.open
			got := read(t, r)
			if got.Type != "" || got.Recipients[0].Get("Status") != "5.1.1" {
				t.Errorf("returned %q, fields %q", got.Type, got.Recipients)
			}
		})
	}
	t.Run("turns out other than it was", func(t *testing.T) {
		times := 0
		r := report("")
		r.Original = func() (io.ReadCloser, error) {
			if times++; times == 1 {
				return opener(original)()
			}
			return opener("From: a@from.test\r\n\r\nfine\r\n\xe9\r\n")()
		}
		if got := read(t, r); got.Returned != "From: a@from.test\r\n\r\nfine\r\n" {
			t.Errorf("returned %q", got.Returned)
		}
	})
}
