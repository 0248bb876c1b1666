package delivery

import (
	"context"
	"errors"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// Router finds the route of a destination. It is called once per attempt, and may be
// called concurrently. An error that is not an *mx.Error, and does not wrap one, is
// temporary. If it is also a HostObserver, it is told about hosts that could not be
// reached.
//
// To an Agent, hosts with the same name, port, TLS and login are the same host, even if
// their addresses differ or change: they share limits, pauses and back-off. If a Router
// knows several hosts by one name, it gives each a Name of its own, and the names for
// its certificate in Identities. Mail is always sent to the addresses of its own route.
type Router interface {
	Route(ctx context.Context, from, domain string) (mx.Route, error)
}

// HostObserver is a Router that is told when no session could be made with one of its
// hosts, because the records that led to the host may have changed. It is called once
// per failure, and may be called concurrently. It is not called for a failure that is
// only remembered.
type HostObserver interface {
	Unreachable(host *mx.Host)
}

// DNSProber is a Router that can tell whether DNS works at all. If an Agent's Router
// implements it and DNS does not work, the Agent treats the failure as its own trouble
// and not the domain's: no attempt is charged.
type DNSProber interface {
	// Probe returns nil if DNS works, as mx.Probe does. It may be called concurrently.
	Probe(ctx context.Context) error
}

// ByMX returns a Router that uses MX records only.
func ByMX(r *mx.Router) Router { return byMX{r} }

type byMX struct{ router *mx.Router }

// Validate reports what is wrong with the mx.Router.
func (r byMX) Validate() error {
	if r.router == nil {
		return errNoMXRouter
	}
	return r.router.Validate()
}

var errNoMXRouter = errors.New("delivery.ByMX: there is no mx.Router, and so no Resolver")

func (r byMX) Route(ctx context.Context, _, domain string) (mx.Route, error) {
	return r.router.Route(ctx, domain)
}

// selfOf returns the names of this host that a Router uses, if they can be determined.
func selfOf(r Router) []string {
	var by *mx.Router
	switch r := r.(type) {
	case byMX:
		by = r.router
	case *smarthost.Table:
		by = r.Router
	}
	if by == nil {
		return nil
	}
	return by.Self
}

// Probe implements DNSProber.
func (r byMX) Probe(ctx context.Context) error {
	if r.router.Resolver == nil {
		return nil
	}
	return mx.Probe(ctx, r.router.Resolver)
}
