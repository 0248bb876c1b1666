package smarthost

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/nexthop-mail/nexthop/mx"
)

// The services of submission, the preferred one first (RFC 8314 section 5.1).
const (
	serviceSubmissions = "_submissions"
	serviceSubmission  = "_submission"
)

// maxTargets bounds the SRV targets that one attempt asks about.
const maxTargets = 8

var (
	errNotOffered = errors.New("the domain has no SRV records for message submission")
	errForeign    = errors.New("the SRV records name a host outside the domain, DNSSEC does not authenticate them, and no target= allows the host")
	errNoPermit   = errors.New("its addresses may not be dialled")
)

// bySRV is a mail domain by the SRV records of message submission.
func (t *Table) bySRV(ctx context.Context, router *mx.Router, h *Host) hops {
	c, err := t.choice(ctx, router, h.Name)
	if err != nil {
		return missing(h, err)
	}
	var found hops
	for _, target := range c.targets {
		host := mx.Host{
			Name: target.Target, Target: target.Target, Preference: target.Priority, Port: target.Port,
			ImplicitTLS: c.service == serviceSubmissions,
		}
		pinned := slices.Contains(h.Targets, target.Target)
		if !pinned && !c.secure && !within(target.Target, h.Name) {
			found.leave(host, mx.LookupFailed, errForeign)
			continue
		}
		identities := []string{h.Name, c.service + "." + h.Name}
		if pinned || c.secure {
			identities = append([]string{target.Target}, identities...)
		}
		found.target(ctx, router, host, identities)
	}
	return found
}

// target asks for the addresses of a target. Unlike an address that the operator
// wrote, one that DNS led to must be one that may be dialled.
func (f *hops) target(ctx context.Context, router *mx.Router, host mx.Host, identities []string) {
	known, err := router.DNSAddresses(ctx, host.Name)
	if err != nil {
		f.leave(host, mx.LookupFailed, err)
		return
	}
	known.Preference, known.Port, known.ImplicitTLS = host.Preference, host.Port, host.ImplicitTLS
	known.Identities = identities
	for _, addr := range known.Addrs {
		if router.Permits(addr) {
			host.Addrs = append(host.Addrs, addr)
		}
	}
	if len(host.Addrs) == 0 {
		f.leave(known, mx.LookupFailed, errNoPermit)
		return
	}
	known.Addrs = host.Addrs
	f.hosts = append(f.hosts, known)
}

// within is whether a name is the domain or below it.
func within(name, domain string) bool {
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// discover asks for the SRV records of a domain: the service that is preferred, and
// the other only if DNS firmly says that the first is not offered.
func discover(ctx context.Context, router *mx.Router, domain string) (*choice, error) {
	for _, service := range []string{serviceSubmissions, serviceSubmission} {
		answer, err := mx.Follow(ctx, router.Resolver, service+"._tcp."+domain, mx.TypeSRV)
		if err != nil {
			outcome := mx.DNSTrouble
			if e, ok := errors.AsType[*mx.ResolveError](err); ok && e.Kind == mx.Bogus {
				outcome = mx.BogusAnswer
			}
			return nil, failure(outcome, domain, service+"._tcp."+domain, err)
		}
		if targets := offered(answer.SRV); len(targets) > 0 {
			targets = weigh(targets, router.Rand)
			targets = targets[:min(len(targets), maxTargets)]
			return &choice{service: service, targets: targets, secure: answer.Secure, ttl: answer.TTL}, nil
		}
	}
	return nil, failure(mx.Misconfigured, domain, "", errNotOffered)
}
