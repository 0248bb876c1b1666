package smarthost

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/mx"
)

// Table routes mail by rules that override MX records, and what they do not
// override by MX records. It is a Router for delivery.Sender. The zero value has no
// rules. Set the fields before the first use; then it is safe for concurrent use.
// It must not be copied after its first use.
type Table struct {
	// Router finds routes by MX records, and addresses. Default: one on the system's
	// resolvers behind a cache, with nothing else set. Its Self, SelfAddrs and
	// Relay say which hosts are this one.
	Router *mx.Router

	// Discovered, if not nil, is called when the SRV records of a domain lead
	// elsewhere than the last time, and the first time, when before is empty. The
	// entries are "host:port", in no order. It holds up the message that asked.
	Discovered func(domain string, before, now []string)

	rules atomic.Pointer[compiled]
	found discovery

	once   sync.Once
	router *mx.Router
	broken error // why there is no router
}

// compiled is a rule set in force, with what it was made of.
type compiled struct {
	rules    Rules
	set      *ruleSet
	bySender bool // some rule looks at who sends
}

// Via is a Table that sends everything through the smart hosts given in a notation
// of Parse, in that order unless they have preferences. Its Router is the system's.
// The error is an *Error and contains no secret.
func Via(notation string, more ...string) (*Table, error) {
	var hosts []Host
	for _, n := range append([]string{notation}, more...) {
		list, err := ParseList(n)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, list...)
	}
	t := &Table{}
	return t, t.Set(Rules{Default: hosts})
}

// Set puts rules in force in place of those before, all at once: a message is
// routed by the ones or the others. Rules that make no sense are returned as the
// error of Validate, and change nothing. The slices in them must not be changed
// afterwards.
func (t *Table) Set(r Rules) error {
	set, err := compile(r)
	if err != nil {
		return err
	}
	bySender := slices.ContainsFunc(r.Special, func(rule Rule) bool { return rule.From != "" })
	t.rules.Store(&compiled{r, set, bySender})
	return nil
}

// Rules are the rules in force.
func (t *Table) Rules() Rules {
	if c := t.rules.Load(); c != nil {
		return c.rules
	}
	return Rules{}
}

// Validate reports what is wrong with the Router. The rules
// were checked by Set.
func (t *Table) Validate() error {
	_, err := t.prepared()
	return err
}

// Route says where mail from a reverse-path to a domain goes, in the steps the
// package comment lists. The error is always an *mx.Error. If MX hosts could not
// be looked up for now and there is a Fallback, the route has no hosts.
func (t *Table) Route(ctx context.Context, from, domain string) (mx.Route, error) {
	router, err := t.prepared()
	if err != nil {
		return mx.Route{}, failure(mx.Misconfigured, domain, "", err)
	}
	destination, err := address.ParseDomain(domain)
	c := t.rules.Load()
	if err != nil || c == nil {
		return router.Route(ctx, domain) // which says what is wrong with a domain
	}
	name := destination.String()
	if rule := c.set.match(from, name); rule != nil && !rule.byMX {
		route, err := t.via(ctx, router, mx.ViaSmartHost, name, rule.hosts)
		route.BySender = c.bySender
		return route, err
	}
	route, err := router.Route(ctx, domain)
	route.BySender = c.bySender
	if len(c.set.fallback) == 0 || ctx.Err() != nil {
		return route, err
	}
	if err != nil {
		e, ok := errors.AsType[*mx.Error](err)
		if !ok || !e.Temporary() || e.Outcome == mx.MaybeNoSuchDomain || isOneOf(e.LeftOut) {
			return route, err
		}
		route = hostless(name, e)
	}
	if !isOneOf(route.LeftOut) && route.Unlisted == 0 {
		route.Fallback = func(ctx context.Context) (mx.Route, error) {
			return t.via(ctx, router, mx.ViaFallback, name, c.set.fallback)
		}
		route.FallbackID = c.set.fallbackID
	}
	return route, nil
}

// isOneOf is whether this host is one of the domain's own, by what was left out.
func isOneOf(leftOut []mx.LeftOut) bool {
	return slices.ContainsFunc(leftOut, func(l mx.LeftOut) bool { return l.Reason == mx.IsSelf || l.Reason == mx.NotBetter })
}

// hostless is a route without hosts for want of answers from DNS.
func hostless(domain string, e *mx.Error) mx.Route {
	route := mx.Route{Domain: domain, LeftOut: e.LeftOut}
	if !slices.ContainsFunc(e.LeftOut, func(l mx.LeftOut) bool { return l.Reason == mx.LookupFailed }) {
		route.LeftOut = append(slices.Clip(e.LeftOut), mx.LeftOut{
			Host: mx.Host{Name: domain, Target: domain}, Reason: mx.LookupFailed, Err: e,
		})
	}
	return route
}

// prepared is the Router, one on the system's resolvers if none was given.
func (t *Table) prepared() (*mx.Router, error) {
	t.once.Do(func() {
		if t.router = t.Router; t.router != nil {
			t.broken = t.router.Validate()
			return
		}
		client, err := mx.System()
		if err != nil {
			t.broken = err
			return
		}
		t.router = &mx.Router{Resolver: &mx.Cache{Resolver: client}}
	})
	return t.router, t.broken
}

// failure is an error about a smart host.
func failure(o mx.Outcome, domain, name string, cause error) *mx.Error {
	code, enhanced := o.Status()
	return &mx.Error{Domain: domain, Name: name, Outcome: o, Code: code, Enhanced: enhanced, Err: cause}
}

// Probe says whether DNS works at all, through the resolver of the Table's Router, as
// mx.Probe does.
func (t *Table) Probe(ctx context.Context) error {
	router, err := t.prepared()
	if err != nil || router.Resolver == nil {
		return nil //nolint:nilerr // it is not DNS that does not work
	}
	return mx.Probe(ctx, router.Resolver)
}
