package mx

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/internal/age"
)

// identity is what this host goes by: canonical names and plain addresses.
type identity struct {
	names []string
	addrs []netip.Addr
	err   error // why the fields of the Router are invalid
}

// interfaceAddrs is what the interfaces had at one time.
type interfaceAddrs struct {
	at    time.Time
	addrs []netip.Addr
}

// interfacesFor is how long the interfaces are taken to keep their addresses.
const interfacesFor = time.Minute

// identity is the canonical form of the fields, made once.
func (r *Router) identity() *identity {
	r.once.Do(func() {
		id := &r.prepared
		if id.err = r.Validate(); id.err != nil {
			return
		}
		*id, _ = canonicalSelf(r.Self)
		for _, a := range r.SelfAddrs {
			id.addrs = append(id.addrs, plain(a))
		}
	})
	return &r.prepared
}

// canonicalSelf sorts the names of this host into names and addresses.
func canonicalSelf(self []string) (identity, error) {
	var id identity
	var problems []error
	for i, s := range self {
		if d, err := address.ParseDomain(s); err == nil {
			if addr, ok := d.Literal(); ok {
				id.addrs = append(id.addrs, addr)
				continue
			}
		}
		name, err := address.ParseHost(s)
		if err != nil {
			problems = append(problems, fmt.Errorf("mx.Router.Self[%d]: %w", i, err))
			continue
		}
		id.names = append(id.names, name)
	}
	return id, errors.Join(problems...)
}

// isSelfName is whether a canonical name is one of this host's.
func (r *Router) isSelfName(id *identity, name string) bool {
	if slices.Contains(id.names, name) {
		return true
	}
	// RFC 6761 section 6.3: these names are this host, whatever DNS says.
	return !r.AllowLoopback && (name == "localhost" || strings.HasSuffix(name, ".localhost"))
}

// IsSelf reports whether a host is this one. Its port must be one of SelfPorts or not set,
// and it must match Self, SelfAddrs or, in the relay role, an address of the interfaces.
// IsSelf is for hosts that the operator named. For those, a loopback address proves
// nothing, because a proxy may listen there. A host that is this one in spite of that is
// recognized by its greeting. The error is an *Error: the interfaces cannot be listed, or
// a field of the Router is invalid.
func (r *Router) IsSelf(h *Host) (bool, error) {
	id := r.identity()
	if id.err != nil {
		return false, fail(Misconfigured, h.Name, "", id.err)
	}
	if !r.IsSelfPort(h.Port) {
		return false, nil
	}
	own, err := r.ownAddrs(id)
	if err != nil {
		return false, fail(DNSTrouble, h.Name, "", err)
	}
	if slices.Contains(id.names, h.Name) || slices.Contains(id.names, h.Target) {
		return true, nil
	}
	return slices.ContainsFunc(h.Addrs, func(a netip.Addr) bool { return slices.Contains(own, plain(a)) }), nil
}

// IsSelfPort reports whether this host may be the one that listens on a TCP port of its
// own addresses; 0 is an unknown port.
func (r *Router) IsSelfPort(port uint16) bool {
	if len(r.SelfPorts) == 0 {
		return port == 0 || port == 25
	}
	return port == 0 || slices.Contains(r.SelfPorts, port)
}

// ownAddrs are the plain addresses that are this host's own.
func (r *Router) ownAddrs(id *identity) ([]netip.Addr, error) {
	if !r.Relay {
		return id.addrs, nil
	}
	known := r.interfaces.Load()
	if known != nil && age.Since(known.at) < interfacesFor {
		return known.addrs, nil
	}
	list := net.InterfaceAddrs
	if r.InterfaceAddrs != nil {
		list = r.InterfaceAddrs
	}
	now := time.Now()
	nets, err := list()
	if err != nil {
		return nil, fmt.Errorf("addresses of the interfaces: %w", err)
	}
	fresh := &interfaceAddrs{at: now, addrs: slices.Clone(id.addrs)}
	for _, n := range nets {
		// Loopback has a separate rule, AllowLoopback.
		if addr, ok := interfaceAddr(n); ok && !addr.IsLoopback() {
			fresh.addrs = append(fresh.addrs, addr)
		}
	}
	r.interfaces.Store(fresh)
	return fresh.addrs, nil
}

// interfaceAddr returns the address in a net.Addr of an interface.
func interfaceAddr(n net.Addr) (netip.Addr, bool) {
	var ip net.IP
	switch a := n.(type) {
	case *net.IPNet:
		ip = a.IP
	case *net.IPAddr:
		ip = a.IP
	default:
		if prefix, err := netip.ParsePrefix(n.String()); err == nil {
			return plain(prefix.Addr()), true
		}
	}
	addr, ok := netip.AddrFromSlice(ip)
	return plain(addr), ok
}

// standing is what a host's addresses say about it.
type standing uint8

const (
	noStanding   standing = iota // no address
	usable                       // at least one address to dial
	self                         // this host, or no host at all
	refusedAddrs                 // it has addresses, but none may be dialled
)

// standingOf judges a host by its name after aliases and by its addresses. One
// address of our own makes it this host; one loopback address among others is
// only left out.
func (r *Router) standingOf(id *identity, own []netip.Addr, h *lookup) standing {
	if r.isSelfName(id, h.name) || r.isSelfName(id, h.target()) {
		return self
	}
	found, onlyNobody := noStanding, true
	for f := range families {
		for _, addr := range h.found[f].addrs {
			addr = plain(addr)
			if slices.Contains(own, addr) {
				return self
			}
			switch r.class(addr) {
			case reachable:
				found = usable
			case refused:
				onlyNobody = false
			}
		}
	}
	switch {
	case found == usable || !h.hasAddress():
		return found
	case onlyNobody && h.failure() == nil:
		return self
	case h.failure() != nil:
		return noStanding // the other family may have a usable one
	}
	return refusedAddrs
}

var (
	errLoopback = errors.New("it has loopback addresses only, and AllowLoopback is not set")
	errNobody   = errors.New("it has no address of a host")
)

// whySelf says why a host counts as this one, if its addresses are the reason. If it is
// named or known to be this host, it is nil.
func (r *Router) whySelf(id *identity, own []netip.Addr, h *lookup) error {
	if r.isSelfName(id, h.name) || r.isSelfName(id, h.target()) {
		return nil
	}
	why := errNobody
	for f := range families {
		for _, addr := range h.found[f].addrs {
			if slices.Contains(own, plain(addr)) {
				return nil
			}
			if plain(addr).IsLoopback() {
				why = errLoopback
			}
		}
	}
	return why
}
