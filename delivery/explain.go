package delivery

import (
	"context"
	"fmt"
	"strings"

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
	// Err is why there is no route; nil where there is one.
	Err *Error
}

// PolicyAnswer is what the policy of one host is, or why nobody knows.
type PolicyAnswer struct {
	Policy TLSPolicy
	Err    error
}

// Explain finds the route for mail from a sender to a recipient domain and the
// TLS policy of every host on it, without connecting. from is the reverse-path,
// by which a Router may decide; "" is the null one. The error is nil where there
// is a route, else the Explanation's Err. The Explanation is never nil.
func (s *Sender) Explain(ctx context.Context, from, domain string) (*Explanation, error) {
	e := &Explanation{Domain: domain}
	route, err := s.route(ctx, from, domain)
	if err != nil {
		e.Err = routingError(err)
		e.Route.LeftOut = leftOutOf(err)
		return e, e.Err
	}
	e.Route = route
	e.Policies = make([]PolicyAnswer, len(route.Hosts))
	for i := range route.Hosts {
		p := &e.Policies[i]
		p.Policy, p.Err = s.policyFor(ctx, &route, &route.Hosts[i])
	}
	return e, nil
}

// String is the explanation for a person, a line per host.
func (e *Explanation) String() string {
	var b strings.Builder
	if e.Err != nil {
		fmt.Fprintf(&b, "%s: no route: %s [%s]\n", e.Domain, e.Err.Reason(), e.Err.Enhanced)
	} else {
		e.heading(&b)
	}
	for i := range e.Route.Hosts {
		e.host(&b, i)
	}
	for i := range e.Route.LeftOut {
		l := &e.Route.LeftOut[i]
		fmt.Fprintf(&b, "  --  %-5d %s: %s", l.Host.Preference, l.Host.Name, l.Reason)
		if l.Err != nil {
			fmt.Fprintf(&b, ": %v", l.Err)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (e *Explanation) heading(b *strings.Builder) {
	fmt.Fprintf(b, "%s: %s", e.Domain, kindInWords(e.Route.Kind))
	for _, a := range e.Route.Aliases {
		fmt.Fprintf(b, ", alias of %s", a.To)
	}
	if e.Route.Secure {
		b.WriteString(", secured by DNSSEC")
	}
	b.WriteByte('\n')
}

func kindInWords(k mx.Kind) string {
	switch k {
	case mx.ViaImplicit:
		return "no MX records, mail goes to the domain's own address"
	case mx.ViaLiteral:
		return "an address literal, DNS is not asked"
	case mx.ViaSmartHost:
		return "mail goes to a smart host"
	case mx.ViaFallback:
		return "mail goes to the fallback host"
	default:
		return "mail goes by MX records"
	}
}

func (e *Explanation) host(b *strings.Builder, i int) {
	h, p := &e.Route.Hosts[i], &e.Policies[i]
	fmt.Fprintf(b, "  %2d. %-5d %s", i+1, h.Preference, h.Name)
	if h.Target != "" && h.Target != h.Name {
		fmt.Fprintf(b, " (alias of %s)", h.Target)
	}
	for _, a := range h.Addrs {
		fmt.Fprintf(b, " %s", a)
	}
	if p.Err != nil {
		fmt.Fprintf(b, "; no TLS policy for now: %v\n", p.Err)
		return
	}
	fmt.Fprintf(b, "; TLS %s\n", policyInWords(&p.Policy))
}

func policyInWords(p *TLSPolicy) string {
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
		return "required, certificate for " + p.ServerName + " (" + source + ")"
	default:
		return "where offered, any certificate (" + source + ")"
	}
}
