package smtpd

import (
	"net/netip"

	"github.com/nexthop-mail/nexthop/queue"
)

// Transaction is an envelope as the client gave it, and who the client is.
type Transaction struct {
	// Client is the client's address, Trusted the result of Server.Trusted, and Hello
	// the name in its EHLO, which may be any text.
	Client  netip.Addr
	Trusted bool
	Hello   string

	// Secure is whether TLS was on, Extended whether the client said EHLO.
	Secure, Extended bool

	// User is the user who is logged in, or "" if none is.
	User string

	// ID is what the Received field calls this reception.
	ID string

	// From is the reverse-path, empty for the null one; Recipients are those that
	// were taken.
	From       string
	Recipients []queue.Recipient

	// Size is the size that the client has announced, or 0 if it has not. UTF8 and
	// RequireTLS are the parameters SMTPUTF8 and REQUIRETLS; EnvelopeID and Return are
	// ENVID and RET (RFC 3461).
	Size       int64
	UTF8       bool
	RequireTLS bool
	EnvelopeID string
	Return     queue.Return

	submitterUnknown bool // although a user is logged in
}

// Message is the transaction as a message for a queue.
func (t *Transaction) Message(content queue.Content) *queue.Message {
	submitter := t.User
	if t.submitterUnknown {
		submitter = ""
	}
	m := &queue.Message{
		From: t.From, Recipients: t.Recipients, Content: content,
		EnvelopeID: t.EnvelopeID, Return: t.Return, UTF8: t.UTF8, Submitter: submitter,
	}
	if t.RequireTLS {
		m.TLS = queue.TLSRequired
	}
	return m
}
