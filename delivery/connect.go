package delivery

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// hop is one address of one host under one policy, for one message.
type hop struct {
	host   *mx.Host
	addr   netip.AddrPort
	policy *TLSPolicy
	source netip.Addr

	clear      bool // TLS is broken there and not required
	noChunking bool // BDAT is broken there

	gate *gate  // an agent's limits; nil is none
	site string // whom its connections count for
}

func (h *hop) key() sessionKey {
	k := sessionKey{host: h.host.Name, addr: h.addr, source: h.source, level: h.level()}
	k.login = h.host.Login
	if k.level >= mx.TLSVerify {
		k.serverName, k.policy = h.policy.ServerName, h.policy.Key
	}
	return k
}

// level is the policy's, or none where TLS is broken and not required.
func (h *hop) level() mx.TLSLevel {
	if h.clear {
		return mx.TLSNone
	}
	return h.policy.Level
}

// fail makes an Error about this hop.
func (h *hop) fail(stage Stage, verdict Verdict, enhanced string, cause error) *Error {
	return &Error{Stage: stage, Host: h.host.Name, Addr: h.addr, Verdict: verdict, Enhanced: enhanced, Err: cause}
}

// kept takes up a session from before, where there is one that will do.
func (s *Sender) kept(h *hop, ts traces) *session {
	if s.MaxIdle < 0 {
		return nil
	}
	kept := s.pool.take(h.key(), h.site, time.Now())
	if kept != nil {
		kept.follow(h, ts)
		ts.reused(h.host.Name, h.addr)
	}
	return kept
}

// fresh makes a session that is ready for mail, once the agent's limits, where
// there is one, have room for it.
func (s *Sender) fresh(ctx context.Context, h *hop, ts traces) (*session, *Error) {
	var place *pass
	if h.gate != nil {
		want := pass{gate: h.gate, site: h.site, host: h.host.Name, addr: h.addr.Addr()}
		var err error
		var other *session
		place, other, err = h.gate.enter(ctx, &s.pool, want, func() *session { return s.kept(h, ts) })
		switch {
		case err != nil:
			return nil, h.fail(StageConnect, NotNow, "4.4.7", err)
		case other != nil:
			return other, nil
		}
	}
	made, err := s.connect(ctx, h, ts, place)
	if err != nil {
		return nil, err
	}
	ts.secured(h.host.Name, h.addr, made.protection)
	return made, nil
}

// connect dials, reads the greeting, says EHLO, brings up the TLS that the policy
// asks for, and logs in (RFC 5321 sections 3.1 and 3.2, RFC 3207, RFC 4954).
func (s *Sender) connect(ctx context.Context, h *hop, ts traces, place *pass) (*session, *Error) {
	var conn net.Conn
	settled := false
	defer func() {
		if !settled { // a hook of the application's panicked
			abandon(conn)
			place.leave()
		}
	}()
	ts.connect(h.host.Name, h.addr)
	var err error
	conn, err = s.dial(ctx, h.addr, h.source)
	ts.connected(h.host.Name, h.addr, err)
	if err != nil {
		settled = true
		place.leave()
		return nil, h.fail(StageConnect, NotNow, "4.4.1", err)
	}
	made := &session{
		key: h.key(), addr: h.addr.String(), expires: h.policy.Expires, born: time.Now(), pass: place,
	}
	made.Session, err = smtp.New(conn, s.sessionConfig(h))
	if err != nil {
		settled = true
		conn.Close()
		place.leave()
		return nil, h.fail(StageHello, NotNow, "4.3.5", err)
	}
	made.follow(h, ts)
	err = s.open(ctx, h, made)
	settled = true
	if err != nil {
		s.pool.end(made)
		return nil, s.judge(h, err)
	}
	return made, nil
}

// abandon closes a connection that nobody will say goodbye on.
func abandon(conn net.Conn) {
	if conn != nil {
		_ = conn.Close()
	}
}

// open goes from the greeting to a session that gives what the policy asks.
func (s *Sender) open(ctx context.Context, h *hop, made *session) error {
	made.protection = Protection{Level: mx.TLSNone}
	if h.host.ImplicitTLS {
		if err := made.Handshake(ctx, s.tlsConfig(h)); err != nil {
			return err
		}
		made.protection = h.protection()
	}
	if err := made.Greet(ctx); err != nil {
		return err
	}
	if err := made.Hello(ctx); err != nil {
		return err
	}
	if err := s.secure(ctx, h, made); err != nil {
		return err
	}
	if s.isSelf(made.Extensions().Greeting) {
		return errSelf
	}
	return s.login(ctx, h, made)
}

// protection is what TLS that came up as the policy asks is worth.
func (h *hop) protection() Protection {
	if h.policy.Level < mx.TLSVerify {
		return Protection{Level: mx.TLSEncrypt}
	}
	return Protection{Level: mx.TLSVerify, Source: h.policy.Source}
}

// Findings of our own about a session.
var (
	errSelf  = errors.New("the host answers with our own name: mail loop")
	errNoTLS = errors.New("the host does not offer STARTTLS, which is required")
)

// isSelf reports whether a name a server gives itself is one of ours: a host
// that is this host under another address (RFC 5321 section 6.3).
func (s *Sender) isSelf(name string) bool {
	name = strings.TrimSuffix(name, ".")
	for _, self := range s.Self {
		if strings.EqualFold(name, strings.TrimSuffix(self, ".")) {
			return true
		}
	}
	return false
}

// secure brings up TLS as far as the level asks. What was achieved is checked
// here, right before the session may carry mail (RFC 3207 section 4.1).
func (s *Sender) secure(ctx context.Context, h *hop, made *session) error {
	level := h.level()
	if level == mx.TLSNone || h.host.ImplicitTLS {
		return nil
	}
	if !made.Extensions().StartTLS {
		if level >= mx.TLSEncrypt {
			return errNoTLS
		}
		return nil
	}
	if err := made.StartTLS(ctx, s.tlsConfig(h)); err != nil {
		if level == mx.TLSMay && made.Reusable() {
			return nil // refused, politely: the session goes on in clear
		}
		return err
	}
	if err := made.Hello(ctx); err != nil {
		return err
	}
	made.protection = h.protection()
	return nil
}
