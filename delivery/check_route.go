package delivery

import (
	"context"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// CheckRoute says whether there is a route for mail from a reverse-path to an
// address, without connecting to anybody. A server that asks at RCPT can refuse
// what would bounce: a domain that does not exist, or takes no mail (556 and
// 5.1.10, RFC 7505 section 4.1).
//
// Nil where there is one, else an *Error. Where that is temporary nobody knows,
// and the address should be taken.
func (s *Sender) CheckRoute(ctx context.Context, from, to string) error {
	mailbox, err := address.Parse(to)
	if err != nil {
		return badRecipient(to, err)
	}
	if _, err := s.route(ctx, from, mailbox.Domain().String()); err != nil {
		e := routingError(err)
		e.Recipient = mailbox.String()
		return e
	}
	return nil
}
