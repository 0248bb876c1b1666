package queue

import (
	"net/netip"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// Received is the trace field that a server puts before each message it accepts (RFC 5321
// section 4.4): Prepend(Received{…}.String(), content). It may contain what clients have
// said: invalid characters are replaced, so that nobody can add a field, and the field is
// ASCII, so that it makes no message need 8BITMIME or SMTPUTF8.
type Received struct {
	// From is the name that the client gave in EHLO, and Client is its address. Both may
	// be missing, for mail of this machine.
	From   string
	Client netip.Addr

	// By is the name of this host, and Comment is written in parentheses after it.
	By, Comment string

	// With is the protocol: SMTP, ESMTP, ESMTPS with TLS, ESMTPSA with TLS and a login,
	// and so on (RFC 3848, RFC 6531). ID is the server's id of the message. Default: left
	// out.
	With, ID string

	// For is the recipient. Leave it empty if there are several, so that none of them
	// learns about another. It is left out if it has no form in ASCII.
	For string

	// Time is when the message arrived. Default: now.
	Time time.Time
}

// String returns the field, on several lines that all end in CRLF.
func (r Received) String() string {
	b := make([]byte, 0, 256)
	b = append(b, "Received:"...)
	if r.From != "" || r.Client.IsValid() {
		b = append(b, " from "...)
		if name := plainName(r.From); !r.Client.IsValid() || strings.Trim(name, "?") != "" {
			b = append(b, name...)
		} else {
			b = appendLiteral(b, r.Client)
		}
		if r.Client.IsValid() {
			b = append(appendLiteral(append(b, " ("...), r.Client), ')')
		}
		b = append(b, "\r\n\t"...)
	} else {
		b = append(b, ' ')
	}
	b = append(append(b, "by "...), plainName(r.By)...)
	if r.Comment != "" {
		b = append(append(append(b, " ("...), plainComment(r.Comment)...), ')')
	}
	if r.With != "" {
		b = append(append(b, " with "...), plainName(cut(r.With, longestWord))...)
	}
	if r.ID != "" {
		b = append(append(b, " id "...), plainName(cut(r.ID, longestWord))...)
	}
	if path := plainPath(r.For); path != "" {
		b = append(append(append(b, "\r\n\tfor <"...), path...), '>')
	}
	at := r.Time
	if at.IsZero() {
		at = time.Now()
	}
	b = append(b, ";\r\n\t"...)
	return string(append(at.AppendFormat(b, time.RFC1123Z), "\r\n"...))
}

// Longest texts of others: so no line is longer than 998 octets (RFC 5322 section 2.1.1).
const (
	longestName = 255
	longestWord = 100
	longestPath = 256
)

func cut(s string, most int) string { return s[:min(len(s), most)] }

// plainName returns a name beyond ASCII in A-labels, and anything else with "?" in place
// of invalid characters.
func plainName(name string) string {
	i := 0
	for i < len(name) && plainInName(name[i]) {
		i++
	}
	switch {
	case name == "":
		return "?"
	case i == len(name):
		return cut(name, longestName)
	}
	if !ascii(name) {
		if d, err := address.ParseDomain(name); err == nil {
			return d.String()
		}
	}
	b := []byte(cut(name, longestName))
	for i := range b {
		if !plainInName(b[i]) {
			b[i] = '?'
		}
	}
	return string(b)
}

func plainInName(c byte) bool {
	switch c {
	case '.', '-', '_', '[', ']', ':', '+', '=', '/':
		return true
	default:
		return letterOrDigit(c)
	}
}

// plainComment returns a text as it can stand in a comment.
func plainComment(text string) string {
	b := []byte(cut(text, longestName))
	for i, c := range b {
		if c < ' ' || c > '~' || strings.IndexByte(`()\`, c) >= 0 {
			b[i] = '?'
		}
	}
	return string(b)
}

// plainPath returns a path in ASCII, or "" if it has no such form or is too long.
func plainPath(path string) string {
	box, err := address.Parse(path)
	at := strings.LastIndexByte(path, '@')
	if err != nil || at < 0 || len(path) > longestPath {
		return ""
	}
	local, domain := path[:at], path[at+1:]
	if !ascii(local) || strings.ContainsFunc(local, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return ""
	}
	if !strings.HasPrefix(local, `"`) && (strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..")) {
		return `"` + local + `"@` + box.Domain().String() // old clients' addresses, which the grammar lacks
	}
	if !ascii(domain) {
		return local + "@" + box.Domain().String()
	}
	return path
}

// appendLiteral appends an address as RFC 5321 section 4.1.3 writes it.
func appendLiteral(b []byte, a netip.Addr) []byte {
	if a = a.Unmap().WithZone(""); a.Is6() {
		b = append(b, "[IPv6:"...)
	} else {
		b = append(b, '[')
	}
	return append(a.AppendTo(b), ']')
}

func letterOrDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
