package session

import (
	"context"
	"fmt"
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// TestPolicyIsRaised is that a policy never asks for less than is configured.
func TestPolicyIsRaised(t *testing.T) {
	levels := []mx.TLSLevel{mx.TLSNone, mx.TLSMay, mx.TLSEncrypt, mx.TLSVerify}
	for _, configured := range levels {
		for _, asked := range append(levels, mx.TLSDefault) {
			for _, ofHost := range []bool{true, false} {
				t.Run(fmt.Sprintf("TLS-2 %v asked, %v configured, of the host: %t", asked, configured, ofHost), func(t *testing.T) {
					called := false
					c := Config{Policy: func(context.Context, *mx.Route, *mx.Host) (Policy, error) {
						called = true
						return Policy{Level: asked}, nil
					}}
					host := &mx.Host{Name: "mx.e.test"}
					if ofHost {
						host.TLS = configured
					} else {
						c.TLS = configured
					}
					p, err := c.PolicyFor(t.Context(), &mx.Route{}, host)
					want := max(asked, configured)
					if configured == mx.TLSNone {
						want = mx.TLSNone // an order, about which nobody is asked
					}
					if err != nil || p.Level != want || called != (configured != mx.TLSNone) {
						t.Errorf("level %v (%v), want %v; asked: %t", p.Level, err, want, called)
					}
				})
			}
		}
	}
}

// TestPolicyIsExact: a policy that is exact holds though more is configured for all hosts,
// and not though more is configured for the host.
func TestPolicyIsExact(t *testing.T) {
	for _, c := range []struct {
		name       string
		configured mx.TLSLevel
		host       mx.Host
		asked      mx.TLSLevel
		want       mx.TLSLevel
	}{
		{"less than for all", mx.TLSVerify, mx.Host{}, mx.TLSMay, mx.TLSMay},
		{"none", mx.TLSEncrypt, mx.Host{}, mx.TLSNone, mx.TLSNone},
		{"no level", mx.TLSEncrypt, mx.Host{}, mx.TLSDefault, mx.TLSMay},
		{"more than for all", mx.TLSMay, mx.Host{}, mx.TLSVerify, mx.TLSVerify},
		{"less than the host's", mx.TLSMay, mx.Host{TLS: mx.TLSEncrypt}, mx.TLSNone, mx.TLSEncrypt},
		{"a host with a login", mx.TLSMay, mx.Host{Login: &smarthost.Login{User: "u", Password: "p"}}, mx.TLSMay, mx.TLSVerify},
		{"TLS from the start", mx.TLSMay, mx.Host{ImplicitTLS: true}, mx.TLSNone, mx.TLSEncrypt},
	} {
		t.Run("TLS-2 "+c.name, func(t *testing.T) {
			config := Config{TLS: c.configured, Policy: func(context.Context, *mx.Route, *mx.Host) (Policy, error) {
				return Policy{Level: c.asked, Exact: true}, nil
			}}
			c.host.Name = "mx.e.test"
			p, err := config.PolicyFor(t.Context(), &mx.Route{}, &c.host)
			if err != nil || p.Level != c.want {
				t.Errorf("level %v (%v), want %v", p.Level, err, c.want)
			}
		})
	}
}
