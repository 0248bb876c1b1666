package dsn

import (
	"fmt"
	"strings"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// delayed is whether this is about delays alone.
func (r *reader) delayed() bool {
	for i := range r.report.Recipients {
		if r.report.Recipients[i].Action != Delayed {
			return false
		}
	}
	return true
}

// head appends the header of the report (RFC 6522 section 3, RFC 3834 section
// 3.1, RFC 3464 section 2).
func (r *reader) head(b []byte) []byte {
	subject := "Your message could not be delivered"
	if r.delayed() {
		subject = "Your message is delayed"
	}
	b = appendMailbox(b, "From", "Mail delivery system ", r.report.From)
	b = appendMailbox(b, "To", "", r.report.To)
	b = appendField(b, "Subject", subject)
	b = appendDate(b, "Date", r.report.Date)
	b = appendWhole(b, "Message-ID", "<"+printable(oneLine(r.report.ID))+">")
	if id := r.original.id; id != "" {
		b = appendWhole(b, "In-Reply-To", id)
		b = appendWhole(b, "References", id)
	}
	b = append(b, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"...)
	b = append(b, "Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\""...)
	return append(append(b, r.boundary...), "\"\r\n\r\nThis is a report in MIME format.\r\n"...)
}

// appendMailbox appends a field with an address. It is the only place with
// octets beyond ASCII, if the address has a local part that cannot do
// without.
func appendMailbox(b []byte, name, display, mailbox string) []byte {
	m, err := address.Parse(mailbox)
	if err != nil {
		return appendField(b, name, "undisclosed-recipients:;")
	}
	text, ok := m.ASCII()
	if !ok {
		text = m.String()
	}
	// A quoted local part may have spaces, at which no field of this kind folds.
	if len(text) > breakAt {
		return appendField(b, name, "undisclosed-recipients:;")
	}
	b = append(append(append(b, name...), ": "...), display...)
	return append(append(append(b, '<'), text...), ">\r\n"...)
}

// text appends the first part as far as it is about all recipients.
func (r *reader) text(b []byte) []byte {
	b = r.part(b, "text/plain; charset=us-ascii", "7bit")
	b = append(b, "This is the mail system at "...)
	b = append(append(b, clipped(printable(oneLine(r.report.Reporter)))...), ".\r\n\r\n"...)
	switch {
	case r.delayed():
		b = append(b, "Your message has not reached the recipients below yet. It is still\r\n"+
			"being tried: there is nothing you need to do.\r\n"...)
	case len(r.report.Recipients) == 1:
		b = append(b, "Your message could not be delivered to the recipient below. It is not\r\n"+
			"being tried any more.\r\n"...)
	default:
		b = append(b, "Your message could not be delivered to the recipients below. It is not\r\n"+
			"being tried any more.\r\n"...)
	}
	return b
}

// textAbout appends the text about one recipient. Text that is not ours is indented,
// so that no line of it can look like a boundary.
func textAbout(b []byte, r *Recipient) []byte {
	b = appendWords(append(b, "\r\n"...), "<"+printable(oneLine(r.Address))+">", 0, "  ")
	b = append(b, "\r\n"...)
	reason := "no reason is known"
	switch {
	case r.replied() && r.Remote != "":
		reason = printable(oneLine(r.Remote)) + " said:\n" + r.reply()
	case r.replied():
		reason = r.reply()
	case strings.TrimSpace(r.Text) != "":
		reason = printable(r.Text)
	}
	for line := range strings.SplitSeq(reason, "\n") {
		if strings.Trim(line, " ") != "" {
			b = appendWords(b, line, 0, "    ")
			b = append(b, "\r\n"...)
		}
	}
	if r.Action == Delayed && !r.RetryUntil.IsZero() {
		b = append(append(b, "    It is tried until "...), r.RetryUntil.Format(dateFormat)...)
		b = append(b, ".\r\n"...)
	}
	return b
}

// closing appends the end of the first part.
func (r *reader) closing(b []byte) []byte {
	if r.more > 0 {
		b = fmt.Appendf(b, "\r\nThis report is about %d more recipients, who are not named here.\r\n", r.more)
	}
	switch {
	case r.returned == returnMessage:
		return append(b, "\r\nYour message is attached.\r\n"...)
	case r.returned != returnNothing:
		return append(b, "\r\nThe header of your message is attached.\r\n"...)
	case r.report.Original != nil:
		return append(b, "\r\nYour message could not be read again, and is not attached.\r\n"...)
	default:
		return b
	}
}

func clipped(s string) string { return s[:min(len(s), breakAt)] }
