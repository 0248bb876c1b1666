package smtpd

import (
	"slices"
	"strings"
)

// A session with a client that is plainly not a mail client ends at once: a browser
// that was led to this port sends text of a stranger from inside the network, and each
// of its lines could be a command (a body with EHLO, MAIL, RCPT and DATA is mail).
//
//   - A command begins with a letter. TLS, RDP, databases and most others begin with
//     another octet, which is seen before the end of the line.
//   - A verb has letters, digits and hyphens. A header field, a lone dot or an octet
//     beyond ASCII comes from a client that is in another state of the dialogue.
//   - A session begins with a word of SMTP. After "GET", "SSH-2.0", "USER" and "a001"
//     no mail follows.
//   - A request line ("OPTIONS * HTTP/1.1", "REGISTER sip:x SIP/2.0") is one at any
//     time.
//
// A client that talks before the greeting is none of these: scripts and devices do
// this, and their commands are judged like any others.

// isOther reports whether a line is another protocol's. known is whether its verb is a
// command here, begun whether the client has said EHLO or HELO.
func isOther(verb, line string, known, begun bool) bool {
	switch {
	case known:
		return false
	case verb == "": // the line begins with a blank, or is empty
		rest := strings.TrimLeft(line, " \t")
		word, _, _ := strings.Cut(rest, " ")
		return rest != "" && isRequest(strings.ToUpper(word), rest)
	case strings.ContainsFunc(verb, func(r rune) bool { return !isLetter(r) && !(r >= '0' && r <= '9') && r != '-' }):
		return true
	case isRequest(verb, line):
		return true
	default:
		return !begun && !isWord(verb)
	}
}

// mayBegin reports whether a command, or an empty line, may begin with an octet. A
// blank is a mistake like others.
func mayBegin(c byte) bool {
	return isLetter(rune(c)) || strings.IndexByte("\r\n \t", c) >= 0
}

func isLetter(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' }

// isRequest reports whether a line is a request as in HTTP and similar protocols: a
// method, a target, the protocol and its version. HTTP/0.9 has no version.
func isRequest(verb, line string) bool {
	if slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PRI", "PROXY"}, verb) {
		return true
	}
	words := strings.Fields(line)
	name, version, ok := strings.Cut(words[len(words)-1], "/")
	return len(words) > 2 && ok && name != "" && version != "" && version[0] >= '0' && version[0] <= '9' &&
		!strings.ContainsFunc(name, func(r rune) bool { return !isLetter(r) })
}

// isWord reports whether a verb is a word of SMTP that is not a command here: one of an
// extension, or a private one (RFC 5321 section 4.1.5).
func isWord(verb string) bool {
	return strings.HasPrefix(verb, "X") ||
		slices.Contains([]string{"AUTH", "EXPN", "ETRN", "ATRN", "TURN", "SEND", "SOML", "SAML", "BURL"}, verb)
}
