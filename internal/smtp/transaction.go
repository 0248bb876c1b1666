package smtp

import (
	"io"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// Body is content ready to be sent: lines end in CRLF, and no CR or LF stands
// alone.
type Body interface {
	// Size is the exact number of octets (RFC 1870 section 6: without dot
	// stuffing and the final dot).
	Size() int64

	// Bytes returns the content if it is in memory, otherwise nil. It must not be
	// changed.
	Bytes() []byte

	// Open returns a reader of the content from its first octet. It is called
	// at most once per transaction, and only where Bytes is nil.
	Open() (io.ReadCloser, error)
}

// Transaction is one message for some recipients: MAIL, RCPT and the content
// (RFC 5321 section 3.3).
type Transaction struct {
	// From is the reverse-path; the zero Mailbox is the null one.
	From address.Mailbox

	// To are the recipients, at least one.
	To []Rcpt

	// Body is the content.
	Body Body

	// EightBit is true if the content has octets beyond ASCII (RFC 6152), UTF8 if it
	// needs SMTPUTF8 (RFC 6531) regardless of its addresses, and Binary if it does not
	// consist of lines (RFC 3030 section 3). These and the addresses determine what a
	// server must offer to receive the message.
	EightBit, UTF8, Binary bool

	// Convertible, if not nil, reports whether content with EightBit set has a 7-bit
	// form. If MAIL is refused because of BODY, the session then leaves out OptBody,
	// and the caller must send that form.
	Convertible func() bool

	// NotConverted says why content with EightBit set has no form for a server that
	// accepts only 7 bits; if nil, there is no further reason.
	NotConverted error

	// RequireTLS asks for REQUIRETLS (RFC 8689): without it offered, and TLS in
	// use, the message is Unfit.
	RequireTLS bool

	// Encrypted makes the message Unfit for a session in clear, whatever has been
	// found out before.
	Encrypted bool

	// Submitter is who submitted the message, an address or other identity that
	// was authenticated and may be passed on (RFC 4954 section 5). Empty is
	// unknown. It goes to a server that Auth has logged in to and nowhere else.
	Submitter string

	// EnvelopeID is ENVID, decoded, and Return is RET, "FULL" or "HDRS" (RFC 3461).
	// Empty means none. They are not sent if DSN is not offered.
	EnvelopeID string
	Return     string

	// Wait makes the content wait for the replies to all RCPT commands, so that if the
	// session is lost before them, it is certain that nothing was delivered. It costs a
	// round trip if the content could have been sent along.
	Wait bool

	// Commit, if not nil, is called just before the octets that would make the
	// server take the message. An error breaks the transaction off.
	Commit func() error
}

// Rcpt is one recipient of a transaction. Its parameters are not sent where DSN
// is not offered.
type Rcpt struct {
	To address.Mailbox

	// Notify is NOTIFY, such as "SUCCESS,FAILURE" (RFC 3461 section 4.1). Empty means
	// none.
	Notify string

	// OriginalType and Original are ORCPT, decoded: "rfc822" and an address (RFC 3461
	// section 4.2). Empty means none.
	OriginalType, Original string
}
