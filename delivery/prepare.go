package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// Validate reports all invalid fields at once by their names, or nil if there are none.
// A Sender with invalid fields defers every message with the same error, because a
// mistake in the configuration must not bounce mail. A Resolver beside a Router is
// reported, but does no harm. If the Policy or the Router has a method Validate, its
// problems are included. If neither Router nor Resolver is set, the system must have
// resolvers.
func (s *Sender) Validate() error {
	var idle, policy error
	if s.Router != nil && s.Resolver != nil {
		idle = errIdleResolver
	}
	if p, ok := s.Policy.(interface{ Validate() error }); ok {
		policy = p.Validate()
	}
	return errors.Join(idle, policy, s.validate(), s.unroutable())
}

// unroutable returns an error if no mail can be routed: the Router is invalid, or there is
// none and this system has no resolvers.
func (s *Sender) unroutable() error {
	if s.Router == nil && s.Resolver == nil {
		_, err := s.systemResolver()
		return err
	}
	if r, ok := s.Router.(interface{ Validate() error }); ok {
		return r.Validate()
	}
	return nil
}

var errIdleResolver = errors.New("delivery.Sender.Resolver: the Router decides it, and does not look here")

// validate is Validate for those that are about to send.
func (s *Sender) validate() error {
	var problems []error
	wrong := func(field, format string, args ...any) {
		problems = append(problems, fmt.Errorf("delivery.Sender."+field+": "+format, args...))
	}
	if s.Hello != "" {
		if _, err := address.ParseHello(s.Hello); err != nil {
			wrong("Hello", "%w", err)
		}
	}
	for i, name := range s.Self {
		if _, err := address.ParseDomain(name); err != nil {
			wrong(fmt.Sprintf("Self[%d]", i), "%w", err)
		}
	}
	for i, a := range s.SelfAddrs {
		if !a.IsValid() {
			wrong(fmt.Sprintf("SelfAddrs[%d]", i), "not an address")
		}
	}
	if strings.ContainsFunc(s.SelfMark, func(c rune) bool { return c <= ' ' || c > '~' }) {
		wrong("SelfMark", "%q is not one word in ASCII", s.SelfMark)
	}
	s.validateRouter(wrong)
	if s.TLS > mx.TLSVerify {
		wrong("TLS", "unknown level %d", s.TLS)
	}
	if s.Family > mx.IPv6Only {
		wrong("Family", "unknown family %d", s.Family)
	}
	if s.Content > ContentRelay {
		wrong("Content", "unknown policy %d", s.Content)
	}
	for i, a := range s.Source {
		if !a.IsValid() {
			wrong(fmt.Sprintf("Source[%d]", i), "not an address")
		}
	}
	for _, limit := range []struct {
		field string
		value int
	}{
		{"MaxConnections", s.MaxConnections}, {"MaxSessions", s.MaxSessions}, {"MaxDestinations", s.MaxDestinations},
	} {
		if limit.value < 0 {
			wrong(limit.field, "%d is negative", limit.value)
		}
	}
	return errors.Join(problems...)
}

// validateRouter finds the fields that have no effect because there is a Router, and
// the names of this host that the Router does not know.
func (s *Sender) validateRouter(wrong func(field, format string, args ...any)) {
	if s.Router == nil {
		return
	}
	for _, ignored := range []struct {
		field string
		set   bool
	}{
		{"SelfAddrs", len(s.SelfAddrs) > 0}, {"Relay", s.Relay},
		{"AllowLoopback", s.AllowLoopback}, {"RefusePrivate", s.RefusePrivate},
		{"Family", s.Family != mx.BothFamilies}, {"DeferNoSuchDomain", s.DeferNoSuchDomain},
	} {
		if ignored.set {
			wrong(ignored.field, "the Router decides it, and does not look here")
		}
	}
	known, ok := selfOf(s.Router), false
	switch s.Router.(type) {
	case byMX, *smarthost.Table:
		ok = true
	}
	for i, name := range s.Self {
		d, err := address.ParseDomain(name)
		if ok && err == nil && !slices.ContainsFunc(known, func(k string) bool {
			other, err := address.ParseDomain(k)
			return err == nil && other.String() == d.String()
		}) {
			wrong(fmt.Sprintf("Self[%d]", i), "%s is not in the Self of the Router, which would use hosts no better than this one", name)
		}
	}
}

