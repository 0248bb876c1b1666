package dsn

import (
	"strconv"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// dateFormat is that of RFC 5322 section 3.3, with a numeric zone.
const dateFormat = "Mon, 02 Jan 2006 15:04:05 -0700"

func appendDate(b []byte, name string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return appendField(b, name, t.Format(dateFormat))
}

// messageFields appends the fields about the message (RFC 3464 section 2.2).
func (r *reader) messageFields(b []byte) []byte {
	if id := printable(oneLine(r.report.EnvelopeID)); strings.Trim(id, " ") != "" {
		b = appendWhole(b, "Original-Envelope-Id", id)
	}
	b = appendWhole(b, "Reporting-MTA", hostName(r.report.Reporter))
	return appendDate(b, "Arrival-Date", r.report.Arrived)
}

// recipientFields appends the fields about a recipient (RFC 3464 section 2.3).
func recipientFields(b []byte, r *Recipient) []byte {
	if r.Original != "" {
		kind := r.OriginalType
		if kind == "" {
			kind = "rfc822"
		}
		original := printable(oneLine(r.Original))
		if strings.EqualFold(kind, "utf-8") {
			original = encoded(r.Original)
		}
		b = appendWhole(b, "Original-Recipient", printable(oneLine(kind))+"; "+original)
	}
	if isASCII(r.Address) {
		b = appendWhole(b, "Final-Recipient", "rfc822; "+printable(oneLine(r.Address)))
	} else {
		b = appendWhole(b, "Final-Recipient", "utf-8; "+encoded(r.Address))
	}
	b = appendField(b, "Action", r.Action.String())
	b = appendField(b, "Status", r.status())
	if r.replied() && r.Remote != "" {
		b = appendWhole(b, "Remote-MTA", hostName(r.Remote))
	}
	if d := r.diagnostic(); d != "" {
		b = appendField(b, "Diagnostic-Code", d)
	}
	b = appendDate(b, "Last-Attempt-Date", r.LastAttempt)
	if r.Action == Delayed {
		b = appendDate(b, "Will-Retry-Until", r.RetryUntil)
	}
	return b
}

// replied is whether a host said what is reported.
func (r *Recipient) replied() bool { return r.Code >= 100 && r.Code <= 999 }

// diagnostic is the reply as it was received, or the reason that is our own (RFC
// 3461 section 6.3 h and i).
func (r *Recipient) diagnostic() string {
	if !r.replied() {
		if strings.TrimSpace(r.Text) == "" {
			return ""
		}
		return "x-nexthop; " + printable(oneLine(r.Text))
	}
	return "smtp; " + r.reply()
}

// reply is the reply as it was received, its lines separated by "\n".
func (r *Recipient) reply() string {
	list := strings.Split(printable(strings.TrimRight(r.Text, "\r\n")), "\n")
	code := strconv.Itoa(r.Code)
	for i, line := range list {
		if i < len(list)-1 {
			list[i] = code + "-" + line
		} else {
			list[i] = code + " " + line
		}
	}
	return strings.Join(list, "\n")
}

// status is Status, if it is one (RFC 3463 section 2).
func (r *Recipient) status() string {
	class := "5"
	if r.Action == Delayed {
		class = "4"
	}
	parts := strings.Split(r.Status, ".")
	if len(parts) != 3 || parts[0] != "5" && parts[0] != "4" {
		return class + ".0.0"
	}
	for _, p := range parts[1:] {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 || n > 999 || strconv.Itoa(n) != p {
			return class + ".0.0"
		}
	}
	if r.Action == Delayed {
		parts[0] = class // what is tried again is not permanent
	}
	return strings.Join(parts, ".")
}

// hostName is a host with the type of its name (RFC 3461 section 9.3).
func hostName(name string) string {
	d, err := address.ParseDomain(name)
	if err != nil || !strings.ContainsAny(d.String(), ".:") {
		return "x-local-hostname; " + printable(oneLine(name))
	}
	return "dns; " + strings.TrimSuffix(d.String(), ".")
}

// oneLine makes line breaks spaces.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return ' '
		}
		return r
	}, s)
}
