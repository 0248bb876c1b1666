package smtptest

import (
	"net"
	"net/netip"
	"strings"
)

// literalAddr is the address in an address literal of RFC 5321 section 4.1.3.
func literalAddr(s string) (netip.Addr, bool) {
	inner, ok := strings.CutPrefix(s, "[")
	if !ok || !strings.HasSuffix(inner, "]") {
		return netip.Addr{}, false
	}
	inner = strings.TrimSuffix(inner, "]")
	if len(inner) > 5 && strings.EqualFold(inner[:5], "IPv6:") {
		addr, err := netip.ParseAddr(inner[5:])
		return addr, err == nil && addr.Is6()
	}
	addr, err := netip.ParseAddr(inner)
	return addr, err == nil && addr.Is4()
}

// validLiteral is an IPv4 or IPv6 address literal.
func validLiteral(s string) bool {
	_, ok := literalAddr(s)
	return ok
}

// checkHello looks at the argument of EHLO or HELO.
func (s *session) checkHello(arg string) {
	if addr, ok := literalAddr(arg); ok {
		if tcp, is := s.base.RemoteAddr().(*net.TCPAddr); is && addr.Is4() != (tcp.IP.To4() != nil) {
			s.breach(RuleHelloName, arg)
		}
		return
	}
	name, _, _ := strings.Cut(strings.ToLower(arg), ".")
	switch {
	case arg == "" || strings.ContainsAny(arg, " \t[]_") || !validDomain(arg) || !isASCII(arg):
		s.breach(RuleHelloName, arg)
	case name == "localhost":
		s.breach(RuleLocalhost, arg)
	}
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