// prepare makes of the fields what a Sender works with, once.
func (s *Sender) prepare() {
	s.sessions.Config = s.sessionConfig()
	s.attempts = s.attemptConfig()
	s.chooseRouter()
	if o, ok := s.router.(HostObserver); ok {
		s.attempts.Unreachable = o.Unreachable
	}
}

// route asks the router, or the default one.
func (s *Sender) route(ctx context.Context, from, domain string) (mx.Route, error) {
	s.once.Do(s.prepare)
	if s.broken != nil {
		return mx.Route{}, s.broken
	}
	route, err := s.router.Route(ctx, from, domain)
	if err == nil {
		route.Via = cmp.Or(route.Via, mx.ViaMX)
	}
	return route, err
}

// chooseRouter makes the default router from the fields, or records why it cannot.
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
		var err error
		if resolver, err = s.systemResolver(); err != nil {
			s.broken = &session.ConfigError{Err: err}
			return
		}
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

// systemResolver returns the Resolver of a Sender without one. There is none on a system
// without resolv.conf, such as Windows.
func (s *Sender) systemResolver() (mx.Resolver, error) {
	system := mx.System
	if s.system != nil {
		system = s.system
	}
	client, err := system()
	if err != nil {
		return nil, fmt.Errorf("%w; set delivery.Sender.Resolver (mx.FromNet makes one)", err)
	}
	return &mx.Cache{Resolver: client}, nil
}

// sessionConfig is how the Sender's sessions are made and kept.
func (s *Sender) sessionConfig() session.Config {
	c := session.Config{
		Hello: s.Hello, Self: append(slices.Clone(s.Self), selfOf(s.Router)...), SelfMark: s.SelfMark, Port: s.Port, TLS: s.TLS, TLSConfig: s.TLSConfig,
		Dial: s.Dial, Source: s.Source, ConnectTimeout: s.ConnectTimeout, Timeouts: s.Timeouts.dialogue(),
		MaxIdle: s.MaxIdle, IdleTimeout: s.IdleTimeout,
	}
	if s.Policy != nil {
		c.Policy = func(ctx context.Context, route *mx.Route, host *mx.Host) (session.Policy, error) {
			return s.askPolicy(ctx, s.Policy.TLSPolicy, route, host)
		}
	}
	if operator, ok := s.Policy.(OperatorPolicySource); ok {
		c.Operator = func(ctx context.Context, route *mx.Route, host *mx.Host) (session.Policy, error) {
			return s.askPolicy(ctx, operator.OperatorTLSPolicy, route, host)
		}
	}
	return c
}

// askPolicy asks a source, in the terms of package session.
func (s *Sender) askPolicy(
	ctx context.Context, ask func(context.Context, *mx.Route, *mx.Host) (TLSPolicy, error), route *mx.Route, host *mx.Host,
) (session.Policy, error) {
	asked := *host
	if asked.Port == 0 {
		asked.Port = s.sessions.AddrPort(host, netip.Addr{}).Port()
	}
	p, err := ask(ctx, route, &asked)
	if refused, ok := errors.AsType[*PolicyError](err); ok {
		return session.Policy{}, &session.Refusal{Judgement: session.Judgement{Err: err, Source: refused.Decision.Source, Decision: refused.Decision}}
	} else if err != nil {
		return session.Policy{}, err
	}
	answer := sessionPolicy(&p)
	answer.Domain = route.Domain
	return answer, nil
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
