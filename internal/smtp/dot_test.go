package smtp

import (
	"fmt"
	"testing"
)

// TestDotsWhereverContentIsCut: content has the same dots added, or is refused, whether it
// is looked at as a whole, in two parts or an octet at a time, for all short texts of dots,
// CRLFs, CR, LF and others.
func TestDotsWhereverContentIsCut(t *testing.T) {
	texts := []string{""}
	for at := 0; len(texts[at]) < 6; at++ {
		for _, next := range []string{"x", ".", "\r", "\n", "\r\n"} {
			texts = append(texts, texts[at]+next)
		}
	}
	for _, text := range texts {
		var octets []string
		for i := range len(text) {
			octets = append(octets, text[i:i+1])
		}
		want := stuffed(octets...)
		for cut := range len(text) + 1 {
			if got := stuffed(text[:cut], text[cut:]); got != want {
				t.Fatalf("%q and %q: %s, want %s", text[:cut], text[cut:], got, want)
			}
		}
	}
}

// stuffed is what is sent of content in parts, or that it is refused.
func stuffed(parts ...string) string {
	var d stuffer
	sent := ""
	for _, part := range parts {
		for rest := []byte(part); len(rest) > 0; {
			n, dot, err := d.next(rest)
			if err != nil {
				return err.Error()
			}
			sent += string(rest[:n])
			if dot {
				sent += "."
			}
			rest = rest[n:]
		}
	}
	end, err := d.end()
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%q", sent+end)
}
