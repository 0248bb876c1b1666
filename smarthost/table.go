package smarthost

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/mx"
)

// Table routes mail by its rules, and other mail by MX records. It is a Router for
// delivery.Sender. The zero value has no rules. Set the fields before the first use; then
// it is safe for concurrent use. It must not be copied after its first use.
type Table struct {
	// Router finds routes by MX records, and the addresses of smart hosts. Default: a
	// Router with a cache and the system's resolvers. On a system without these, a smart
	// host must be an address or be in the hosts file. Its Self, SelfAddrs and
	// Relay say which hosts are this one.
	Router *mx.Router

	// Discovered, if not nil, is called when the SRV records of a domain lead to other
	// hosts than before, and the first time, with before empty. The entries are
	// "host:port", in no particular order. It should return at once, because the message
	// that asked waits for it.
	Discovered func(domain string, before, now []string)

	rules atomic.Pointer[compiled]
	found discovery

	once   sync.Once
	router *mx.Router
	broken error                      // why there is no router
	noDNS  error                      // why there are no resolvers
	system func() (*mx.Client, error) // nil is mx.System
}

// compiled is a rule set in force, with its source.
type compiled struct {
	rules    Rules
	set      *ruleSet
	bySender bool // some rule looks at who sends
}

// Via returns a Table that sends all mail through the given smart hosts, in that order
// unless they have preferences. Each argument is in a notation of Parse. The Table has the
// default Router. The error is an *Error and contains no secret.
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

// Set replaces the rules, all at once: each message is routed either by the old rules or
// by the new ones. If the rules are invalid, Set returns the error of Validate and changes
// nothing. The slices in them must not be changed afterwards.
func (t *Table) Set(r Rules) error {
	set, err := compile(r)
	if err != nil {
		return err
	}
	bySender := slices.ContainsFunc(r.Special, func(rule Rule) bool { return rule.From != "" })
	t.rules.Store(&compiled{r, set, bySender})
	return nil
}

// Rules returns the rules in force.
func (t *Table) Rules() Rules {
	if c := t.rules.Load(); c != nil {
		return c.rules
	}
	return Rules{}
}

// Validate reports everything that is wrong with the Router. It also returns an error if
// this system has no resolvers and no mail could be routed without them. Set has checked
// the rules.
func (t *Table) Validate() error {
	router, err := t.prepared()
	if err != nil || t.noDNS == nil || t.hasAddress(router) {
		return err
	}
	return t.noDNS
}

// hasAddress reports whether the address of a smart host is known without DNS.
func (t *Table) hasAddress(router *mx.Router) bool {
	known := func(h Host) bool {
		return len(byAddress(context.Background(), router, &h).hosts) > 0 && h.Lookup == LookupAddress
	}
	rules := t.Rules()
	return slices.ContainsFunc(rules.Default, known) || slices.ContainsFunc(rules.Fallback, known) ||
		slices.ContainsFunc(rules.Special, func(r Rule) bool { return slices.ContainsFunc(r.Hosts, known) })
}

// Route finds the route for mail from a reverse-path to a domain, in the steps that the
// package comment lists. The error is always an *mx.Error. If the MX hosts cannot be
// looked up for now but there is a Fallback, the route has no Hosts.
func (t *Table) Route(ctx context.Context, from, domain string) (mx.Route, error) {
	router, err := t.prepared()
	if err != nil {
		return mx.Route{}, failure(mx.Misconfigured, domain, "", err)
	}
	destination, err := address.ParseDomain(domain)
	c := t.rules.Load()
	if err == nil && c == nil && t.noDNS != nil {
		return mx.Route{}, failure(mx.Misconfigured, domain, "", t.noDNS)
	}
	if err != nil || c == nil {
		return router.Route(ctx, domain) // it reports what is wrong with a domain
	}
	name := destination.String()
	if rule := c.set.match(from, name); rule != nil && !rule.byMX {
		route, err := t.via(ctx, router, mx.ViaSmartHost, name, rule.hosts)
		route.BySender = c.bySender
		return route, err
	}
	if t.noDNS != nil && len(c.set.fallback) == 0 {
		return mx.Route{BySender: c.bySender}, failure(mx.Misconfigured, domain, "", t.noDNS)
	}
	route, err := router.Route(ctx, domain)
	route.BySender = c.bySender
	if len(c.set.fallback) == 0 || ctx.Err() != nil {
		return route, err
	}
	if err != nil {
		e, ok := errors.AsType[*mx.Error](err)
		if !ok || !e.Temporary() || e.Kind == mx.MaybeNoSuchDomain || isOneOf(e.LeftOut) {
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

// isOneOf reports whether this host is one of the domain's own, according to the hosts
// that were left out.
func isOneOf(leftOut []mx.LeftOut) bool {
	return slices.ContainsFunc(leftOut, func(l mx.LeftOut) bool { return l.Reason == mx.IsSelf || l.Reason == mx.NotBetter })
}

// hostless returns a route without hosts, because DNS gave no answer.
func hostless(domain string, e *mx.Error) mx.Route {
	route := mx.Route{Domain: domain, LeftOut: e.LeftOut}
	if !slices.ContainsFunc(e.LeftOut, func(l mx.LeftOut) bool { return l.Reason == mx.LookupFailed }) {
		route.LeftOut = append(slices.Clip(e.LeftOut), mx.LeftOut{
			Host: mx.Host{Name: domain, Target: domain}, Reason: mx.LookupFailed, Err: e,
		})
	}
	return route
}

// prepared returns the Router, or one with the system's resolvers if none was given.
func (t *Table) prepared() (*mx.Router, error) {
	t.once.Do(func() {
		if t.router = t.Router; t.router != nil {
			t.broken = t.router.Validate()
			return
		}
		if t.system == nil {
			t.system = mx.System
		}
		client, err := t.system()
		if err != nil {
			t.noDNS = fmt.Errorf("%w; set smarthost.Table.Router (mx.FromNet makes a Resolver for it)", err)
			t.router = &mx.Router{Resolver: unresolving{t.noDNS}}
			return
		}
		t.router = &mx.Router{Resolver: &mx.Cache{Resolver: client}}
	})
	return t.router, t.broken
}

// unresolving is a Resolver on a system without one.
type unresolving struct{ err error }

func (u unresolving) Resolve(context.Context, string, mx.Type) (mx.Answer, error) {
	return mx.Answer{}, u.err
}

// failure is an error about a smart host.
func failure(o mx.ErrorKind, domain, name string, cause error) *mx.Error {
	code, enhanced := o.Status()
	return &mx.Error{Domain: domain, Name: name, Kind: o, Code: code, Enhanced: enhanced, Err: cause}
}

// Probe finds out whether DNS works at all, as mx.Probe does, with the resolver of the
// Router.
func (t *Table) Probe(ctx context.Context) error {
	router, err := t.prepared()
	if err != nil || t.noDNS != nil || router.Resolver == nil {
		return nil //nolint:nilerr // it is not DNS that does not work
	}
	return mx.Probe(ctx, router.Resolver)
}
