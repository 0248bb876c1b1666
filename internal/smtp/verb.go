package smtp

import "bytes"

// hasCommands reports whether a line of content could be taken for a command. Some servers
// that refuse BDAT, because they have refused all recipients before, do not discard the
// chunk (RFC 3030 section 2), but read it as commands. Whoever wrote the content could then
// send another message as us, or have the replies to his commands taken for the replies to
// the next message.
func hasCommands(content []byte) bool {
	for len(content) > 0 {
		line := content
		if i := bytes.IndexByte(content, '\n'); i >= 0 {
			line, content = content[:i], content[i+1:]
		} else {
			content = nil
		}
		if beginsCommand(line) {
			return true
		}
	}
	return false
}

// longestVerb is the length of the longest verb.
const longestVerb = len("XFORWARD")

// beginsCommand reports whether a line begins with a verb of SMTP, behind what servers may
// pass over.
func beginsCommand(line []byte) bool {
	for len(line) > 0 && (line[0] <= ' ' || line[0] >= 0x7f) {
		line = line[1:]
	}
	var verb [longestVerb]byte
	n := 0
	for n < len(line) && (isAlnum(line[n]) || line[n] == '-') {
		if n == longestVerb {
			return isRcpt(verb[:])
		}
		verb[n] = line[n]
		if 'a' <= verb[n] && verb[n] <= 'z' {
			verb[n] -= 'a' - 'A'
		}
		n++
	}
	switch string(verb[:n]) {
	case "MAIL", "MAILFROM", "SEND", "SOML", "SAML", "DATA", "BDAT", "RSET", "NOOP", "QUIT", "HELO", "EHLO", "LHLO",
		"VRFY", "EXPN", "HELP", "AUTH", "STARTTLS", "TURN", "ETRN", "ATRN", "BURL", "VERB", "ONEX", "XCLIENT", "XFORWARD":
		return true
	}
	return isRcpt(verb[:n])
}

// isRcpt reports whether a verb may be RCPT. Servers that look at four letters find it in
// front of others, and no word of a language begins like that.
func isRcpt(verb []byte) bool { return len(verb) >= 4 && string(verb[:4]) == "RCPT" }
