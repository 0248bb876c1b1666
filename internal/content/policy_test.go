package content_test

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nexthop-mail/nexthop/internal/content"
)

func TestPolicies(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	cases := []struct {
		name   string
		in     string
		policy content.Policy
		line   int // of the refusal; 0: taken
	}{
		{"SMTP-31 a line of 998 is originated", x(998) + "\r\n", content.Origin, 0},
		{"SMTP-31 so are three of them", x(998) + "\r\n" + x(998) + "\n" + x(998), content.Origin, 0},
		{"SMTP-31 so is one beside a bare CR", "a\r" + x(998) + "\n", content.Origin, 0},
		{"SMTP-31 a line of 999 is not", "a: b\r\n\r\n" + x(999) + "\r\n", content.Origin, 3},
		{"SMTP-31 nor without an end", "a\n" + x(999), content.Origin, 2},
		{"SMTP-31 nor between a bare CR and a bare LF", "a\r" + x(999) + "\n", content.Origin, 2},
		{"SMTP-31 a relay passes 2,000", x(2000) + "\r\n", content.Relay, 0},
		{"SMTP-31 or refuses them", "a\r\n" + x(2000) + "\r\n", content.Relay &^ content.AllowLongLines, 2},
		{"SMTP-30 NUL is not originated", "a\r\nb\x00\r\n", content.Origin, 2},
		{"SMTP-30 NUL in the last line, which has no end", "a\nb\n\x00", content.Origin, 3},
		{"SMTP-30 a relay passes NUL", "a\x00\r\n", content.Relay, 0},
		{"SMTP-30 or refuses it", "a\x00\r\n", content.Relay &^ content.AllowNUL, 1},
		{"SMTP-30 not before a lone dot", "a\r\n\x00.\r\n", content.Relay, 2},
		{"SMTP-30 not around a lone dot", "\x00\x00.\x00\x00\r\nb\r\n", content.Relay, 1},
		{"SMTP-30 not before a lone dot at the end", "a\r\n\r\n\x00.", content.Relay, 3},
		{"SMTP-30 not before a lone dot that an originator allows", "a\n\x00.\n", content.Origin | content.AllowNUL, 2},
		{"SMTP-30 NUL behind a dot, which is doubled", "a\r\n.\x00\r\n", content.Relay, 0},
		{"SMTP-30 NUL before two dots", "a\r\n\x00..\r\n\x00.\x00.\r\n", content.Relay, 0},
		{"SMTP-30 NUL and text before a dot", "a\x00\r\n\x00b.\r\n \x00.\r\n\x00. \r\n\x00\r\n.\r\n", content.Relay, 0},
		{"SMTP-30 an originator may allow NUL", "a\x00\n", content.Origin | content.AllowNUL, 0},
		{"SMTP-30 a relay refuses a bare LF", "a\r\nb\nc\r\n", content.Relay, 2},
		{"SMTP-30 a relay refuses a bare CR", "a\rb\r\n", content.Relay, 1},
		{"SMTP-30 a relay refuses a CR at the end", "a\r\nb\r", content.Relay, 2},
		{"SMTP-30 a relay refuses CR CR LF", "a\r\r\n", content.Relay, 1},
		{"SMTP-30 a relay may normalise", "a\rb\nc\r\n", content.Relay | content.NormaliseLines, 0},
		{"SMTP-30 the zero policy refuses", "a\n", 0, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for kind, s := range map[string]content.Source{
				"memory": memory(c.in),
				"octets": stream{c.in, -1, iotest.OneByteReader},
				"halves": stream{c.in, -1, iotest.HalfReader},
			} {
				b, err := content.Prepare(s, c.policy)
				if c.line == 0 {
					if err != nil {
						t.Errorf("%s: refused: %v", kind, err)
					} else if got := read(t, &b); got != plainly(c.in) {
						t.Errorf("%s: sent as %q", kind, got)
					}
					continue
				}
				var e *content.Error
				if !errors.As(err, &e) {
					t.Fatalf("%s: error %v, want an *Error", kind, err)
				}
				if e.Line != c.line || e.Enhanced != "5.6.0" || e.Temporary() {
					t.Errorf("%s: error %v (%s), want 5.6.0 about line %d", kind, e, e.Enhanced, c.line)
				}
			}
		})
	}
	t.Run("SMTP-30 a relay refuses a bare LF far down a stream", func(t *testing.T) {
		_, err := content.Prepare(streamOf(filler+"a\n"), content.Relay)
		var e *content.Error
		if want := strings.Count(filler, "\n") + 1; !errors.As(err, &e) || e.Line != want {
			t.Errorf("error %v, want one about line %d", err, want)
		}
	})
	t.Run("SMTP-32 a relay passes octets as they are", func(t *testing.T) {
		in := "Received: x\r\nReturn-Path: <a@b>\r\n\r\n\x00\x1a\x7f\xff " + x(5000) + "\t \r\n.\r\n\r\n\r\n"
		for _, in := range []string{in, filler + in} {
			b := prepare(t, streamOf(in), content.Relay)
			if got := read(t, &b); got != in {
				t.Error("other octets")
			}
		}
	})
}

func TestFacts(t *testing.T) {
	in := "a: b\r\n\r\n" + strings.Repeat("x", 50) + "\x00\n\xff\rshort\r\n" + strings.Repeat("y", 1200) + "\r\n"
	for name, in := range map[string]string{"short": in, "long": filler + in} {
		t.Run(name, func(t *testing.T) {
			b := prepare(t, stream{in, -1, iotest.HalfReader}, content.Relay|content.NormaliseLines)
			if !b.EightBit || !b.NUL || b.LongestLine != 1200 {
				t.Errorf("EightBit %t, NUL %t, LongestLine %d", b.EightBit, b.NUL, b.LongestLine)
			}
		})
	}
	t.Run("plain", func(t *testing.T) {
		b := prepare(t, memory("a: b\r\n\r\n\x7f\x01\r\n"), content.Origin)
		if b.EightBit || b.NUL || b.LongestLine != 4 {
			t.Errorf("EightBit %t, NUL %t, LongestLine %d", b.EightBit, b.NUL, b.LongestLine)
		}
	})
	t.Run("an 8-bit octet is seen in every place of a block", func(t *testing.T) {
		for i := range 130 {
			in := []byte(strings.Repeat("x", 130) + "\r\n")
			in[i] = 0x80
			if b := prepare(t, memory(in), content.Origin); !b.EightBit {
				t.Errorf("not seen at %d", i)
			}
		}
	})
}
