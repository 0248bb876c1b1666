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

// leastSecret is the length from which a part of a secret can be distinguished from the
// words of a reply.
const leastSecret = 8

// veil returns the form in which a response is shown. A response without a secret is
// shown as it is.
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

// hide returns a reply line without text that repeats a secret. The whole text is
// removed, since a gap in a well-known sentence would show what is missing.
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

// repeatedIn reports whether text has a secret in it, or a part of one, as if a
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

// isChallenge reports whether a line is part of a 334 reply. It is passed to the
// mechanism unchanged: a challenge has good reasons to repeat what was sent, such as
// the client's nonce.
func isChallenge(line []byte) bool { return bytes.HasPrefix(line, []byte("334")) }

// asked returns the form in which a challenge is shown: with a whole challenge, a
// reader of the trace could try passwords.
func asked(line []byte) []byte {
	if len(line) <= 4 {
		return line
	}
	return append(bytes.Clone(line[:4]), challenge...)
}
