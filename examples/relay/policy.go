package main

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/smtpd"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// policy is who may send to whom: trusted clients to anybody, everybody to the relay
// domains.
type policy struct {
	trusted    []netip.Prefix
	domains    []string // canonical
	subdomains []string // canonical, behind a dot

	// sender, where not nil, is asked at RCPT whether the domain takes mail at all.
	sender *delivery.Sender
}

// recipient decides on one RCPT.
func (p *policy) recipient(ctx context.Context, t *smtpd.Transaction, _ *queue.Recipient, destination string) smtpd.Reply {
	if !p.isTrusted(t.Client) && !p.isRelayDomain(destination) {
		return smtpd.Reply{Code: 550, Enhanced: "5.7.1", Text: "relaying denied"}
	}
	if p.sender != nil {
		return p.takesMail(ctx, t.From, destination)
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

// takesMail refuses a domain whose DNS says that it takes no mail (RFC 7505 section
// 4.1). Anything else is for the queue to find out: a doubt is no reason to refuse.
func (p *policy) takesMail(ctx context.Context, from, destination string) smtpd.Reply {
	_, err := p.sender.Router.Route(ctx, from, destination)
	if e, ok := errors.AsType[*mx.Error](err); ok && e.Outcome == mx.NullMX {
		return smtpd.Reply{Code: e.Code, Enhanced: e.Enhanced, Text: destination + " takes no mail"}
	}
	return smtpd.Reply{}
}
