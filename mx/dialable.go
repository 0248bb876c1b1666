package mx

import "net/netip"

// addrClass is what an address is good for as a next hop.
type addrClass uint8

const (
	reachable addrClass = iota
	nobody              // loopback, unspecified, multicast: this host or no host
	refused             // link-local or private, by the Router's fields
)

// Permits reports whether addr may be dialled. Route calls it for the addresses of MX
// hosts and of a literal. A dialler that resolves names itself should call it after
// resolving, so that no answer of DNS leads into a private network (RFC 6890).
func (r *Router) Permits(addr netip.Addr) bool {
	return addr.IsValid() && r.class(plain(addr)) == reachable
}

// plain is an address as it is compared: IPv4 as IPv4, no zone.
func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// class judges a plain address.
func (r *Router) class(addr netip.Addr) addrClass {
	switch {
	case addr.IsLoopback():
		if r.AllowLoopback {
			return reachable
		}
		return nobody
	case addr.IsUnspecified(), addr.IsMulticast(), isNobodyIPv4(addr):
		return nobody
	case addr.IsLinkLocalUnicast():
		if r.AllowLinkLocal {
			return reachable
		}
		return refused
	case r.RefusePrivate && isPrivate(addr):
		return refused
	}
	return reachable
}

// isNobodyIPv4 is "this network", which systems take for themselves, and the
// broadcast address (RFC 6890 section 2.2.2).
func isNobodyIPv4(addr netip.Addr) bool {
	if !addr.Is4() {
		return false
	}
	b := addr.As4()
	return b[0] == 0 || b == [4]byte{255, 255, 255, 255}
}

// isPrivate is whether an address belongs to a network that is not the public
// Internet, itself or by the IPv4 address it carries for a translator (RFC 6052)
// or a tunnel (RFC 3056). Documentation networks are left alone.
func isPrivate(addr netip.Addr) bool {
	if addr.IsPrivate() {
		return true
	}
	if addr.Is4() {
		return isSpecialIPv4(addr.As4())
	}
	b := addr.As16()
	switch {
	case b[0] == 0xfe && b[1]&0xc0 == 0xc0: // fec0::/10, site-local (RFC 3879)
		return true
	case [12]byte(b[:12]) == [12]byte{0, 0x64, 0xff, 0x9b}: // 64:ff9b::/96
		return isInsideIPv4([4]byte(b[12:]))
	case [6]byte(b[:6]) == [6]byte{0, 0x64, 0xff, 0x9b, 0, 1}: // 64:ff9b:1::/48, local use (RFC 8215)
		return true
	case b[0] == 0x20 && b[1] == 0x02: // 2002::/16
		return isInsideIPv4([4]byte(b[2:6]))
	case [12]byte(b[:12]) == [12]byte{}: // ::/96, IPv4-compatible, long gone
		return true
	}
	return false
}

// isSpecialIPv4 is the special networks beyond RFC 1918.
func isSpecialIPv4(b [4]byte) bool {
	switch {
	case b[0] == 100 && b[1]&0xc0 == 64: // 100.64.0.0/10, shared (RFC 6598)
		return true
	case b[0] == 192 && b[1] == 0 && b[2] == 0: // 192.0.0.0/24, protocol assignments
		return true
	case b[0] == 198 && b[1]&0xfe == 18: // 198.18.0.0/15, benchmarks (RFC 2544)
		return true
	}
	return b[0] >= 240 // reserved (RFC 1112)
}

// isInsideIPv4 is whether an embedded IPv4 address is anything but public.
func isInsideIPv4(b [4]byte) bool {
	addr := netip.AddrFrom4(b)
	return addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsMulticast() ||
		b[0] == 0 || isSpecialIPv4(b)
}
