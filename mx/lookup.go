package mx

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// Route finds the route for mail to domain, in the steps that the package comment lists.
// The error is always an *Error.
//
// domain is a domain name in any spelling (U-labels, capitals, trailing dot) or an address
// literal in brackets. A partial name is never completed. When Route returns, all its
// questions have ended.
func (r *Router) Route(ctx context.Context, domain string) (Route, error) {
	id := r.identity()
	if id.err != nil {
		return Route{}, fail(Misconfigured, domain, "", id.err)
	}
	own, err := r.ownAddrs(id)
	if err != nil {
		return Route{}, fail(DNSTrouble, domain, "", err)
	}
	destination, err := address.ParseDomain(domain)
	if err != nil {
		return Route{}, failSyntax(domain, err)
	}
	if addr, ok := destination.Literal(); ok {
		return r.literal(id, own, destination.String(), addr)
	}
	name := destination.String()
	answer, err := Follow(ctx, r.Resolver, name, TypeMX)
	if err != nil {
		return Route{}, failLookup(name, err)
	}
	s := search{
		router: r, id: id, own: own,
		route: Route{Domain: name, Via: ViaMX, Aliases: slices.Clone(answer.Aliases), TTL: answer.TTL, Secure: answer.Secure},
	}
	switch answer.Status {
	case Success:
		err = s.viaMX(ctx, &answer)
	case NXDomain:
		err = fail(r.noSuchDomain(), name, answer.Name, nil)
	default: // NoData, NotFound
		err = s.viaImplicit(ctx, &answer)
	}
	if err != nil {
		return Route{}, err
	}
	return s.route, nil
}

// failLookup is the Error for a question that got no answer.
func failLookup(domain string, err error) *Error {
	kind, name := DNSTrouble, domain
	if re, ok := errors.AsType[*ResolveError](err); ok {
		name = re.Name
		if re.Kind == Bogus {
			kind = BogusAnswer
		}
	}
	return fail(kind, domain, name, err)
}

// failSyntax returns the Error for text that is not a domain. If it looks like an
// address literal, the code is that of a bad mailbox.
func failSyntax(domain string, err error) *Error {
	e := fail(BadDomain, domain, "", err)
	if ae, ok := errors.AsType[*address.Error](err); ok {
		e.Enhanced = ae.Enhanced
	}
	return e
}

// literal is the route to an address literal: no DNS at all (RFC 5321
// section 4.1.3).
func (r *Router) literal(id *identity, own []netip.Addr, name string, addr netip.Addr) (Route, error) {
	h := lookup{name: name}
	h.add(addr)
	s := search{router: r, id: id, own: own, route: Route{Domain: name, Via: ViaLiteral}}
	if !r.uses(addr) {
		return Route{}, s.none(NoUsableHost, name, errFamily)
	}
	if err := s.only(&h); err != nil {
		return Route{}, err
	}
	return s.route, nil
}

var errFamily = errors.New("its address family is not in use")

// search is one Route call on its way.
type search struct {
	router *Router
	id     *identity
	own    []netip.Addr // plain addresses of this host
	route  Route

	unreadable *ResolveError // some MX records cannot be read
}

// viaImplicit makes the domain its own and only mail exchanger, preference 0
// (RFC 5321 section 5.1).
func (s *search) viaImplicit(ctx context.Context, noMX *Answer) error {
	s.route.Via = ViaImplicit
	hosts := []lookup{{name: noMX.Name}}
	h := &hosts[0]
	s.router.lookUp(ctx, hosts)
	if !h.hasAddress() && h.failure() == nil {
		if h.noSuchName() {
			return fail(s.router.noSuchDomain(), s.route.Domain, h.name, nil)
		}
		return fail(NoMailHost, s.route.Domain, h.name, nil)
	}
	first := securityOf(noMX.Secure)
	if len(noMX.Aliases) > 0 && h.hasAddress() {
		if first = firstStep(noMX); first == SecurityUnknown {
			first, h.firstErr = s.router.stepFrom(ctx, s.route.Domain)
		}
	}
	if err := s.only(h); err != nil {
		return err
	}
	// The aliases of the domain lead to this host too: its name is the domain,
	// its target what all of them end in.
	host := &s.route.Hosts[0]
	if len(noMX.Aliases) > 0 {
		host.Name, host.NameSecure = s.route.Domain, first
		host.Secure = host.Secure.both(securityOf(noMX.Secure))
	}
	return nil
}

// only makes h the one host of the route, if it is of use.
func (s *search) only(h *lookup) error {
	r, name := s.router, h.name
	standing := r.standingOf(s.id, s.own, h)
	if r.isSelfName(s.id, s.route.Domain) {
		standing = self
	}
	if standing == usable && h.firstErr != nil {
		standing = noStanding
	}
	switch standing {
	case usable:
		s.route.Hosts = []Host{h.host(r.choose(nil, h, r.maxAddrsPerHost()))}
		s.route.TTL = min(s.route.TTL, h.ttl())
		return nil
	case self:
		s.leaveOut(LeftOut{Host: h.host(nil), Reason: IsSelf})
		if r.isSelfName(s.id, s.route.Domain) {
			return s.none(MailLoop, name, nil)
		}
		return s.none(MailLoop, name, r.whySelf(s.id, s.own, h))
	case refusedAddrs:
		s.leaveOut(LeftOut{Host: h.host(nil), Reason: AddressRefused})
		return s.none(NoUsableHost, name, nil)
	default:
		s.leaveOut(LeftOut{Host: h.host(nil), Reason: LookupFailed, Err: h.failure()})
		e := failLookup(s.route.Domain, h.failure())
		e.LeftOut = s.route.LeftOut
		return e
	}
}

// none returns the Error of a search that ends without a host.
func (s *search) none(k ErrorKind, name string, cause error) *Error {
	e := fail(k, s.route.Domain, name, cause)
	e.LeftOut = s.route.LeftOut
	return e
}

// leaveOut notes a host that the route does not use.
func (s *search) leaveOut(l LeftOut) {
	if len(s.route.LeftOut) == listedLeftOut {
		s.route.Unlisted++
		return
	}
	s.route.LeftOut = append(s.route.LeftOut, l)
}
