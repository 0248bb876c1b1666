package content_test

import (
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nexthop-mail/nexthop/internal/content"
)

// lineEnds has every way to end lines, and every sequence that some server has
// taken for the end of a message (RFC 5321 section 4.1.1.4, CVE-2023-51764 and
// its kin).
var lineEnds = []struct{ name, in string }{
	{"EXT-5 canonical", "a: b\r\n\r\nbody\r\n"},
	{"EXT-5 stored with LF", "a: b\n\nbody\n"},
	{"EXT-5 no final line end", "a: b\r\n\r\nbody"},
	{"EXT-5 dot lines", ".\r\n..\r\n.x\r\n"},
	{"EXT-5 a dot", "."},
	{"EXT-5 empty", ""},
	{"SMTP-30 bare CR", "a: b\r\rbody\r"},
	{"SMTP-30 CR CR LF", "a\r\r\nb\r\n"},
	{"SMTP-30 LF CR", "a\n\rb\r\n"},
	{"SMTP-30 a CR at the end", "a\r\nb\r"},
	{"SMTP-30 a LF at the beginning", "\na\r\n"},
	{"SMTP-30 LF . LF", "x\n.\nMAIL\r\n"},
	{"SMTP-30 LF . CR LF", "x\n.\r\nMAIL\r\n"},
	{"SMTP-30 CR LF . LF", "x\r\n.\nMAIL\r\n"},
	{"SMTP-30 CR . CR", "x\r.\rMAIL\r\n"},
	{"SMTP-30 CR . LF", "x\r.\nMAIL\r\n"},
	{"SMTP-30 CR . CR LF", "x\r.\r\nMAIL\r\n"},
	{"SMTP-30 LF . CR", "x\n.\rMAIL\r\n"},
	{"SMTP-30 CR LF . CR", "x\r\n.\rMAIL\r\n"},
	{"SMTP-30 CR CR LF . CR CR LF", "x\r\r\n.\r\r\nMAIL\r\n"},
	{"SMTP-30 LF LF . CR LF", "x\n\n.\r\nMAIL\r\n"},
}

func TestCanonicalForm(t *testing.T) {
	for _, c := range lineEnds {
		t.Run(c.name, func(t *testing.T) {
			want := plainly(c.in)
			for kind, s := range map[string]content.Source{
				"memory":      memory(c.in),
				"stream":      streamOf(c.in),
				"no size":     stream{c.in, -1, whole},
				"octets":      stream{c.in, -1, iotest.OneByteReader},
				"late errors": stream{c.in, -1, iotest.DataErrReader},
			} {
				b := prepare(t, s, content.Origin)
				if b.Size() != int64(len(want)) {
					t.Errorf("%s: Size = %d, want %d", kind, b.Size(), len(want))
				}
				if b.Streams() || string(b.Bytes()) != want {
					t.Errorf("%s: Bytes = %q, want %q", kind, b.Bytes(), want)
				}
				if got := read(t, &b); got != want {
					t.Errorf("%s: Open gives %q, want %q", kind, got, want)
				}
			}
		})
	}
}

// TestStreams sends every case in a stream that is not held in memory, cut in
// every way.
func TestStreams(t *testing.T) {
	tail := ""
	for _, c := range lineEnds {
		tail += c.in + "|"
	}
	for name, end := range map[string]string{"whole": "\r\n", "no final line end": "", "CR": "\r", "LF": "\n"} {
		t.Run("SMTP-30, EXT-5 long, "+name, func(t *testing.T) {
			in := filler + tail + end
			want := plainly(in)
			for _, n := range []int{1, 2, 3, 1 << 20} {
				b := prepare(t, stream{in, int64(len(in)), pieces(int64(len(filler)), n)}, content.Origin)
				if !b.Streams() || b.Bytes() != nil {
					t.Fatal("held in memory")
				}
				if b.Size() != int64(len(want)) {
					t.Errorf("pieces of %d: Size = %d, want %d", n, b.Size(), len(want))
				}
				if got := read(t, &b); got != want {
					t.Errorf("pieces of %d: got ...%q, want ...%q", n, got[min(len(filler), len(got)):], want[len(filler):])
				}
				if n > 3 && read(t, &b) != want {
					t.Errorf("pieces of %d: the second reader gives other octets", n)
				}
			}
		})
	}
	t.Run("SMTP-30 long, in memory and not canonical", func(t *testing.T) {
		in := strings.ReplaceAll(filler, "\r\n", "\n")
		b := prepare(t, memory(in), content.Origin)
		if got := read(t, &b); got != filler || b.Size() != int64(len(filler)) {
			t.Errorf("%d octets, Size %d, want %d", len(got), b.Size(), len(filler))
		}
	})
	t.Run("SMTP-32 long, in memory and canonical: not copied", func(t *testing.T) {
		in := memory(filler)
		b := prepare(t, in, content.Relay)
		if b.Streams() || &b.Bytes()[0] != &in[0] {
			t.Error("copied")
		}
	})
}

func TestNoCopies(t *testing.T) {
	in := memory("a: b\r\nContent-Type: text/plain\r\n\r\nbody\r\n")
	t.Run("SMTP-32 canonical content in memory is sent from where it lies", func(t *testing.T) {
		b := prepare(t, in, content.Relay)
		if &b.Bytes()[0] != &in[0] {
			t.Error("copied")
		}
	})
	t.Run("nothing is allocated for it", func(t *testing.T) {
		var s content.Source = in
		n := testing.AllocsPerRun(100, func() {
			b, err := content.Prepare(s, content.Relay)
			if err != nil {
				t.Error(err)
			}
			b.Release()
		})
		if n >= 1 {
			t.Errorf("%v allocations", n)
		}
	})
}

// TestCopyOfCanonicalContent: a copy has octets of its own, and what is known of content
// holds for its canonical form: to look at that again finds the same.
func TestCopyOfCanonicalContent(t *testing.T) {
	texts := []string{
		"a: \u00e9\n\n\x00\r\u00e9", "MIME-Version: 1.0\rReceived: x\n\nb", "Received: a\r\nReceived: b\r\nTLS-Required: No\r\n\r\n" + strings.Repeat("x", 2000) + "\rz",
	}
	for _, c := range lineEnds {
		texts = append(texts, c.in, "Received: x\n"+c.in, c.in+strings.Repeat("y", 100), "\u00e9: "+c.in)
	}
	for _, text := range texts {
		octets := []byte(text)
		b, err := content.Prepare(memory(octets), content.Origin|content.AllowNUL|content.AllowLongLines)
		if err != nil {
			t.Fatal(err)
		}
		want := string(b.Bytes())
		own := b.Copy()
		facts := own.Facts
		clear(octets)
		b.Release()
		if got := string(own.Bytes()); got != want {
			t.Errorf("the copy of %q is %q, want %q", text, got, want)
		}
		again := prepare(t, &own, content.Relay)
		if again.Facts != facts {
			t.Errorf("%q: %+v, and of its canonical form %+v", text, facts, again.Facts)
		}
		own.Release()
	}
}
