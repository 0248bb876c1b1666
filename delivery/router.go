package delivery

import (
	"context"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// Router says where mail for a destination goes. It is asked once per attempt
// and may be called concurrently. An error that is not an *mx.Error, or does not
// wrap one, is temporary. A Router that is a HostObserver, too, learns of hosts that
// could not be reached.
//
// To an Agent hosts with the same name, port, TLS and login are one, whatever their
// addresses, which may change: they share limits, pauses and back-off. A Router that
// knows several hosts by one name gives each a Name of its own and says in Identities
// whom its certificate is for. Mail goes to the addresses of its own route in any case.
type Router interface {
	Route(ctx context.Context, from, domain string) (mx.Route, error)
}

// HostObserver is a Router that wants to know when one of its hosts gives no
// session, since the records that led to the host may have changed. It is told once per failure
// and may be called concurrently; a failure that is remembered from before is not
// told again.
type HostObserver interface {
	Unreachable(host *mx.Host)
}

// ByMX is the Router that goes by MX records alone.
func ByMX(r *mx.Router) Router { return byMX{r} }

type byMX struct{ router *mx.Router }

func (r byMX) Route(ctx context.Context, _, domain string) (mx.Route, error) {
	return r.router.Route(ctx, domain)
}

// selfOf is the names of this host that a Router goes by, if it can be told.
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

// Probe makes it a DNSProber.
func (r byMX) Probe(ctx context.Context) error {
	if r.router.Resolver == nil {
		return nil
	}
	return mx.Probe(ctx, r.router.Resolver)
}
