package delivery

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// Explanation describes how a Sender would deliver to a destination. It is made without
// connecting to any host.
type Explanation struct {
	// Domain is the destination as asked.
	Domain string
	// Route is the route. Hosts of equal preference are shuffled again at each attempt.
	Route mx.Route
	// Policies are the TLS policies of Route.Hosts, in the same order.
	Policies []PolicyAnswer
	// Site is the name of the site that the mail belongs to, and Limits are the limits
	// of its connections to Route.Hosts, in the same order. They are empty from a
	// Sender, which has no limits.
	Site   string
	Limits []HostLimits
	// Fallback is the route that is used after every host of this one has failed
	// temporarily, or nil.
	Fallback *Explanation
	// Err says why there is no route; nil if there is one.
	Err *Error
}

// PolicyAnswer is the policy for one host, or the reason why it is not known.
type PolicyAnswer struct {
	Policy TLSPolicy
	Err    error

	// Decision is the decision of the PolicySource about the host before there is a
	// connection; nil if it was not asked.
	Decision *Decision

	// Probe is the result of a connection, or nil if none was requested: see
	// Sender.ExplainConnect.
	Probe *Probe
}

// Probe is the result of a connection that was made to examine a host, up to EHLO
// inside TLS. It sent no mail and did not log in.
type Probe struct {
	// Addr is the address of the connection, TLS its protection, and State the state of
	// TLS, nil without TLS.
	Addr  netip.AddrPort
	TLS   Protection
	State *tls.ConnectionState

	// Decision is the decision of the PolicySource; nil if there is none.
	Decision *Decision

	// Err says why mail would not be sent there, as far as the connection shows; nil if
	// it would.
	Err *Error
}

// Explain finds the route for mail from a sender to a recipient domain, and the TLS
// policy of every host on it, without connecting. from is the reverse-path, on which a
// Router may depend; "" is the null reverse-path. The error is nil if there is a route,
// and otherwise the Explanation's Err. The Explanation is never nil.
func (s *Sender) Explain(ctx context.Context, from, domain string) (*Explanation, error) {
	e := &Explanation{Domain: domain}
	route, err := s.route(ctx, from, domain)
	if e.explain(ctx, s, route, err); e.Err != nil {
		return e, e.Err
	}
	if route.Fallback != nil {
		fallback, err := route.Fallback(ctx)
		if err != nil {
			fallback.Via = mx.ViaFallback
		}
		fallback.Via = cmp.Or(fallback.Via, mx.ViaFallback) // a Router's own stays, as in an attempt
		e.Fallback = &Explanation{Domain: domain}
		e.Fallback.explain(ctx, s, fallback, err)
	}
	return e, nil
}

// ExplainConnect is like Explain, but also connects to each host of the route to
// examine it, trying its addresses in order until one connects. It sends no mail. A
// receiver can use it to see its domain as senders do.
func (s *Sender) ExplainConnect(ctx context.Context, from, domain string) (*Explanation, error) {
	e, err := s.Explain(ctx, from, domain)
	for at := e; at != nil; at = at.Fallback {
		for i := range at.Policies {
			if at.Policies[i].Err == nil {
				at.Policies[i].Probe = s.probe(ctx, &at.Route, &at.Route.Hosts[i])
			}
		}
	}
	return e, err
}

// probe connects to a host.
func (s *Sender) probe(ctx context.Context, route *mx.Route, host *mx.Host) *Probe {
	policy, err := s.sessions.PolicyFor(ctx, route, host)
	probe := &Probe{}
	for _, ip := range host.Addrs {
		hop := session.Hop{Host: host, Addr: s.sessions.AddrPort(host, ip), Policy: &policy, Source: s.sessions.SourceFor("", ip), Named: session.Named(route.Via)}
		probe.Addr = hop.Addr
		if err == nil {
			err = s.probeAddress(ctx, &hop, probe)
		}
		if probe.Decision = decisionOf(hop.Judged.Decision); err == nil {
			return probe
		}
		probe.Err = newError(s.attempts.Failure(&hop, err))
		if probe.Err.Stage != StageConnect || ctx.Err() != nil {
			return probe
		}
		err = nil
	}
	return probe
}

