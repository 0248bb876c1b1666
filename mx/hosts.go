package mx

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// Addresses is the host form of a next hop, for smart hosts: the addresses of
// host and no question about MX records (RFC 7672 section 2.2.2). host is a name
// in any spelling, or an address with or without brackets. "localhost" is this
// machine without asking DNS (RFC 6761 section 6.3).
//
// Whoever names a host means it: loopback, link-local and private addresses,
// and this host's own, are used like any other. The family rules hold, and
// MaxAddrsPerHost. The error is always an *Error and always temporary, of outcome
// DNSTrouble, BogusAnswer or Misconfigured: that a host which the operator named
// does not exist says nothing about the mail.
func (r *Router) Addresses(ctx context.Context, host string) (Host, error) {
	if id := r.identity(); id.err != nil {
		return Host{}, fail(Misconfigured, host, "", id.err)
	}
	named := Router{
		Resolver: r.Resolver, AllowLoopback: true, AllowLinkLocal: true,
		Family: r.Family, Order: r.Order, MaxAddrsPerHost: r.MaxAddrsPerHost,
	}
	if addr, ok := hostLiteral(host); ok {
		if !r.uses(addr) {
			return Host{}, fail(Misconfigured, host, "", errFamily)
		}
		name := literalName(addr)
		if named.class(plain(addr)) != reachable {
			return Host{}, fail(Misconfigured, name, "", errNoAddress)
		}
		return Host{Name: name, Target: name, Addrs: []netip.Addr{addr}}, nil
	}
	name, err := address.ParseHost(host)
	if err != nil {
		return Host{}, fail(Misconfigured, host, "", err)
	}
	hosts := []lookup{{name: name}}
	h := &hosts[0]
	if name == "localhost" {
		named.give(h, netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	} else {
		named.lookUp(ctx, hosts)
		named.askFirstSteps(ctx, hosts)
	}
	addrs := named.choose(nil, h, named.maxAddrsPerHost())
	if len(addrs) > 0 {
		return h.host(addrs), nil
	}
	if err := h.failure(); err != nil {
		return Host{}, failLookup(h.name, err)
	}
	return Host{}, fail(Misconfigured, h.name, h.target(), errNoAddress)
}

var errNoAddress = errors.New("the host has no address that is in use")

// give sets the addresses of h that are of a family in use.
func (r *Router) give(h *lookup, addrs ...netip.Addr) {
	for _, addr := range addrs {
		if r.uses(addr) {
			h.give(addr)
		}
	}
}

// hostLiteral is host as an address, in the forms that smart hosts are written:
// bare, in brackets, or as an address literal of RFC 5321 section 4.1.3.
func hostLiteral(host string) (netip.Addr, bool) {
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
		if tag := len("IPv6:"); len(host) > tag && strings.EqualFold(host[:tag], "IPv6:") {
			host = host[tag:]
		}
	}
	addr, err := netip.ParseAddr(host)
	return addr.Unmap(), err == nil
}

// literalName is the name of a host that has none.
func literalName(addr netip.Addr) string {
	if addr.Is4() {
		return "[" + addr.String() + "]"
	}
	return "[IPv6:" + addr.String() + "]"
}
