package delivery

import (
	"context"
	"fmt"
	"strings"

	"github.com/nexthop-mail/nexthop/mx"
)

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

// siteOf names the site of a route: that of its hosts, or of the part of their mail that
// a rule by domain is for.
func (s *Settings) siteOf(keys *siteKeys, route *mx.Route) string {
	site := keys.of(route)
	if domain := s.rules.domain(route.Domain); domain != "" {
		site += domainMark + domain
	}
	return site
}

// hostLimits are what holds for a site's connections to a host.
func (s *Settings) hostLimits(site, host string) HostLimits {
	if s.rules != nil {
		return s.rules.at(site, host)
	}
	l := &s.Limits
	return HostLimits{Connections: l.PerSite, Rate: l.Rate, Messages: l.Messages, Recipients: l.Recipients}
}

// limits writes a line for the site, and one for each host where they differ.
func (e *Explanation) limits(b *strings.Builder) {
	fmt.Fprintf(b, "  site %s\n", e.Site)
	for i := range e.Limits {
		text := e.Limits[i].String()
		if i == 0 || text != e.Limits[i-1].String() {
			fmt.Fprintf(b, "  limits at %s: %s\n", e.Route.Hosts[i].Name, text)
		}
	}
}

// String is the limits for a person.
func (l HostLimits) String() string {
	text := fmt.Sprintf("%d connections", l.Connections)
	if l.Rate > 0 {
		text += fmt.Sprintf(", %v messages a second", l.Rate)
	}
	if l.Messages > 0 {
		text += fmt.Sprintf(", %d messages a connection", l.Messages)
	}
	if l.Recipients > 0 {
		text += fmt.Sprintf(", %d recipients a transaction", l.Recipients)
	}
	for _, name := range l.Groups {
		text += ", group " + name
	}
	return text
}
