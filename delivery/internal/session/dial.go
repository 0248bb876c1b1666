package session

import (
	"context"
	"errors"
	"hash/fnv"
	"net"
	"net/netip"
	"syscall"
)

// dial connects to one address within the connect timeout.
func (c *Config) dial(ctx context.Context, addr netip.AddrPort, source netip.Addr) (net.Conn, error) {
	timeout := c.ConnectTimeout
	if timeout <= 0 {
		timeout = defaultConnectTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if c.Dial != nil {
		return c.Dial(ctx, "tcp", addr.String())
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: source.AsSlice(), Zone: source.Zone()}} // no IP is any
	return d.DialContext(ctx, "tcp", addr.String())
}

// SourceFor is the local address to send a message to addr from: one of the
// pool's of the same family, the same for every attempt at the same message,
// because greylisting knows a sender by it (RFC 6647; QUE-10). Invalid leaves
// the choice to the system.
func (c *Config) SourceFor(pin string, addr netip.Addr) netip.Addr {
	var list []netip.Addr
	for _, a := range c.Source {
		if a.Is4() == addr.Is4() {
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		return netip.Addr{}
	}
	h := fnv.New32a()
	h.Write([]byte(pin))
	return list[h.Sum32()%uint32(len(list))]
}

// Ours reports whether dialling failed because of a lack of resources on this machine,
// which says nothing about the address.
func Ours(err error) bool {
	for _, e := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.EADDRNOTAVAIL, syscall.EADDRINUSE, syscall.EACCES, syscall.EPERM, syscall.ENETUNREACH, syscall.ENETDOWN,
		context.Canceled,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
