package main

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/smtpd"
	"github.com/nexthop-mail/nexthop/queue"
)

// policy decides which clients may send to which recipients: trusted clients and
// logged-in users to all, and all clients to the relay domains.
type policy struct {
	trusted    []netip.Prefix
	domains    []string // canonical
	subdomains []string // canonical, behind a dot

	// sender, where not nil, is asked at RCPT whether there is a way to the domain.
	sender *delivery.Sender
}

// recipient decides on one RCPT.
func (p *policy) recipient(ctx context.Context, t *smtpd.Transaction, r *queue.Recipient, destination string) smtpd.Reply {
	if !t.Trusted && t.User == "" && !p.isRelayDomain(destination) {
		return smtpd.Reply{Code: 550, Enhanced: "5.7.1", Text: "relaying denied"}
	}
	if p.sender != nil {
		return p.takesMail(ctx, t.From, r.Address)
	}
	return smtpd.Reply{}
}

func (p *policy) isTrusted(client netip.Addr) bool {
	return slices.ContainsFunc(p.trusted, func(n netip.Prefix) bool { return n.Contains(client) })
}

func (p *policy) isRelayDomain(destination string) bool {
	return slices.Contains(p.domains, destination) ||
		slices.ContainsFunc(p.subdomains, func(d string) bool { return strings.HasSuffix(destination, d) })
}

// takesMail refuses a domain that does not exist or accepts no mail, instead of
// bouncing the mail later. Anything else is left to the queue: uncertainty is not a
// reason to refuse.
func (p *policy) takesMail(ctx context.Context, from, to string) smtpd.Reply {
	e, _ := errors.AsType[*delivery.Error](p.sender.Routable(ctx, from, to))
	if e == nil || e.Temporary() {
		return smtpd.Reply{}
	}
	code := e.Code
	if code == 0 {
		code = 550
	}
	return smtpd.Reply{Code: code, Enhanced: e.Enhanced, Text: e.Reason()}
}
