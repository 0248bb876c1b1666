package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/mx"
)

// explainAll prints the route of every recipient's domain, each once.
func (o *options) explainAll(ctx context.Context, s *delivery.Sender, stdout io.Writer) int {
	code, seen := cli.ExitOK, map[string]bool{}
	explain := s.Explain
	if o.connect {
		explain = s.ExplainConnect
	}
	for _, r := range o.recipients {
		domain := r
		if at := strings.LastIndexByte(r, '@'); at >= 0 {
			domain = r[at+1:]
		}
		if seen[strings.ToLower(domain)] {
			continue
		}
		seen[strings.ToLower(domain)] = true
		e, err := explain(ctx, o.from, domain)
		if o.json {
			enc := json.NewEncoder(stdout)
			enc.SetEscapeHTML(false)
			_ = enc.Encode(routeOf(e)) // if standard output is closed, nobody can be told
		} else {
			fmt.Fprint(stdout, e)
		}
		if err != nil {
			code = worse(code, e.Err)
		}
	}
	return code
}

// worse is the exit code of an explanation: 68 if no domain takes mail for
// good, 75 as soon as one could not be found out.
func worse(code int, e *delivery.Error) int {
	if e.Temporary() || code == cli.ExitTempFail {
		return cli.ExitTempFail
	}
	return cli.ExitNoHost
}

// route is an explanation in JSON.
type route struct {
	Domain   string    `json:"domain"`
	Route    string    `json:"route"`
	Secure   bool      `json:"secure"`
	Hosts    []hop     `json:"hosts"`
	LeftOut  []leftOut `json:"left_out,omitempty"`
	Fallback *route    `json:"fallback,omitempty"`
	Error    string    `json:"error,omitempty"`
	Enhanced string    `json:"enhanced,omitempty"`
}

// hop is a host of it.
type hop struct {
	Host       string       `json:"host"`
	Preference uint16       `json:"preference"`
	Addrs      []netip.Addr `json:"addrs"`
	Level      mx.TLSLevel  `json:"level"`  // that the host must give
	Source     string       `json:"source"` // who asks for it; empty is the configuration
	Error      string       `json:"error,omitempty"`

	// Decision is the decision about TLS, if -explain-connect made a connection. Addr
	// is the address connected to, TLS the protection reached, and Accepted is true if
	// mail would be sent there.
	Decision *delivery.Decision `json:"decision,omitempty"`
	Accepted *bool              `json:"accepted,omitempty"`
	Addr     string             `json:"addr,omitempty"`
	TLS      string             `json:"tls,omitempty"`
}

type leftOut struct {
	Host   string `json:"host"`
	Reason string `json:"reason"`
	Error  string `json:"error,omitempty"`
}

func routeOf(e *delivery.Explanation) *route {
	r := &route{Domain: e.Domain, Route: e.Route.Via.String(), Secure: e.Route.Secure, Hosts: []hop{}}
	if e.Err != nil {
		r.Error, r.Enhanced = e.Err.Reason(), e.Err.Enhanced
	}
	for i := range e.Policies {
		r.Hosts = append(r.Hosts, hopOf(&e.Route.Hosts[i], &e.Policies[i]))
	}
	for i := range e.Route.LeftOut {
		l := &e.Route.LeftOut[i]
		out := leftOut{Host: l.Host.Name, Reason: l.Reason.String()}
		if l.Err != nil {
			out.Error = l.Err.Error()
		}
		r.LeftOut = append(r.LeftOut, out)
	}
	if e.Fallback != nil {
		r.Fallback = routeOf(e.Fallback)
	}
	return r
}

func hopOf(host *mx.Host, p *delivery.PolicyAnswer) hop {
	h := hop{
		Host: host.Name, Preference: host.Preference, Addrs: host.Addrs, Level: p.Policy.Level, Source: p.Policy.Source, Decision: p.Decision,
	}
	if p.Err != nil {
		h.Error = p.Err.Error()
	}
	if probe := p.Probe; probe != nil {
		accepted := probe.Err == nil
		h.Accepted, h.Addr, h.TLS, h.Decision = &accepted, addrString(probe.Addr), probe.TLS.String(), probe.Decision
		if !accepted {
			h.Error = probe.Err.Error()
		}
	}
	return h
}
