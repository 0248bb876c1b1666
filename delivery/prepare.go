package delivery

import (
	"context"
	"errors"
	"slices"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// prepare makes of the fields what a Sender works with, once.
func (s *Sender) prepare() {
	s.sessions.Config = s.sessionConfig()
	s.attempts = s.attemptConfig()
	s.chooseRouter()
	if o, ok := s.router.(HostObserver); ok {
		s.attempts.Unreachable = o.Unreachable
	}
}

// route asks the router, the default one where none was given.
func (s *Sender) route(ctx context.Context, from, domain string) (mx.Route, error) {
	s.once.Do(s.prepare)
	if s.broken != nil {
		return mx.Route{}, s.broken
	}
	return s.router.Route(ctx, from, domain)
}

// chooseRouter makes the router of the fields, or says why there is none.
func (s *Sender) chooseRouter() {
	if err := s.validate(); err != nil {
		s.broken = &session.ConfigError{Err: err}
		return
	}
	if s.Router != nil {
		s.router = s.Router
		return
	}
	resolver := s.Resolver
	if resolver == nil {
		system, err := mx.System()
		if err != nil {
			s.broken = &session.ConfigError{Err: errors.Join(errNoResolver, err)}
			return
		}
		resolver = &mx.Cache{Resolver: system}
	}
	s.router = ByMX(&mx.Router{
		Resolver:      resolver,
		Self:          s.Self,
		SelfAddrs:     s.SelfAddrs,
		Relay:         s.Relay,
		AllowLoopback: s.AllowLoopback,
		RefusePrivate: s.RefusePrivate,
		Family:        s.Family,

		DeferNoSuchDomain: s.DeferNoSuchDomain,
	})
}

var errNoResolver = errors.New("no resolver is configured on this system")

// sessionConfig is how the Sender's sessions are made and kept.
func (s *Sender) sessionConfig() session.Config {
	c := session.Config{
		Hello: s.Hello, Self: append(slices.Clone(s.Self), selfOf(s.Router)...), Port: s.Port, TLS: s.TLS, TLSConfig: s.TLSConfig,
		Dial: s.Dial, Source: s.Source, ConnectTimeout: s.ConnectTimeout, Timeouts: s.Timeouts.dialogue(),
		MaxIdle: s.MaxIdle, IdleTimeout: s.IdleTimeout,
	}
	if s.Policy != nil {
		c.Policy = func(ctx context.Context, route *mx.Route, host *mx.Host) (session.Policy, error) {
			p, err := s.Policy.TLSPolicy(ctx, route, host)
			return session.Policy(p), err
		}
	}
	return c
}

// dialogue is the timeouts as package smtp has them.
func (t Timeouts) dialogue() smtp.Timeouts {
	return smtp.Timeouts{
		Greeting: t.Greeting, Hello: t.Hello, StartTLS: t.StartTLS,
		Auth: t.Auth, Mail: t.Mail, Rcpt: t.Rcpt, Data: t.Data, Write: t.Write,
		Final: t.Final, Reset: t.Reset, Quit: t.Quit, Backstop: t.Backstop,
	}
}

// attemptConfig is what the Sender's attempts have in common.
func (s *Sender) attemptConfig() attempt.Config {
	c := attempt.Config{
		Sessions: &s.sessions, Content: s.Content.policy(), Convert: s.Convert.conversion(),
		MaxConnections: s.MaxConnections, MaxSessions: s.MaxSessions,
	}
	if s.Judge != nil {
		c.Judge = func(stage attempt.Stage, code int, enhanced string) attempt.Verdict {
			return attempt.Verdict(s.Judge(Stage(stage), code, enhanced))
		}
	}
	return c
}
