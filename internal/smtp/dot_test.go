package smtp

import (
	"fmt"
	"strings"
	"testing"
)

// TestDotsWhereverContentIsCut: content has the same dots added, or is refused, as its
// definition says, wherever it is cut in three, for all short texts of dots, CRLFs, CR, LF
// and others.
func TestDotsWhereverContentIsCut(t *testing.T) {
	texts := []string{""}
	for at := 0; len(texts[at]) < 9; at++ { // all of up to five of them
		for _, next := range []string{"x", ".", "\r", "\n", "\r\n"} {
			texts = append(texts, texts[at]+next)
		}
	}
	for _, text := range texts {
		want := defined(text)
		for from := range len(text) + 1 {
			for to := from; to <= len(text); to++ {
				if got := stuffed(text[:from], text[from:to], text[to:]); got != want {
					t.Fatalf("%q, %q and %q: %s, want %s", text[:from], text[from:to], text[to:], got, want)
				}
			}
		}
	}
}

// defined is what is to be sent of content (RFC 5321 section 4.5.2), or that it is to be
// refused.
func defined(text string) string {
	if strings.ContainsAny(strings.ReplaceAll(text, "\r\n", ""), "\r\n") {
		return errBareLine.Error()
	}
	if text != "" && !strings.HasSuffix(text, "\r\n") {
		text += "\r\n"
	}
	return fmt.Sprintf("%q", strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")[2:]+".\r\n")
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
