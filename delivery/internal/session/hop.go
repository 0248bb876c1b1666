package session

import (
	"net/netip"

	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// Hop is one address of one host under one policy, for one message.
type Hop struct {
	Host   *mx.Host
	Addr   netip.AddrPort
	Policy *Policy
	Source netip.Addr // the local address to send from; invalid leaves it to the system

	Clear      bool // TLS is broken there and not required
	NoChunking bool // BDAT is broken there

	Gate *Gate  // limits to keep to; nil is none
	Site string // whom its connections count for
}

// Level is the policy's, or none where TLS is broken and not required.
func (h *Hop) Level() mx.TLSLevel {
	if h.Clear {
		return mx.TLSNone
	}
	return h.Policy.Level
}

func (h *Hop) key() key {
	k := key{host: h.Host.Name, addr: h.Addr, source: h.Source, level: h.Level()}
	k.login = h.Host.Login
	if k.level >= mx.TLSVerify {
		k.serverName, k.policy = h.Policy.ServerName, h.Policy.Key
	}
	return k
}

// protection is what TLS that came up as the policy asks is worth.
func (h *Hop) protection() Protection {
	if h.Policy.Level < mx.TLSVerify {
		return Protection{Level: mx.TLSEncrypt}
	}
	return Protection{Level: mx.TLSVerify, Source: h.Policy.Source}
}

// Observer is told how sessions with a host come to be.
type Observer interface {
	// Connect is called before an address is dialled.
	Connect(host string, addr netip.AddrPort)
	// Connected is called when dialling ended.
	Connected(host string, addr netip.AddrPort, err error)
	// Secured is called when a session is ready for mail.
	Secured(host string, addr netip.AddrPort, p Protection)
	// Reused is called when a session from before is used again.
	Reused(host string, addr netip.AddrPort)
	// Lines answers with what is called for each line of a dialogue; nil is nobody.
	// It may still be called when the session has been given back.
	Lines(host string, addr netip.AddrPort) func(smtp.Line)
}

// follow makes the session's dialogue known to the call that uses it now.
func (s *Session) follow(h *Hop, o Observer) { s.SetTrace(o.Lines(h.Host.Name, h.Addr)) }
