package smtpd

import (
	"strconv"
	"strings"

	"github.com/nexthop-mail/nexthop/queue"
)

var (
	badValue   = Reply{501, "5.5.4", "a parameter has a value that makes no sense"}
	notOffered = Reply{555, "5.5.4", "a parameter that is not offered"}
)

// mailParameter takes one parameter of MAIL (RFC 5321 section 4.1.1.11).
func (t *Transaction) mailParameter(p string) Reply {
	name, value, given := strings.Cut(p, "=")
	switch name = strings.ToUpper(name); name {
	case "SIZE":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 || len(value) > 20 {
			return badValue
		}
		t.Size = n
	case "BODY":
		switch strings.ToUpper(value) {
		case "7BIT", "8BITMIME":
		default:
			return badValue
		}
	case "SMTPUTF8", "REQUIRETLS":
		if given || name == "REQUIRETLS" && !t.Secure {
			return notOffered
		}
		t.UTF8 = t.UTF8 || name == "SMTPUTF8"
		t.RequireTLS = t.RequireTLS || name == "REQUIRETLS"
	case "RET":
		switch strings.ToUpper(value) {
		case "FULL":
			t.Return = queue.ReturnFull
		case "HDRS":
			t.Return = queue.ReturnHeaders
		default:
			return badValue
		}
	case "ENVID":
		id, ok := decodeXtext(value)
		if !ok || id == "" || len(id) > 100 || !isPrintable(id) { // RFC 3461 section 4.4
			return badValue
		}
		t.EnvelopeID = id
	case "AUTH":
		// RFC 4954 section 5: nobody here is trusted to say so, and it may be ignored.
	default:
		return notOffered
	}
	return Reply{}
}

// recipientParameter takes one parameter of RCPT (RFC 3461 section 4).
func recipientParameter(r *queue.Recipient, p string) Reply {
	name, value, _ := strings.Cut(p, "=")
	switch strings.ToUpper(name) {
	case "NOTIFY":
		n, ok := parseNotify(value)
		if !ok || r.Notify != 0 {
			return badValue
		}
		r.Notify = n
	case "ORCPT":
		kind, address, ok := strings.Cut(value, ";")
		if ok {
			address, ok = decodeXtext(address)
		}
		if !ok || kind == "" || address == "" || len(value) > 500 || !isPrintable(address) {
			return badValue
		}
		r.OriginalType, r.Original = kind, address
	default:
		return notOffered
	}
	return Reply{}
}

func parseNotify(value string) (queue.Notify, bool) {
	var n queue.Notify
	for word := range strings.SplitSeq(strings.ToUpper(value), ",") {
		var bit queue.Notify
		switch word {
		case "NEVER":
			return queue.NotifyNever, len(value) == len("NEVER")
		case "SUCCESS":
			bit = queue.NotifySuccess
		case "FAILURE":
			bit = queue.NotifyFailure
		case "DELAY":
			bit = queue.NotifyDelay
		default:
			return 0, false
		}
		n |= bit
	}
	return n, true
}

// decodeXtext decodes the xtext of RFC 3461 section 4: "+2B" is a plus sign.
func decodeXtext(s string) (string, bool) {
	if !strings.Contains(s, "+") {
		return s, !strings.Contains(s, "=")
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '=':
			return "", false
		case s[i] != '+':
			b.WriteByte(s[i])
		case i+2 >= len(s):
			return "", false
		default:
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil || strings.ContainsAny(s[i+1:i+3], "abcdef") {
				return "", false
			}
			b.WriteByte(byte(n))
			i += 2
		}
	}
	return b.String(), true
}

func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}
