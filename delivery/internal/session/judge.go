package session

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// judge has the policy's source say what a new connection is worth, and tells of it.
func (c *Config) judge(h *Hop, made *Session, shown Handshake, o Observer) {
	if h.Policy.Judge == nil {
		return
	}
	c.ask(h, made, shown)
	if shown.Err == errLeftOut && h.again {
		return // the same was already reported for the previous connection
	}
	o.Decided(made.judged.Decision)
}

// ask has the policy's source, which there is, say what a new connection is worth.
func (c *Config) ask(h *Hop, made *Session, shown Handshake) {
	p := h.Policy
	shown.Host, shown.Addr, shown.Local, shown.Helo = h.Host.Name, h.Addr, made.local, made.helo
	shown.Roots, shown.Now = c.checking()
	made.shown, made.basis, made.domain = shown, p.Basis, p.Domain
	made.judged = p.Judge(&shown)
	h.Judged = made.judged
}

// checking is whom certificates are checked against, and for when.
func (c *Config) checking() (roots *x509.CertPool, now time.Time) {
	if t := c.TLSConfig; t != nil {
		roots = t.RootCAs
		if t.Time != nil {
			return roots, t.Time()
		}
	}
	return roots, time.Now()
}

// prove checks a connection whose policy has a source: by the judgement of that source,
// and if that does not authenticate the host although the level requires it, by the
// usual check (the level may come from the configuration or the message). The judgement is
// not told yet: the host may still fail in the handshake, and if TLS was resumed, the
// certificates are those of before, and another connection follows a refusal.
func (c *Config) prove(h *Hop, made *Session, state *tls.ConnectionState) error {
	c.ask(h, made, Handshake{Offered: true, State: state})
	switch {
	case made.judged.Err != nil:
		return made.judged.Err
	case made.judged.Authenticated || h.Policy.Level < mx.TLSVerify:
		return nil
	}
	return c.check(h, made, state)
}

// tell tells of the judgement of a connection with TLS, if there is one.
func (s *Session) tell(o Observer) {
	if s.judged.Decision != nil {
		o.Decided(s.judged.Decision)
	}
}

// check makes the usual check of a session's certificate, once.
func (c *Config) check(h *Hop, s *Session, state *tls.ConnectionState) (err error) {
	switch {
	case s.checked:
		return nil
	case h.Policy.Verify != nil:
		err = h.Policy.Verify(*state)
	default:
		err = c.bearsOneOf([]string{h.Policy.ServerName})(*state)
	}
	s.checked = err == nil
	return err
}

// refusal is an error with what the policy's source has said.
func (h *Hop) refusal(err error) error {
	if h.Judged.Err == nil {
		return err
	}
	return &Refusal{Judgement: h.Judged, Cause: err}
}

// judgeAgain has a session from before judged by the policy of the message that is next,
// unless it has been. It reports whether that policy allows mail. What authenticated the
// host for another message does not count for this one.
func (c *Config) judgeAgain(s *Session, h *Hop) bool {
	if h.Policy.Judge != nil {
		c.askAgain(s, h)
	}
	if h.Judged.Err != nil {
		return false
	}
	if !s.Encrypted() {
		return true
	}
	s.Protection = h.protection()
	return h.Judged.Authenticated || h.Policy.Level < mx.TLSVerify || c.check(h, s, s.TLS()) == nil
}

// askAgain has the policy's source, which there is, say what a session from before is
// worth.
func (c *Config) askAgain(s *Session, h *Hop) {
	p := h.Policy
	if s.basis != p.Basis || s.domain != p.Domain || s.judged.Decision == nil {
		if s.judged.Decision == nil {
			s.shown = c.seen(s, h) // it was made for a message that no policy was for
		}
		shown := s.shown
		_, shown.Now = c.checking()
		s.judged, s.basis, s.domain = p.Judge(&shown), p.Basis, p.Domain
	}
	h.Judged = s.judged
}

// seen returns the properties of a session, which are not judged yet.
func (c *Config) seen(s *Session, h *Hop) Handshake {
	shown := Handshake{Host: h.Host.Name, Addr: h.Addr, Local: s.local, Helo: s.helo, State: s.TLS()}
	shown.Roots, _ = c.checking()
	if shown.Offered = shown.State != nil || s.Extensions().StartTLS; shown.State == nil && shown.Offered {
		shown.Err = errLeftOut
	}
	return shown
}

// unparsable reports whether TLS failed because package x509 cannot parse the host's
// certificate. Package tls has no type for that error; a test checks its text.
func unparsable(err error) bool {
	var se *smtp.Error
	if !errors.As(err, &se) || se.Err == nil {
		return false
	}
	return strings.HasPrefix(se.Err.Error(), "tls: failed to parse certificate from server: ")
}

// localOf is the address that a connection is made from, if it has one.
func localOf(conn net.Conn) netip.AddrPort {
	a, _ := conn.LocalAddr().(*net.TCPAddr)
	return a.AddrPort() // the zero AddrPort of nil
}
