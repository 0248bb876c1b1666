package session

import (
	"context"
	"fmt"
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
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
