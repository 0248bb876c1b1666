package smtp

import (
	"bytes"
	"strings"
)

// secrets is what a session has sent in AUTH and must not show: responses as they
// were encoded, and what the mechanism calls secret.
type secrets []string

const (
	veiled    = "<secret>"
	withheld  = "<text withheld: it repeats what AUTH sent>"
	challenge = "<challenge>"
)

// leastSecret is how long a part of a secret is to be told from the words of a
// reply.
const leastSecret = 8

// veil is what a response is shown as. What says nothing is shown as it is.
func veil(encoded string) string {
	if encoded == "" || encoded == "=" {
		return encoded
	}
	return veiled
}

func (l *secrets) keep(list ...string) {
	for _, s := range list {
		if s != "" && s != "=" {
			*l = append(*l, s)
		}
	}
}

// hide is a reply line without what repeats a secret. The whole text goes, since
// a gap in a sentence that is well known would show what is missing from it.
func (l secrets) hide(line []byte) []byte {
	if len(l) == 0 || !l.repeatedIn(line) {
		return line
	}
	code := 0
	if _, _, _, bad := parseLine(line); bad == "" && len(line) > 4 {
		code = 4
	}
	return append(bytes.Clone(line[:code]), withheld...)
}

// repeatedIn reports whether text has a secret in it, or a part of one, as where a
// server has folded it.
func (l secrets) repeatedIn(text []byte) bool {
	for _, s := range l {
		if bytes.Contains(text, []byte(s)) {
			return true
		}
		for i := leastSecret; i <= len(text); i++ {
			if strings.Contains(s, string(text[i-leastSecret:i])) {
				return true
			}
		}
	}
	return false
}

// isChallenge reports whether a line is part of a 334 reply. It goes to the
// mechanism as it is: a challenge repeats what was sent for good reason, such as
// the client's nonce.
func isChallenge(line []byte) bool { return bytes.HasPrefix(line, []byte("334")) }

// asked is what a challenge is shown as: whoever has the trace could try passwords
// on it.
func asked(line []byte) []byte {
	if len(line) <= 4 {
		return line
	}
	return append(bytes.Clone(line[:4]), challenge...)
}
