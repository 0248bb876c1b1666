package delivery

import (
	"context"
	"errors"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/mx"
)

// Router says where mail for a destination goes. It is asked once per attempt
// and may be called concurrently. An error that is not an *mx.Error, or does not
// wrap one, is temporary. A Router that is a HostObserver, too, learns of hosts that
// could not be reached.
type Router interface {
	Route(ctx context.Context, from, domain string) (mx.Route, error)
}

// HostObserver is a Router that wants to know when one of its hosts gives no
// session: what it found the host by may have changed. It is told once per failure
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

// route asks the router, the default one where none was given.
func (s *Sender) route(ctx context.Context, from, domain string) (mx.Route, error) {
	s.once.Do(s.prepare)
	if s.broken != nil {
		return mx.Route{}, s.broken
	}
	return s.router.Route(ctx, from, domain)
}

// chooseRouter makes the router of the fields, or says why there is none.
func (s *Sender) chooseRouter() {
	if err := s.Validate(); err != nil {
		s.broken = &session.ConfigError{Err: err}
		return
	}
	if s.Router != nil {
		s.router = s.Router
		return
	}
	resolver := s.Resolver
	if resolver == nil {
		system, err := mx.System()
		if err != nil {
			s.broken = &session.ConfigError{Err: errors.Join(errNoResolver, err)}
			return
		}
		resolver = &mx.Cache{Resolver: system}
	}
	s.router = ByMX(&mx.Router{
		Resolver:      resolver,
		Self:          s.Self,
		AllowLoopback: s.AllowLoopback,
		Family:        s.Family,
	})
}

var errNoResolver = errors.New("no resolver is configured on this system")
