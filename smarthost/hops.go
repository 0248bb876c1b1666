package smarthost

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/nexthop-mail/nexthop/mx"
)

// lookupsAtOnce bounds the hosts of one rule that are looked up at the same time.
const lookupsAtOnce = 8

// hops is the result for one smart host: next hops, and hosts that were left out.
type hops struct {
	hosts   []mx.Host
	leftOut []mx.LeftOut
}

// via is the route to a domain by way of hosts.
func (t *Table) via(ctx context.Context, router *mx.Router, kind mx.Via, domain string, hosts []Host) (mx.Route, error) {
	found := t.lookUp(ctx, router, hosts)
	route := mx.Route{Domain: domain, Via: kind}
	var places ranking
	for _, i := range order(hosts, router.Rand) {
		places.rank(&hosts[i], found[i].hosts)
		route.Hosts = append(route.Hosts, found[i].hosts...)
		route.LeftOut = append(route.LeftOut, found[i].leftOut...)
	}
	if len(route.Hosts) == 0 {
		e := nowhere(domain, route.LeftOut)
		e.Via = kind
		return mx.Route{}, e
	}
	return route, nil
}

// lookUp looks up all hosts, in the order given. One alone needs no goroutine.
func (t *Table) lookUp(ctx context.Context, router *mx.Router, hosts []Host) []hops {
	found := make([]hops, len(hosts))
	if len(hosts) == 1 {
		found[0] = t.hops(ctx, router, &hosts[0])
		return found
	}
	var group errgroup.Group
	group.SetLimit(lookupsAtOnce)
	for i := range hosts {
		group.Go(func() error {
			found[i] = t.hops(ctx, router, &hosts[i])
			return nil
		})
	}
	_ = group.Wait() // what went wrong is in found
	return found
}

// hops looks up one smart host, fills in what the operator says about it, and
// leaves out this host.
func (t *Table) hops(ctx context.Context, router *mx.Router, h *Host) hops {
	var found hops
	switch h.Lookup {
	case LookupMX:
		found = byMX(ctx, router, h)
	case LookupSRV:
		found = t.bySRV(ctx, router, h)
	default:
		found = byAddress(ctx, router, h)
	}
	kept := found.hosts[:0]
	for _, host := range found.hosts {
		host.TLS = h.level()
		if h.Login != nil {
			host.Login = h.Login
		}
		switch self, err := router.IsSelf(&host); {
		case err != nil:
			found.leave(host, mx.LookupFailed, err)
		case self:
			found.leave(host, mx.IsSelf, nil)
		default:
			kept = append(kept, host)
		}
	}
	found.hosts = kept
	return found
}

// leave leaves a host out.
func (f *hops) leave(host mx.Host, reason mx.Reason, err error) {
	host.Addrs = nil
	f.leftOut = append(f.leftOut, mx.LeftOut{Host: host, Reason: reason, Err: err})
}

// byAddress is a host by its addresses.
func byAddress(ctx context.Context, router *mx.Router, h *Host) hops {
	host, err := router.Addresses(ctx, h.Name)
	if err != nil {
		found := missing(h, err)
		found.leftOut[0].Host.Port = h.port()
		if self, _ := router.IsSelf(&found.leftOut[0].Host); self {
			found.leftOut[0].Reason, found.leftOut[0].Err = mx.IsSelf, nil
		}
		return found
	}
	host.Port, host.ImplicitTLS = h.port(), h.ImplicitTLS
	return hops{hosts: []mx.Host{host}}
}

// byMX looks up a mail domain by its MX records. Any error is temporary, because it
// says nothing about the mail.
func byMX(ctx context.Context, router *mx.Router, h *Host) hops {
	route, err := router.Route(ctx, h.Name)
	if err != nil {
		found := missing(h, err)
		if found.leftOut[0].Reason == mx.IsSelf && !router.IsSelfPort(h.port()) {
			// Another server on this machine: it can be named by its address.
			found.leftOut[0].Reason, found.leftOut[0].Err = mx.LookupFailed, err
		}
		return found
	}
	found := hops{hosts: route.Hosts, leftOut: route.LeftOut}
	for i := range found.hosts {
		host := &found.hosts[i]
		host.Port, host.ImplicitTLS = h.port(), h.ImplicitTLS
		host.Identities = []string{h.Name}
		if route.Secure {
			host.Identities = []string{host.Name, h.Name}
		}
	}
	return found
}

// missing is a smart host that cannot be looked up, or that is this host.
func missing(h *Host, err error) hops {
	var found hops
	reason := mx.LookupFailed
	if e, ok := errors.AsType[*mx.Error](err); ok && e.Kind == mx.MailLoop {
		reason, err = mx.IsSelf, nil
	}
	found.leave(mx.Host{Name: h.Name, Target: h.Name}, reason, err)
	return found
}

// nowhere is the error if no smart host remains. It is a mail loop where all of
// them are this host; anything else may be mended.
func nowhere(domain string, leftOut []mx.LeftOut) *mx.Error {
	e := failure(mx.MailLoop, domain, "", nil)
	for i := range leftOut {
		l := &leftOut[i]
		if l.Reason == mx.IsSelf || l.Reason == mx.NotBetter {
			continue
		}
		e = failure(mx.Misconfigured, domain, l.Host.Name, l.Err)
		if cause, ok := errors.AsType[*mx.Error](l.Err); ok && cause.Temporary() {
			e = failure(cause.Kind, domain, l.Host.Name, cause.Err)
		}
		break
	}
	if e.Name == "" && len(leftOut) > 0 {
		e.Name = leftOut[0].Host.Name
	}
	e.LeftOut = leftOut
	return e
}
