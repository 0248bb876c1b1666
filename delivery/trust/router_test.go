package trust_test

import (
	"context"
	"net/netip"

	"github.com/nexthop-mail/nexthop/mx"
)

// smartHost is a Router that leads all mail to one host at 192.0.2.1.
type smartHost struct{ host mx.Host }

func (s smartHost) Route(_ context.Context, _, domain string) (mx.Route, error) {
	h := s.host
	h.Addrs = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	return mx.Route{Domain: domain, Via: mx.ViaSmartHost, Hosts: []mx.Host{h}}, nil
}
