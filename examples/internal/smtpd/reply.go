package smtpd

import (
	"strconv"
	"strings"
)

// Reply is a reply to the client. Text may have several lines, separated by "\n".
type Reply struct {
	Code     int
	Enhanced string // empty for replies without one: greeting, EHLO, 354
	Text     string
}

// Failed is whether the reply is a refusal, for now or for good.
func (r Reply) Failed() bool { return r.Code >= 400 }

// append adds the reply in the form of RFC 5321 section 4.2 to b.
func (r Reply) append(b []byte) []byte {
	rest, more := r.Text, true
	for more {
		var line string
		line, rest, more = strings.Cut(rest, "\n")
		b = strconv.AppendInt(b, int64(r.Code), 10)
		if more {
			b = append(b, '-')
		} else {
			b = append(b, ' ')
		}
		if r.Enhanced != "" {
			b = append(append(b, r.Enhanced...), ' ')
		}
		b = append(append(b, printable(line)...), '\r', '\n')
	}
	return b
}

// printable prevents text from others from ending a line of ours.
func printable(s string) string {
	const limit = 400 // a reply line has 512 octets (RFC 5321 section 4.5.3.1.5)
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
