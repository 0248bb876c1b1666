package content

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// octets is a source that is read in pieces of n.
type octets struct {
	data []byte
	n    int
}

func (o octets) Size() int64                  { return int64(len(o.data)) }
func (o octets) Open() (io.ReadCloser, error) { return io.NopCloser(&inPieces{o.data, o.n}), nil }

type inPieces struct {
	data []byte
	n    int
}

func (r *inPieces) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.data[:min(r.n, len(r.data))])
	r.data = r.data[n:]
	return n, nil
}

// FuzzPrepare holds every way to look at content, in pieces of any size, against
// the definition. It goes around Prepare, which streams only what is long.
func FuzzPrepare(f *testing.F) {
	for _, s := range []string{
		"", ".", "a\r\n.\r\n", "\r\r\n", "\n.\n", "\r.\r", "\r\n.\n", "a\rb\n\r", "x\x00\xff", "a: \xc3\xa9\n\nb",
		"Content-Type: multipart/digest; boundary=\"b\"\r\n\r\n--b\r\n\r\nA: \xff\r\n--b--\r\n",
		"Content-Type: message/rfc822\r\n\r\nReceived: x\r\nA: \xff\r\n", "MIME-Version: 1.0\nReceived: a\n\tb\n",
		strings.Repeat("x", 999) + "\r\n",
	} {
		for n := range uint8(3) {
			f.Add([]byte(s), n, uint8(Origin))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, n, policy uint8) {
		p := Policy(policy)
		s := octets{in, int(n) + 1}
		short, shortErr := prepareBytes(s, in, p)
		long, longErr := scanLong(s, &inPieces{in, s.n}, p)
		if !sameError(shortErr, longErr) {
			t.Fatalf("in memory %v, as a stream %v", shortErr, longErr)
		}
		if shortErr != nil {
			return
		}
		if short.Facts != long.Facts {
			t.Fatalf("in memory %+v, as a stream %+v", short.Facts, long.Facts)
		}
		want := plainly(in)
		if !bytes.Equal(short.Bytes(), want) {
			t.Fatalf("Bytes is %q, want %q", short.Bytes(), want)
		}
		checkFacts(t, short.Facts, want)
		r, err := long.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("Open gives %q, %v, want %q", got, err, want)
		}
		short.Release()
	})
}

// plainly is the canonical form, by the definition and slowly.
func plainly(in []byte) []byte {
	s := strings.ReplaceAll(string(in), "\r\n", "\n")
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r", "\n"), "\n", "\r\n")
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "\r\n"
	}
	return []byte(s)
}

// checkFacts finds the facts again, the simple way.
func checkFacts(t *testing.T, f Facts, canonical []byte) {
	t.Helper()
	want := f
	want.Octets = int64(len(canonical))
	want.NUL = bytes.IndexByte(canonical, 0) >= 0
	want.EightBit, want.LongestLine = false, 0
	for _, c := range canonical {
		want.EightBit = want.EightBit || c >= 0x80
	}
	for _, line := range bytes.Split(canonical, []byte("\r\n")) {
		want.LongestLine = max(want.LongestLine, len(line))
	}
	if f != want {
		t.Fatalf("facts %+v, want %+v", f, want)
	}
	header, _, _ := bytes.Cut(append([]byte("\r\n"), canonical...), []byte("\r\n\r\n"))
	for _, c := range header {
		if c >= 0x80 && !f.UTF8Header {
			t.Fatalf("UTF-8 in the header %q is not seen", header)
		}
	}
	if f.UTF8Header && !f.EightBit {
		t.Fatal("UTF-8 in the header of 7-bit content")
	}
}

// sameError reports whether both are nil, or the same finding about content.
func sameError(a, b error) bool {
	x, okX := errors.AsType[*Error](a)
	y, okY := errors.AsType[*Error](b)
	if !okX || !okY {
		return a == nil && b == nil
	}
	return *x == *y
}
