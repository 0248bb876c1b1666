package session

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// Config is how a Pool makes sessions and how long it keeps them. Zero fields are
// their defaults.
type Config struct {
	// Hello is the name given in EHLO, and Self are the names of this host: one
	// that greets with any of them is not sent to. A hop that is Named is sent to in
	// spite of that if SelfMark is set and the host does not give it.
	Hello    string
	Self     []string
	SelfMark string

	// Port and TLS are for hosts whose route has none. Default: 25 and TLSMay.
	Port uint16
	TLS  mx.TLSLevel

	// TLSConfig is the base of every TLS configuration.
	TLSConfig *tls.Config

	// Policy returns the TLS that a host must give beyond TLS, and Operator only the
	// part of it that the operator requires, whatever the domain publishes. Each may be
	// nil.
	Policy, Operator func(ctx context.Context, route *mx.Route, host *mx.Host) (Policy, error)

	// Dial connects; nil is a net.Dialer, from one of Source if there are any.
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Source []netip.Addr

	// ConnectTimeout bounds one connection attempt, 30 s by default, and Timeouts
	// the steps of the dialogue.
	ConnectTimeout time.Duration
	Timeouts       smtp.Timeouts

	// MaxIdle is how many sessions are kept. Default: 64; none if negative. IdleTimeout
	// is how long one is kept unused. Default: 30 s.
	MaxIdle     int
	IdleTimeout time.Duration
}

const (
	defaultPort           = 25
	submissionsPort       = 465 // RFC 8314 section 3.3
	defaultConnectTimeout = 30 * time.Second
)

// AddrPort is where to dial an address of a host.
func (c *Config) AddrPort(host *mx.Host, ip netip.Addr) netip.AddrPort {
	switch {
	case host.Port != 0:
		return netip.AddrPortFrom(ip, host.Port)
	case host.ImplicitTLS:
		return netip.AddrPortFrom(ip, submissionsPort)
	case c.Port != 0:
		return netip.AddrPortFrom(ip, c.Port)
	default:
		return netip.AddrPortFrom(ip, defaultPort)
	}
}
