package session

import (
	"net/netip"
	"time"

	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// Hop is one address of one host under one policy, for one message.
type Hop struct {
	Host   *mx.Host
	Addr   netip.AddrPort
	Policy *Policy
	Source netip.Addr // the local address to send from; invalid leaves it to the system
	Named  bool       // the operator has named the host

	// Without are the options that are left out there, because they do not work or
	// may not: see Memory.Without.
	Without smtp.Option

	// Dialled is when the newest connection was begun, and Took how long its stages
	// took.
	Dialled time.Time
	Took    Stages
	since   time.Time // when its newest stage began

	Gate *Gate  // limits to keep; nil if there are none
	Site string // whom its connections count for

	// Probe ends a connection before the login, because no mail will be sent.
	Probe bool

	resumption *resumption // of its latest connection; nil if there is none
	classic    bool        // its latest connection finds out whether TLS works without OptModern

	// Judged is the judgement of the policy's source about the last connection.
	Judged Judgement
	again  bool // there was a connection before, and it was judged
}

// Named reports whether the hosts of a route were named by the operator.
func Named(via mx.Via) bool { return via == mx.ViaSmartHost || via == mx.ViaFallback }

// Level returns the policy's level, or TLSNone if TLS is left out and not required.
func (h *Hop) Level() mx.TLSLevel {
	if h.Without&smtp.OptTLS != 0 && h.Policy.Level == mx.TLSMay {
		return mx.TLSNone
	}
	return h.Policy.Level
}

// Spare removes options from a set that must not be left out there: TLS if it is
// required, and EHLO if it is required, if there is a login, or if the message needs an
// extension.
func (h *Hop) Spare(o smtp.Option, extensions bool) smtp.Option {
	if h.Policy.Level != mx.TLSMay {
		o &^= smtp.OptTLS
	}
	if h.Policy.Level > mx.TLSMay || h.Host.Login != nil || extensions {
		o &^= smtp.OptEHLO
	}
	return o
}

func (h *Hop) key() key {
	k := key{host: h.Host.Name, addr: h.Addr.Addr(), port: h.Addr.Port(), source: h.Source, level: h.Level()}
	k.login, k.helo, k.implicit, k.named = h.Host.Login, h.Without&smtp.OptEHLO != 0, h.Host.ImplicitTLS, h.Named
	if k.level != mx.TLSNone {
		k.minVersion = h.Policy.MinVersion
		k.shown = h.Policy.Certificate
	}
	switch p := h.Policy; {
	case k.level >= mx.TLSVerify, k.level != mx.TLSNone && p.Judge != nil && p.Key != "":
		k.serverName, k.policy = p.ServerName, p.Key
	case k.level != mx.TLSNone && (p.MinVersion > 0 || p.Certificate != nil):
		k.policy = p.Key
	}
	return k
}

// protection is what TLS that came up as the policy asks is worth.
func (h *Hop) protection() Protection {
	switch {
	case h.Judged.Authenticated:
		return Protection{Level: mx.TLSVerify, Source: h.Judged.Source}
	case h.Policy.Level < mx.TLSVerify:
		return Protection{Level: mx.TLSEncrypt}
	case h.Policy.Judge != nil:
		return Protection{Level: mx.TLSVerify}
	default:
		return Protection{Level: mx.TLSVerify, Source: h.Policy.Source}
	}
}

// secured notes that TLS came up as the policy asks. Without a Judge, the certificate has
// been checked as far as the level requires it.
func (s *Session) secured(h *Hop) {
	s.Protection = h.protection()
	s.checked = s.checked || h.Policy.Judge == nil
}

// endSearch ends the search for what a host lacks without a finding.
func (h *Hop) endSearch() {
	if h.classic {
		h.Without &^= smtp.OptModern
		h.classic = false
	}
}

// lap is how long the stage of the connection took that has just ended.
func (h *Hop) lap() time.Duration {
	now := time.Now()
	took := now.Sub(h.since)
	h.since = now
	return took
}

// Observer is told about the steps of making sessions with a host.
type Observer interface { //nolint:interfacebloat // each is a step on the way to one session
	// Connect is called before an address is dialled.
	Connect(host string, addr netip.AddrPort)
	// Connected is called when dialling ended.
	Connected(host string, addr netip.AddrPort, err error)
	// Decided is called when a policy's source has said what a new connection is worth.
	Decided(decision any)
	// Secured is called when a session is ready for mail.
	Secured(host string, addr netip.AddrPort, p Protection)
	// Reused is called when a session from before is used again.
	Reused(host string, addr netip.AddrPort)
	// Lines returns the function that is called for each line of a dialogue, or nil. It
	// may still be called after the session was given back.
	Lines(host string, addr netip.AddrPort) func(smtp.Line)
}

// follow makes the session's dialogue known to the call that uses it now.
func (s *Session) follow(h *Hop, o Observer) { s.SetTrace(o.Lines(h.Host.Name, h.Addr)) }