// probeAddress connects to an address, and once more in clear where mail would be sent so.
func (s *Sender) probeAddress(ctx context.Context, hop *session.Hop, probe *Probe) error {
	told := *s.tracesOf(ctx)
	told.quiet = true // there is no mail, so TLS reports do not count it
	for {
		protection, state, err := s.sessions.Probe(ctx, hop, &told)
		probe.TLS, probe.State = Protection(protection), state
		se, ok := errors.AsType[*smtp.Error](err)
		if !ok {
			return err
		}
		without := hop.Spare(se.Doubt.Now, false) &^ hop.Without
		if without == 0 || session.Distrusted(err) {
			return err
		}
		hop.Without |= without
	}
}

// explain fills in what a router has answered, and the policies of the hosts.
func (e *Explanation) explain(ctx context.Context, s *Sender, route mx.Route, err error) {
	e.Route = route
	if err != nil {
		e.Err = newError(attempt.RoutingFailure(err))
		e.Route.LeftOut = attempt.LeftOutOf(err)
		e.Route.Via = cmp.Or(e.Route.Via, attempt.ViaOf(err))
		return
	}
	e.Policies = make([]PolicyAnswer, len(route.Hosts))
	for i := range route.Hosts {
		p := &e.Policies[i]
		policy, err := s.sessions.PolicyFor(ctx, &route, &route.Hosts[i])
		p.Policy, p.Err = policyOf(&policy), err
		if refused, ok := errors.AsType[*PolicyError](err); ok {
			p.Decision = refused.Decision
		} else if policy.Judge != nil {
			p.Decision = decisionOf(policy.Judge(nil).Decision)
		}
	}
}

// Explain explains like the agent's Sender, and adds the limits in force.
func (a *Agent) Explain(ctx context.Context, from, domain string) (*Explanation, error) {
	e, err := a.sender().Explain(ctx, from, domain)
	settings := a.current()
	for at := e; at != nil; at = at.Fallback {
		if at.Err == nil {
			at.limited(settings)
		}
	}
	return e, err
}

// limited fills in the limits.
func (e *Explanation) limited(s *Settings) {
	e.Site = s.siteOf(new(siteKeys), &e.Route)
	e.Limits = make([]HostLimits, len(e.Route.Hosts))
	for i := range e.Route.Hosts {
		e.Limits[i] = s.hostLimits(e.Site, e.Route.Hosts[i].Name)
	}
}

// String describes the explanation for people, one line per host. It contains no
// secrets.
func (e *Explanation) String() string {
	var b strings.Builder
	e.describe(&b, false)
	return b.String()
}

// describe writes the explanation of a route, or of the fallback of one.
func (e *Explanation) describe(b *strings.Builder, fallback bool) {
	switch {
	case e.Err == nil:
		e.heading(b, fallback)
	case fallback:
		fmt.Fprintf(b, "%s: no fallback: %s [%s]\n", e.Domain, e.Err.Reason(), e.Err.Enhanced)
	default:
		fmt.Fprintf(b, "%s: no route: %s [%s]\n", e.Domain, e.Err.Reason(), e.Err.Enhanced)
	}
	for i := range e.Route.Hosts {
		e.host(b, i)
	}
	if e.Site != "" {
		e.limits(b)
	}
	for i := range e.Route.LeftOut {
		l := &e.Route.LeftOut[i]
		fmt.Fprintf(b, "  --  %-5d %s: %s", l.Host.Preference, l.Host.Name, l.Reason)
		if l.Err != nil {
			fmt.Fprintf(b, ": %v", l.Err)
		}
		b.WriteByte('\n')
	}
	if e.Fallback != nil {
		e.Fallback.describe(b, true)
	}
}

func (e *Explanation) heading(b *strings.Builder, fallback bool) {
	kind := e.Route.Via
	if fallback {
		kind = mx.ViaFallback
	}
	fmt.Fprintf(b, "%s: %s", e.Domain, kindInWords(kind))
	for _, a := range e.Route.Aliases {
		fmt.Fprintf(b, ", alias of %s", a.To)
	}
	if e.Route.Secure {
		b.WriteString(", secured by DNSSEC")
	}
	b.WriteByte('\n')
}

func kindInWords(k mx.Via) string {
	switch k {
	case mx.ViaImplicit:
		return "no MX records, mail goes to the domain's own address"
	case mx.ViaLiteral:
		return "an address literal, DNS is not asked"
	case mx.ViaSmartHost:
		return "mail goes to a smart host"
	case mx.ViaFallback:
		return "once all of these have failed for now, mail goes to the fallback host"
	default:
		return "mail goes by MX records"
	}
}

