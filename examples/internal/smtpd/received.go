package smtpd

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// receptionID is unique among the messages of this host: microseconds and a count.
func (s *Server) receptionID() string {
	b := strconv.AppendInt(nil, time.Now().UnixMicro(), 36)
	return string(strconv.AppendUint(b, 36*36+s.begun.Add(1)%(36*36*35), 36))
}

// received returns the trace field that every relay adds (RFC 5321 section 4.4). It
// contains the recipient only if there is one, so that no recipient learns about
// another. All of it is ASCII: text from others must not make 7-bit mail need more than
// that (RFC 6531 section 3.7.3 permits UTF-8, but no host needs it).
func (t *Transaction) received(host string, now time.Time) []byte {
	b := make([]byte, 0, 256)
	b = append(append(b, "Received: from "...), t.helloName()...)
	b = append(b, " ("...)
	b = append(append(b, addressLiteral(t.Client)...), ")\r\n\tby "...)
	b = append(append(b, asciiName(host)...), " with "...)
	b = append(append(b, t.protocol()...), " id "...)
	b = append(b, t.ID...)
	if path := t.onlyRecipient(); path != "" {
		b = append(append(append(b, "\r\n\tfor <"...), path...), '>')
	}
	b = append(b, ";\r\n\t"...)
	return append(now.AppendFormat(b, time.RFC1123Z), "\r\n"...)
}

// helloName returns the client's name in a form that can be written: a name beyond
// ASCII in A-labels, anything else with "?" for invalid characters, and the client's
// address if nothing is left.
func (t *Transaction) helloName() string {
	name := asciiName(t.Hello)
	if strings.Trim(name, "?") == "" {
		return addressLiteral(t.Client)
	}
	return name
}

func asciiName(name string) string {
	if !isASCII(name) {
		if d, err := queue.ParseDestination(name); err == nil {
			return d
		}
	}
	b := []byte(name)
	for i, c := range b {
		if !isPlain(c) {
			b[i] = '?'
		}
	}
	return string(b)
}

func addressLiteral(a netip.Addr) string {
	if a.Is6() {
		return "[IPv6:" + a.String() + "]"
	}
	return "[" + a.String() + "]"
}

// onlyRecipient returns the path of a single recipient in ASCII, or "" if there are
// several, if the path has no such form, or if the line would be too long.
func (t *Transaction) onlyRecipient() string {
	if len(t.Recipients) != 1 {
		return ""
	}
	path := t.Recipients[0].Address
	local := path[:max(strings.LastIndexByte(path, '@'), 0)]
	switch {
	case len(path) > 256 || !isASCII(local):
		return ""
	case !strings.HasPrefix(local, `"`) && (strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..")):
		return `"` + local + `"@` + t.destination
	case !isASCII(path):
		return local + "@" + t.destination
	}
	return path
}

// protocol is the name from the registry of RFC 3848 and RFC 6531.
func (t *Transaction) protocol() string {
	switch {
	case t.UTF8 && t.User != "": // which is under TLS
		return "UTF8SMTPSA"
	case t.User != "":
		return "ESMTPSA"
	case t.UTF8 && t.Secure:
		return "UTF8SMTPS"
	case t.UTF8:
		return "UTF8SMTP"
	case t.Secure:
		return "ESMTPS"
	case t.Extended:
		return "ESMTP"
	}
	return "SMTP"
}
