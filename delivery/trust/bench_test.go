package trust_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/mx"
)

// nothing is a resolver that knows no records.
type nothing struct{}

func (nothing) Resolve(_ context.Context, name string, _ mx.Type) (mx.Answer, error) {
	return mx.Answer{Name: name, Status: mx.NoData, TTL: time.Minute}, nil
}

// BenchmarkTLSPolicy asks about 1,000 domains of one host of which nothing asks for
// anything, as nearly all do, and has the host judged once. Domains are asked about again
// before an answer may no longer be used, or after that.
func BenchmarkTLSPolicy(b *testing.B) {
	for name, reuse := range map[string]time.Duration{"again": time.Hour, "anew": time.Nanosecond} {
		b.Run(name, func(b *testing.B) {
			s := &trust.Source{Resolver: nothing{}, Store: &mtasts.Dir{Path: b.TempDir()}, Reuse: reuse}
			var routes []*mx.Route
			for i := range 1000 {
				routes = append(routes, &mx.Route{Domain: fmt.Sprintf("domain%d.example", i), Via: mx.ViaMX})
			}
			host := &mx.Host{
				Name: "mx.example.net", Target: "mx.example.net", Port: 25, Secure: mx.Insecure, NameSecure: mx.Insecure,
				Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
			}
			session := &delivery.Handshake{
				Host: host.Name, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Local: netip.MustParseAddrPort("192.0.2.9:1"), Helo: host.Name,
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				p, err := s.TLSPolicy(b.Context(), routes[i%len(routes)], host)
				if err != nil {
					b.Fatal(err)
				}
				if d := p.Judge(session); !d.Accepted {
					b.Fatal(d)
				}
				i++
			}
		})
	}
}