func (e *Explanation) host(b *strings.Builder, i int) {
	h, p := &e.Route.Hosts[i], &e.Policies[i]
	fmt.Fprintf(b, "  %2d. %-5d %s", i+1, h.Preference, h.Name)
	if h.Port != 0 {
		fmt.Fprintf(b, ":%d", h.Port)
	}
	if h.Target != "" && h.Target != h.Name {
		fmt.Fprintf(b, " (alias of %s)", h.Target)
	}
	for _, a := range h.Addrs {
		fmt.Fprintf(b, " %s", a)
	}
	if p.Err != nil && p.Decision == nil {
		fmt.Fprintf(b, "; no TLS policy for now: %v\n", p.Err)
		return
	} else if p.Err != nil {
		fmt.Fprintf(b, "; no mail for now: %v\n", p.Err)
		evidence(b, p.Decision)
		return
	}
	b.WriteString("; TLS ")
	if h.ImplicitTLS {
		b.WriteString("from the start, ")
	}
	b.WriteString(policyInWords(&p.Policy, h))
	if h.Login != nil {
		fmt.Fprintf(b, "; login %q", h.Login.LoginName())
	}
	b.WriteByte('\n')
	if p.Probe != nil {
		p.Probe.describe(b)
	} else if p.Policy.Source != "" {
		evidence(b, p.Decision)
	}
}

// describe says what a probe has seen, and whether mail would go there.
func (p *Probe) describe(b *strings.Builder) {
	fmt.Fprintf(b, "      %s: ", p.Addr)
	switch {
	case p.Err != nil:
		fmt.Fprintf(b, "no mail for now: %s: %s [%s]\n", p.Err.Stage, p.Err.Reason(), p.Err.Enhanced)
	default:
		fmt.Fprintf(b, "mail would go there, TLS %s\n", p.TLS)
	}
	if p.Decision != nil {
		fmt.Fprintf(b, "      %s\n", p.Decision.Text)
		evidence(b, p.Decision)
		return
	}
	if p.State == nil {
		return
	}
	for i, c := range p.State.PeerCertificates {
		fmt.Fprintf(b, "        certificate %d: %q, issued by %q, until %s\n", i, strings.Join(c.DNSNames, " "), c.Issuer.String(), c.NotAfter.UTC().Format(time.DateOnly))
	}
}

// evidence writes what a decision goes by.
func evidence(b *strings.Builder, d *Decision) {
	if d == nil || d.Evidence == nil {
		return
	}
	for line := range strings.Lines(d.Evidence.String()) {
		b.WriteString("      " + line)
	}
}

func policyInWords(p *TLSPolicy, h *mx.Host) string {
	source := p.Source
	if source == "" {
		source = "configuration"
	}
	switch p.Level {
	case mx.TLSNone:
		return "never (" + source + ")"
	case mx.TLSEncrypt:
		return "required, any certificate (" + source + ")"
	case mx.TLSVerify:
		names := p.ServerName
		if p.Source == "" && len(h.Identities) > 0 {
			names = strings.Join(h.Identities, " or ")
		}
		return "required, certificate for " + names + " (" + source + ")"
	default:
		return "if offered, any certificate (" + source + ")"
	}
}

// limits writes a line for the site, and one for each host if they differ.
func (e *Explanation) limits(b *strings.Builder) {
	fmt.Fprintf(b, "  site %s\n", e.Site)
	for i := range e.Limits {
		text := e.Limits[i].String()
		if i == 0 || text != e.Limits[i-1].String() {
			fmt.Fprintf(b, "  limits at %s: %s\n", e.Route.Hosts[i].Name, text)
		}
	}
}

// Routable checks, without connecting to any host, that there is a route for mail from
// a reverse-path to an address. A server that calls it at RCPT can refuse mail that
// would bounce: the domain does not exist, or accepts no mail (556 and 5.1.10, RFC 7505
// section 4.1).
//
// The error is nil if there is a route, and otherwise an *Error. If it is temporary, it
// is not known whether there is a route, and the server should accept the address.
func (s *Sender) Routable(ctx context.Context, from, to string) error {
	mailbox, err := address.Parse(to)
	if err != nil {
		return newError(attempt.BadRecipient(to, err))
	}
	if _, err := s.route(ctx, from, mailbox.Domain().String()); err != nil {
		e := newError(attempt.RoutingFailure(err))
		e.Recipient = mailbox.String()
		return e
	}
	return nil
}
