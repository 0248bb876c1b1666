package smarthost

import (
	"net/netip"
	"strings"

	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/mx"
)

// Validate returns an *Error if something is wrong with the host.
func (h Host) Validate() error {
	if _, err := h.canonical(); err != nil {
		return err
	}
	return nil
}

// canonical is the host with its names in canonical form.
func (h Host) canonical() (Host, *Error) {
	name, reason := canonicalName(h.Name)
	if reason != "" {
		return Host{}, malformed(reason)
	}
	h.Name = name
	if reason := h.check(); reason != "" {
		return Host{}, &Error{Input: name, Reason: reason}
	}
	var targets []string
	for _, t := range h.Targets {
		target, err := address.ParseHost(t)
		if err != nil {
			return Host{}, &Error{Input: name, Reason: "a target is not a host name"}
		}
		targets = append(targets, target)
	}
	h.Targets = targets
	return h, nil
}

// check is why the fields do not fit together, empty if they do.
func (h *Host) check() string {
	literal := strings.HasPrefix(h.Name, "[")
	switch {
	case h.Lookup > LookupSRV:
		return "unknown Lookup"
	case h.TLS > mx.TLSVerify:
		return "unknown TLS level"
	case h.Lookup != LookupAddress && literal:
		return "an IP address has no MX or SRV records"
	case h.Lookup == LookupSRV && (h.Port != 0 || h.ImplicitTLS):
		return "the port and ImplicitTLS come from the SRV records and cannot be set"
	case (h.ImplicitTLS || h.Lookup == LookupSRV) && (h.TLS == mx.TLSNone || h.TLS == mx.TLSMay):
		return "TLS cannot be optional with ImplicitTLS or SRV records"
	case len(h.Targets) > 0 && h.Lookup != LookupSRV:
		return "targets are only for SRV records"
	case h.Login != nil && h.TLS == mx.TLSMay:
		return "tls=may is not allowed with a login; use verify, or consent to less with encrypt or none"
	}
	return ""
}

// canonicalName returns a host name or an address in canonical form, or why it has
// none. Errors of package address are not passed on, because they repeat their input.
func canonicalName(s string) (name, reason string) {
	if s == "" {
		return "", "the host is missing"
	}
	if strings.HasPrefix(s, "[") || strings.Contains(s, ":") {
		return canonicalAddress(s)
	}
	if ip, err := netip.ParseAddr(s); err == nil {
		return literal(ip)
	}
	name, err := address.ParseHost(s)
	if err != nil {
		return "", "not a host name"
	}
	return name, ""
}

// canonicalAddress reads an address with or without brackets and "IPv6:".
func canonicalAddress(s string) (name, reason string) {
	if strings.HasPrefix(s, "[") {
		if !strings.HasSuffix(s, "]") {
			return "", "unmatched bracket"
		}
		s = s[1 : len(s)-1]
		if tag := len("IPv6:"); len(s) > tag && strings.EqualFold(s[:tag], "IPv6:") {
			s = s[tag:]
		}
	}
	ip, err := netip.ParseAddr(s)
	if err != nil || !isZone(ip.Zone()) {
		return "", "not an IP address"
	}
	return literal(ip)
}

// literal is an address as package mx names a host by it.
func literal(ip netip.Addr) (name, reason string) {
	ip = ip.Unmap()
	switch {
	case ip.IsUnspecified(), ip.IsMulticast():
		return "", "not an address to connect to"
	case ip.Is4():
		return "[" + ip.String() + "]", ""
	default:
		return "[IPv6:" + ip.String() + "]", ""
	}
}

// isZone is whether the zone of an address, if it has one, is the name of an
// interface.
func isZone(zone string) bool {
	for i := 0; i < len(zone); i++ {
		if c := zone[i]; !isUnreserved(c) {
			return false
		}
	}
	return true
}
