package record_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestGroups has frames of which some are damaged: "(" is the first of a group,
// ")" the last, "o" both, "." one in between, and "x" one that cannot be read.
func TestGroups(t *testing.T) {
	for layout, want := range map[string]string{
		"o":        "o",
		"(.)":      "(.)",
		"oo()o":    "o o () o",
		"(.xo":     "(.! o",
		"(x)o":     "(! )! o",
		"x.)()":    ".! )! ()",
		"((.)":     "(! (.)",
		"(.o":      "(.! o",
		"(.":       "(.!",
		")(x(.x)o": ")! (! (.! )! o",
		"xxx":      "",
	} {
		b := record.FileHeader{Kind: record.SegmentFile, Number: 1, Salt: salt}.Append(nil)
		var kinds []byte
		for i, c := range layout {
			flags := map[rune]record.Flags{'(': record.First, ')': record.Last, 'o': record.First | record.Last}[c]
			at := len(b)
			f := record.Frame{Kind: record.Kind(1 + i), Flags: flags, Head: fmt.Appendf(nil, "head %d", i)}
			b = f.Append(b, salt, int64(at))
			if c == 'x' {
				b[at] ^= 1
			}
			kinds = append(kinds, byte(c))
		}
		var got []string
		groups := record.NewGroups(bytes.NewReader(b), int64(len(b)), salt, record.HeaderSize)
		for groups.Next() {
			var one strings.Builder
			for _, f := range groups.Frames() {
				n := int(f.Kind) - 1
				one.WriteByte(kinds[n])
				if want := fmt.Sprintf("head %d", n); string(f.Head) != want {
					t.Errorf("%s: the head of frame %d is %q", layout, n, f.Head)
				}
			}
			if !groups.Whole() {
				one.WriteByte('!')
			}
			if groups.From() != groups.Frames()[0].From || groups.To() <= groups.From() {
				t.Errorf("%s: a group from %d to %d", layout, groups.From(), groups.To())
			}
			got = append(got, one.String())
		}
		if s := strings.Join(got, " "); s != want || groups.Err() != nil {
			t.Errorf("%s: the groups are %q, %v, want %q", layout, s, groups.Err(), want)
		}
	}
}
