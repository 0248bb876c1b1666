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

// Explanation is what a Sender would do for a destination, found without
// connecting to anything.
type Explanation struct {
	// Domain is the destination as asked.
	Domain string
	// Route is the route as it would be walked; equals are shuffled afresh at
	// each attempt.
	Route mx.Route
	// Policies are the TLS policies of Route.Hosts, in the same order.
	Policies []PolicyAnswer
	// Site is the name of the site that the mail counts for, and Limits are those of
	// its connections to Route.Hosts, in the same order. From a Sender, which has no
	// limits, they are empty.
	Site   string
	Limits []HostLimits
	// Fallback is the route that follows once every host of this one has failed for
	// now, or nil.
	Fallback *Explanation
	// Err is why there is no route; nil if there is one.
	Err *Error
}

// PolicyAnswer is what the policy of one host is, or why nobody knows.
type PolicyAnswer struct {
	Policy TLSPolicy
	Err    error

	// Decision is what the PolicySource says of the host before there is any connection;
	// nil if it was not asked.
	Decision *Decision

	// Probe is what a connection came to. It is nil if none was to be made: see
	// Sender.ExplainConnect.
	Probe *Probe
}

// Probe is what a connection to a host came to that was made to look: up to EHLO inside
// TLS. No mail was sent, and nobody logged in.
type Probe struct {
	// Addr is where it led, TLS what it was worth, and State the TLS, nil without.
	Addr  netip.AddrPort
	TLS   Protection
	State *tls.ConnectionState

	// Decision is what the PolicySource says; nil if there is none.
	Decision *Decision

	// Err is why mail would not go there; nil if it would, as far as was seen.
	Err *Error
}

// Explain finds the route for mail from a sender to a recipient domain and the
// TLS policy of every host on it, without connecting. from is the reverse-path,
// by which a Router may decide; "" is the null one. The error is nil if there
// is a route, else the Explanation's Err. The Explanation is never nil.
func (s *Sender) Explain(ctx context.Context, from, domain string) (*Explanation, error) {
	e := &Explanation{Domain: domain}
	route, err := s.route(ctx, from, domain)
	if e.explain(ctx, s, route, err); e.Err != nil {
		return e, e.Err
	}
	if route.Fallback != nil {
		fallback, err := route.Fallback(ctx)
		fallback.Via = mx.ViaFallback
		e.Fallback = &Explanation{Domain: domain}
		e.Fallback.explain(ctx, s, fallback, err)
	}
	return e, nil
}

// ExplainConnect is Explain, and connects to each host of the route to see what it has:
// to its addresses in order, until there is a connection. It sends no mail. A receiver can
// run it to see what senders see.
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
		hop := session.Hop{Host: host, Addr: s.sessions.AddrPort(host, ip), Policy: &policy, Source: s.sessions.SourceFor("", ip)}
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
	told.quiet = true // it is no mail, and reports of TLS do not count it
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

// Explain is what the agent's Sender explains, with the limits in force.
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

// String is the explanation for a person, a line per host. It contains no secret.
func (e *Explanation) String() string {
	var b strings.Builder
	switch {
	case e.Err == nil:
		e.heading(&b)
	case e.Route.Via == mx.ViaFallback:
		fmt.Fprintf(&b, "%s: no fallback: %s [%s]\n", e.Domain, e.Err.Reason(), e.Err.Enhanced)
	default:
		fmt.Fprintf(&b, "%s: no route: %s [%s]\n", e.Domain, e.Err.Reason(), e.Err.Enhanced)
	}
	for i := range e.Route.Hosts {
		e.host(&b, i)
	}
	if e.Site != "" {
		e.limits(&b)
	}
	for i := range e.Route.LeftOut {
		l := &e.Route.LeftOut[i]
		fmt.Fprintf(&b, "  --  %-5d %s: %s", l.Host.Preference, l.Host.Name, l.Reason)
		if l.Err != nil {
			fmt.Fprintf(&b, ": %v", l.Err)
		}
		b.WriteByte('\n')
	}
	if e.Fallback != nil {
		b.WriteString(e.Fallback.String())
	}
	return b.String()
}

func (e *Explanation) heading(b *strings.Builder) {
	fmt.Fprintf(b, "%s: %s", e.Domain, kindInWords(e.Route.Via))
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
		return "where offered, any certificate (" + source + ")"
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

// Routable says whether there is a route for mail from a reverse-path to an
// address, without connecting to anybody. A server that asks at RCPT can refuse
// what would bounce: a domain that does not exist, or takes no mail (556 and
// 5.1.10, RFC 7505 section 4.1).
//
// The error is nil if there is one, else an *Error. If that is temporary, it is not
// known whether there is a route, and the address should be taken.
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
