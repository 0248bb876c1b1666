package mx

import (
	"context"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
)

// lookupsAtOnce bounds the address questions of one route that are open at the
// same time. The default limits never reach it.
const lookupsAtOnce = 64

// peeker is a Resolver that can say at once what it knows without asking, so
// that no goroutine is started for answers that are there.
type peeker interface {
	peek(name string, t Type) (a Answer, known bool, err error)
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
	open       [families]bool // still to be asked
	answer     [families]Answer
	err        [families]error
	firstStep  bool // the first alias is secure, whatever comes after it
}

// lookUp asks for the addresses of all hosts, both families and all hosts in
// parallel. What the resolver knows already is taken first.
func (r *Router) lookUp(ctx context.Context, hosts []lookup) {
	cache, _ := r.Resolver.(peeker)
	open := 0
	for i := range hosts {
		h := &hosts[i]
		for f := range families {
			if r.Family == IPv4Only && f == six || r.Family == IPv6Only && f == four {
				continue
			}
			if cache == nil || !h.take(cache, f) {
				h.open[f] = true
				open++
			}
		}
	}
	if open > 0 {
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
func (h *lookup) take(cache peeker, f int) bool {
	a, known, err := cache.peek(h.name, question(f))
	if !known {
		return false
	}
	if err == nil && a.Status == Aliased {
		return false
	}
	h.answer[f], h.err[f] = a, err
	return true
}

// lookUpOpen asks what is open and returns when every question has ended.
func (r *Router) lookUpOpen(ctx context.Context, hosts []lookup) {
	var group errgroup.Group
	group.SetLimit(lookupsAtOnce)
	for i := range hosts {
		h := &hosts[i]
		for f := range families {
			if !h.open[f] {
				continue
			}
			group.Go(func() error {
				h.answer[f], h.err[f] = Follow(ctx, r.Resolver, h.name, question(f))
				return nil
			})
		}
	}
	_ = group.Wait() // the errors are in the lookups
}

// askFirstSteps finds out whether the first alias of a host is secure where the
// chain as a whole is not: DANE then goes by the name before it (RFC 7672
// section 2.2.2). Such hosts are rare, so are the questions.
func (r *Router) askFirstSteps(ctx context.Context, hosts []lookup) {
	var group errgroup.Group
	group.SetLimit(lookupsAtOnce)
	for i := range hosts {
		h := &hosts[i]
		if !h.hasAddress() || h.target() == h.name || h.nameSecure() {
			continue
		}
		group.Go(func() error {
			a, err := ask(ctx, r.Resolver, h.name, TypeCNAME)
			h.firstStep = err == nil && len(a.Aliases) > 0 && a.Aliases[0].Secure
			return nil
		})
	}
	_ = group.Wait() // a failed question leaves firstStep false
}

// set makes addr the answer about h: what a literal says of itself.
func (h *lookup) set(addr netip.Addr) {
	f := six
	if addr.Is4() {
		f = four
	}
	h.answer[f] = Answer{Status: Success, Name: h.name, Addrs: []netip.Addr{addr}}
}

// uses is whether the Router uses addresses of addr's family.
func (r *Router) uses(addr netip.Addr) bool {
	return r.Family == BothFamilies || addr.Is4() == (r.Family == IPv4Only)
}

// addrs are the addresses of one family, or none.
func (h *lookup) addrs(f int) []netip.Addr {
	if h.err[f] != nil || h.answer[f].Status != Success {
		return nil
	}
	return h.answer[f].Addrs
}

// hasAddress is whether there is any.
func (h *lookup) hasAddress() bool { return len(h.addrs(six)) > 0 || len(h.addrs(four)) > 0 }

// failure is why a question has no answer, nil where all have one.
func (h *lookup) failure() error {
	for _, err := range h.err {
		if err != nil {
			return err
		}
	}
	return nil
}

// noSuchName is whether DNS says that the name does not exist.
func (h *lookup) noSuchName() bool {
	return h.answer[six].Status == NXDomain || h.answer[four].Status == NXDomain
}

// target is the name after the aliases.
func (h *lookup) target() string {
	for f := range families {
		if len(h.addrs(f)) > 0 {
			return h.answer[f].Name
		}
	}
	return h.name
}

// secure is whether every answer that gave an address is secure throughout.
func (h *lookup) secure() bool {
	return h.all(func(a *Answer) bool { return a.Secure })
}

// nameSecure is whether the first step of every such answer is.
func (h *lookup) nameSecure() bool {
	return h.firstStep || h.all(func(a *Answer) bool {
		if len(a.Aliases) > 0 {
			return a.Aliases[0].Secure
		}
		return a.Secure
	})
}

func (h *lookup) all(holds func(*Answer) bool) bool {
	for f := range families {
		if len(h.addrs(f)) > 0 && !holds(&h.answer[f]) {
			return false
		}
	}
	return h.hasAddress()
}

// ttl is the least TTL of the answers there are.
func (h *lookup) ttl() time.Duration {
	least := maxTTL
	for f := range families {
		if h.err[f] == nil && h.answer[f].Status != StatusNone {
			least = min(least, h.answer[f].TTL)
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
