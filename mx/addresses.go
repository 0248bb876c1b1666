package mx

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
)

// lookupsAtOnce bounds the address questions of one route that are open at the
// same time. The default limits never reach it.
const lookupsAtOnce = 64

// peeker is a Resolver that can return known answers without asking, so that no
// goroutine is started for them.
type peeker interface {
	peek(name string, t Type, now time.Time) (a *Answer, left time.Duration, err error)
}

// The two questions about a host, in the order their answers are used.
const (
	six = iota
	four
	families
)

// lookup is one host and what DNS says about its addresses.
type lookup struct {
	name       string
	preference uint16
	firstStep  Security // of the first alias, where its name was asked about
	firstErr   error    // why it could not be asked about
	standing   standing
	found      [families]finding
}

// finding is the answer to one of the two questions, as far as it matters here.
type finding struct {
	open          bool // still to be asked
	status        Status
	secure, first Security // all of it, and its first step
	name          string
	addrs         []netip.Addr
	ttl           time.Duration
	err           error
}

// set makes a finding of an answer.
func (f *finding) set(a *Answer, ttl time.Duration) {
	f.open, f.status, f.ttl = false, a.Status, ttl
	if a.Status != Success {
		return
	}
	f.name, f.addrs = a.Name, a.Addrs
	f.secure, f.first = securityOf(a.Secure), firstStep(a)
}

// firstStep is what an answer says about the first step from its name.
func firstStep(a *Answer) Security {
	if len(a.Aliases) > 0 && !a.Secure {
		return a.Aliases[0].Secure
	}
	return securityOf(a.Secure)
}

// lookUp asks for the addresses of all hosts, both families and all hosts in parallel.
// Answers that the resolver already knows are taken first.
func (r *Router) lookUp(ctx context.Context, hosts []lookup) {
	cache, _ := r.Resolver.(peeker)
	var now time.Time
	if cache != nil {
		now = time.Now()
	}
	open := false
	for i := range hosts {
		h := &hosts[i]
		for f := range families {
			if r.Family == IPv4Only && f == six || r.Family == IPv6Only && f == four {
				continue
			}
			if cache == nil || !h.take(cache, f, now) {
				h.found[f].open = true
				open = true
			}
		}
	}
	if open {
		r.lookUpOpen(ctx, hosts)
	}
}

// question is the record type of a family.
func question(f int) Type {
	if f == six {
		return TypeAAAA
	}
	return TypeA
}

// take is whether the cache had the whole answer.
func (h *lookup) take(cache peeker, f int, now time.Time) bool {
	a, left, err := cache.peek(h.name, question(f), now)
	if err != nil {
		h.found[f].err = err
		return true
	}
	if a == nil || a.Status == Aliased {
		return false
	}
	h.found[f].set(a, left)
	return true
}

// lookUpOpen asks the open questions, and returns when all of them have ended.
func (r *Router) lookUpOpen(ctx context.Context, hosts []lookup) {
	var group errgroup.Group
	group.SetLimit(lookupsAtOnce)
	for i := range hosts {
		for f := range families {
			found := &hosts[i].found[f]
			if !found.open {
				continue
			}
			name, t := hosts[i].name, question(f)
			group.Go(func() error {
				a, err := Follow(ctx, r.Resolver, name, t)
				found.set(&a, a.TTL)
				found.err = err
				return nil
			})
		}
	}
	_ = group.Wait() // the errors are in the findings
}

// askFirstSteps finds out whether the first alias of a host is secure if the
// chain as a whole is not, and no answer has told: DANE then goes by the name before
// it (RFC 7672 section 2.2.2). Such hosts are rare, so are the questions. A host about
// which such a question fails is of no use for now: if it counted as not signed, who
// can have one question fail could have its certificate go unchecked (section 2.1.2).
func (r *Router) askFirstSteps(ctx context.Context, hosts []lookup) {
	var group errgroup.Group
	group.SetLimit(lookupsAtOnce)
	for i := range hosts {
		h := &hosts[i]
		if !h.hasAddress() || h.nameSecure() != SecurityUnknown {
			continue
		}
		group.Go(func() error {
			h.firstStep, h.firstErr = r.stepFrom(ctx, h.name)
			return nil
		})
	}
	_ = group.Wait() // the errors are in the lookups
}

// stepFrom asks whether the alias at a name is secure.
func (r *Router) stepFrom(ctx context.Context, name string) (Security, error) {
	a, err := ask(ctx, r.Resolver, name, TypeCNAME)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		// This Resolver cannot ask, so it never authenticates anything.
		return Insecure, nil
	case err != nil:
		return SecurityUnknown, err
	}
	return firstStep(&a), nil
}

// add makes addr one of the answers about h, without DNS.
func (h *lookup) add(addr netip.Addr) {
	f := six
	if addr.Is4() {
		f = four
	}
	found := &h.found[f]
	found.status, found.name, found.addrs = Success, h.name, append(found.addrs, addr)
	found.secure, found.first = Insecure, Insecure
}

// uses is whether the Router uses addresses of addr's family.
func (r *Router) uses(addr netip.Addr) bool {
	return r.Family == BothFamilies || addr.Is4() == (r.Family == IPv4Only)
}

// hasAddress is whether there is any.
func (h *lookup) hasAddress() bool { return len(h.found[six].addrs)+len(h.found[four].addrs) > 0 }

// failure returns why a question has no answer, or nil if all have one.
func (h *lookup) failure() error {
	if err := h.found[six].err; err != nil {
		return err
	}
	if err := h.found[four].err; err != nil {
		return err
	}
	return h.firstErr
}

// noSuchName is whether DNS says that the name does not exist.
func (h *lookup) noSuchName() bool {
	return h.found[six].status == NXDomain || h.found[four].status == NXDomain
}

// target is the name after the aliases.
func (h *lookup) target() string {
	for i := range h.found {
		if len(h.found[i].addrs) > 0 {
			return h.found[i].name
		}
	}
	return h.name
}

// secure returns whether every answer that gave an address is secure in all parts. A
// family without an answer gave no address to connect to, and does not count.
func (h *lookup) secure() Security {
	return h.together(func(f *finding) Security { return f.secure })
}

// nameSecure is whether the first step of every such answer is.
func (h *lookup) nameSecure() Security {
	if h.firstStep != SecurityUnknown {
		return h.firstStep
	}
	return h.together(func(f *finding) Security { return f.first })
}

// together combines the security of all answers that gave an address.
func (h *lookup) together(of func(*finding) Security) Security {
	if !h.hasAddress() {
		return SecurityUnknown
	}
	all := Secure
	for i := range h.found {
		if f := &h.found[i]; len(f.addrs) > 0 {
			all = all.both(of(f))
		}
	}
	return all
}

// ttl is the least TTL of the answers there are.
func (h *lookup) ttl() time.Duration {
	least := maxTTL
	for i := range h.found {
		if f := &h.found[i]; f.err == nil && f.status != StatusNone {
			least = min(least, f.ttl)
		}
	}
	return least
}

// host is h as a next hop, with the addresses given.
func (h *lookup) host(addrs []netip.Addr) Host {
	return Host{
		Name: h.name, Target: h.target(), Preference: h.preference,
		Addrs: addrs, Secure: h.secure(), NameSecure: h.nameSecure(),
	}
}
