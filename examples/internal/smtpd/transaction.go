package smtpd

import (
	"net/netip"

	"github.com/nexthop-mail/nexthop/queue"
)

// Transaction is an envelope as the client gave it, and who the client is.
type Transaction struct {
	// Client is its address, Trusted what Server.Trusted says of it, and Hello the
	// name in its EHLO, which may be any text.
	Client  netip.Addr
	Trusted bool
	Hello   string

	// Secure is whether TLS was on, Extended whether the client said EHLO.
	Secure, Extended bool

	// User is who is logged in; empty is nobody.
	User string

	// ID is what the Received field calls this reception.
	ID string

	// From is the reverse-path, empty for the null one; Recipients are those that
	// were taken.
	From       string
	Recipients []queue.Recipient

	// Size is what the client said the message has, 0 where it said nothing. UTF8 and
	// RequireTLS are the parameters SMTPUTF8 and REQUIRETLS; EnvelopeID and Return are
	// ENVID and RET (RFC 3461).
	Size       int64
	UTF8       bool
	RequireTLS bool
	EnvelopeID string
	Return     queue.Return

	submitterUnknown bool // though somebody is logged in

	destination string // of the last recipient, in canonical form
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
