package mx

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// Addresses looks up a next hop that the operator named, such as a smart host. It asks for
// the addresses of host, never for MX records (RFC 7672 section 2.2.2). host is a name in
// any spelling, or an address with or without brackets. "localhost" is this machine,
// without a lookup (RFC 6761 section 6.3). Other names are looked up as by other programs
// on this machine, in the hosts file and in DNS (HostLookup).
//
// Because the operator chose the host, loopback, link-local and private addresses, and
// this host's own, are used like any other. Family, Order and MaxAddrsPerHost apply. The
// error is always an *Error and always temporary, of the kind DNSTrouble, BogusAnswer
// or Misconfigured: if the host does not exist, that is not the fault of the mail. If no
// address was found, the error wraps a *HostNotFound.
func (r *Router) Addresses(ctx context.Context, host string) (Host, error) {
	l := r.HostLookup
	if l == nil {
		l = &r.hostLookup
	}
	return r.addresses(ctx, host, l)
}

// DNSAddresses is like Addresses, for a host that DNS has named, for example in an SRV
// record. It uses neither the hosts file nor the search list.
func (r *Router) DNSAddresses(ctx context.Context, host string) (Host, error) {
	return r.addresses(ctx, host, &HostLookup{DNSOnly: true})
}

func (r *Router) addresses(ctx context.Context, host string, l *HostLookup) (Host, error) {
	if id := r.identity(); id.err != nil {
		return Host{}, fail(Misconfigured, host, "", id.err)
	}
	named := &Router{
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
		return Host{Name: name, Target: name, Addrs: []netip.Addr{addr}, Secure: Insecure, NameSecure: Insecure}, nil
	}
	name, err := address.ParseHost(host)
	if err != nil {
		return Host{}, fail(Misconfigured, host, "", err)
	}
	if name == "localhost" {
		return named.given(name, []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}, &HostNotFound{Host: name})
	}
	return named.find(ctx, l, name, strings.HasSuffix(host, "."))
}

var errNoAddress = errors.New("no A or AAAA record found for the host")

// find looks for a host where l says. r uses whatever an operator may mean.
func (r *Router) find(ctx context.Context, l *HostLookup, name string, absolute bool) (Host, error) {
	missing := &HostNotFound{Host: name}
	names := []string{name}
	if !l.DNSOnly {
		addrs, place := l.inFile(name)
		if slices.ContainsFunc(addrs, r.uses) {
			missing.Looked = []string{"unusable in " + l.file()}
			return r.given(name, addrs, missing)
		}
		missing.Looked = append(missing.Looked, place)
		var note string
		if names, note = l.candidates(name, absolute); note != "" {
			missing.Looked = append(missing.Looked, note)
		}
	}
	for _, full := range names {
		hosts := []lookup{{name: full}}
		h := &hosts[0]
		r.lookUp(ctx, hosts)
		r.askFirstSteps(ctx, hosts)
		if addrs := r.choose(nil, h, r.maxAddrsPerHost()); len(addrs) > 0 && h.firstErr == nil {
			host := h.host(addrs)
			if full != name {
				// The domain that completed the name is not authenticated.
				host.Name, host.Secure, host.NameSecure = name, Insecure, Insecure
			}
			return host, nil
		}
		if err := h.failure(); err != nil {
			return Host{}, failLookup(name, err)
		}
		missing.Looked = append(missing.Looked, "no address of "+printable(full)+" in DNS")
	}
	return Host{}, fail(Misconfigured, name, "", missing)
}

// given is a host whose addresses are known without DNS.
func (r *Router) given(name string, addrs []netip.Addr, missing *HostNotFound) (Host, error) {
	h := lookup{name: name}
	for _, addr := range addrs {
		if r.uses(addr) {
			h.add(addr)
		}
	}
	if chosen := r.choose(nil, &h, r.maxAddrsPerHost()); len(chosen) > 0 {
		return h.host(chosen), nil
	}
	return Host{}, fail(Misconfigured, name, "", missing)
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

// literalName returns the name of a host that has only an address.
func literalName(addr netip.Addr) string {
	if addr.Is4() {
		return "[" + addr.String() + "]"
	}
	return "[IPv6:" + addr.String() + "]"
}
