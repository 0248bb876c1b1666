package smtpd

import (
	"slices"
	"strconv"
	"strings"

	"github.com/nexthop-mail/nexthop/queue"
)

var (
	badValue   = Reply{501, "5.5.4", "a parameter has a value that makes no sense"}
	notOffered = Reply{555, "5.5.4", "a parameter that is not offered"}
)

var twice = Reply{501, "5.5.4", "a parameter is given twice"}

// mailParameters takes the parameters of MAIL.
func (t *Transaction) mailParameters(list []string) Reply {
	return each(list, t.mailParameter)
}

// recipientParameters takes the parameters of RCPT.
func recipientParameters(r *queue.Recipient, list []string) Reply {
	return each(list, func(name, value string, given bool) Reply { return recipientParameter(r, name, value) })
}

// each takes parameters one by one, each once (RFC 5321 section 4.1.1.11).
func each(list []string, take func(name, value string, given bool) Reply) Reply {
	var seen [8]string
	for i, p := range list {
		name, value, given := strings.Cut(p, "=")
		name = strings.ToUpper(name)
		if i >= len(seen) {
			return notOffered // there are not so many
		}
		if slices.Contains(seen[:i], name) {
			return twice
		}
		seen[i] = name
		if r := take(name, value, given); r.Failed() {
			return r
		}
	}
	return Reply{}
}

// mailParameter takes one parameter of MAIL. SIZE and BODY are hints, which are found
// out anyway: of trusted clients they may be anything.
func (t *Transaction) mailParameter(name, value string, given bool) Reply {
	switch name {
	case "SIZE":
		n, err := strconv.ParseInt(value, 10, 64)
		if bad := err != nil || n < 0 || len(value) > 20; !bad {
			t.Size = n
		} else if !t.Trusted {
			return badValue
		}
	case "BODY":
		switch strings.ToUpper(value) {
		case "7BIT", "8BITMIME":
		case "BINARYMIME": // it has lines of its own, which cannot be converted
			return badValue
		default:
			if !t.Trusted {
				return badValue
			}
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
		t.EnvelopeID = strings.Clone(id)
	case "AUTH":
		// RFC 4954 section 5. A client may say that the submitter is unknown, or is the
		// logged-in user; any other claim is not believed.
		submitter, ok := decodeXtext(value)
		if !ok || submitter == "" {
			return badValue
		}
		t.submitterUnknown = submitter != t.User
	default:
		return notOffered
	}
	return Reply{}
}

// recipientParameter takes one parameter of RCPT (RFC 3461 section 4).
func recipientParameter(r *queue.Recipient, name, value string) Reply {
	switch name {
	case "NOTIFY":
		n, ok := parseNotify(value)
		if !ok {
			return badValue
		}
		r.Notify = n
	case "ORCPT":
		kind, address, ok := decodeOriginal(value)
		if !ok {
			return badValue
		}
		r.OriginalType, r.Original = strings.Clone(kind), strings.Clone(address)
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
