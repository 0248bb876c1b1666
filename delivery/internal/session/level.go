package session

import (
	"context"
	"errors"

	"github.com/nexthop-mail/nexthop/mx"
)

// Configured is the policy of a host as the operator wants it, whatever its domain asks:
// the configured level and what Operator asks, put together as PolicyFor does.
func (c *Config) Configured(ctx context.Context, route *mx.Route, host *mx.Host) (Policy, error) {
	return c.policyBy(ctx, c.Operator, route, host)
}

// PolicyFor returns the policy of a host: the configured level, raised to what Policy
// requires, or lowered if that is Exact and the host has no level of its own.
func (c *Config) PolicyFor(ctx context.Context, route *mx.Route, host *mx.Host) (Policy, error) {
	return c.policyBy(ctx, c.Policy, route, host)
}

// asks is a function that answers with the TLS a host must give.
type asks func(ctx context.Context, route *mx.Route, host *mx.Host) (Policy, error)

func (c *Config) policyBy(ctx context.Context, ask asks, route *mx.Route, host *mx.Host) (Policy, error) {
	level, err := c.levelFor(host)
	if err != nil {
		return Policy{}, err
	}
	var p Policy
	// TLSNone is an order, not a wish: no policy is asked.
	if ask != nil && level != mx.TLSNone {
		if p, err = ask(ctx, route, host); err != nil {
			return Policy{}, err
		}
	}
	if own := host.TLS != mx.TLSDefault || host.Login != nil || host.ImplicitTLS; own || !p.Exact {
		p.Level = max(p.Level, level)
	} else if p.Level == mx.TLSDefault {
		p.Level = mx.TLSMay
	}
	c.identify(&p, host)
	return p, nil
}

// Invalid levels. None of these is a reason to bounce mail.
var (
	errLoginMay = &loginError{"a login at TLS level may: secrets would go to whoever leaves out STARTTLS; none or encrypt says so by name"}
	errImplicit = &ConfigError{errors.New("TLS level none, and TLS from the start")}
)

// levelFor is the level that is configured for a host: its own, else the
// Config's, which a host with a login or with TLS from the start raises.
func (c *Config) levelFor(host *mx.Host) (mx.TLSLevel, error) {
	if _, err := loginOf(host); err != nil {
		return 0, err
	}
	level := host.TLS
	switch {
	case host.Login != nil && level == mx.TLSMay:
		return 0, errLoginMay
	case host.ImplicitTLS && level == mx.TLSNone:
		return 0, errImplicit
	case host.Login != nil && level == mx.TLSDefault:
		return mx.TLSVerify, nil // RFC 8314 section 5.2
	case level == mx.TLSDefault:
		level = c.TLS
	}
	switch {
	case host.ImplicitTLS:
		return max(level, mx.TLSEncrypt), nil
	case level == mx.TLSDefault:
		return mx.TLSMay, nil
	default:
		return level, nil
	}
}
