package mx_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// TestProbe: trouble of our own is told from that of a domain.
func TestProbe(t *testing.T) {
	const root = ". 60 IN NS a.root.test.\n. 60 IN SOA a.root.test. x. 1 2 3 4 5\ne.test. MX 10 m.e.test.\n"
	silent := mxtest.Rule{Name: "*", Fault: mxtest.Timeout}
	tests := []struct {
		name  string
		rules [][]mxtest.Rule     // of each server
		kind  mx.ResolveErrorKind // NoAnswer is no trouble
	}{
		{"all is well", [][]mxtest.Rule{nil}, mx.NoAnswer},
		{"the domain's servers fail", [][]mxtest.Rule{{{Name: "e.test", Fault: mxtest.ServFail}}}, mx.NoAnswer},
		{"the domain's servers are silent", [][]mxtest.Rule{{{Name: "e.test", Fault: mxtest.Timeout}}}, mx.NoAnswer},
		{"the only resolver is down", [][]mxtest.Rule{{{Fault: mxtest.Timeout}}}, mx.Timeout},
		{"nobody listens", [][]mxtest.Rule{{{Fault: mxtest.Reset}}}, mx.Unreachable},
		{"both resolvers are down", [][]mxtest.Rule{{silent, {Fault: mxtest.Timeout}}, {{Fault: mxtest.Timeout}}}, mx.Timeout},
		{"one of two is down", [][]mxtest.Rule{{{Fault: mxtest.Timeout}}, nil}, mx.NoAnswer},
		{"the resolver is cut off from the world", [][]mxtest.Rule{{{Fault: mxtest.ServFail}}}, mx.ServFail},
		{"a resolver that does not answer for the root", [][]mxtest.Rule{{{Fault: mxtest.Refused}}}, mx.NoAnswer},
		{"a resolver without a root", [][]mxtest.Rule{{{Fault: mxtest.NoData}}}, mx.NoAnswer},
	}
	for _, test := range tests {
		t.Run("MX-5 "+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var servers []*mxtest.DNS
				for _, rules := range test.rules {
					servers = append(servers, &mxtest.DNS{Zone: root, Rules: rules})
				}
				err := mx.Probe(t.Context(), overDNS(servers...).Resolver)
				if test.kind == mx.NoAnswer {
					if err != nil {
						t.Errorf("trouble where there is none: %v", err)
					}
					return
				}
				wantFailure(t, err, test.kind)
			})
		})
	}
	t.Run("MX-5 what is remembered says nothing about now", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			dns := &mxtest.DNS{Zone: root}
			resolver := overDNS(dns).Resolver
			if a, err := resolver.Resolve(t.Context(), "", mx.TypeNS); err != nil || len(a.NS) != 1 || a.NS[0] != "a.root.test" {
				t.Fatalf("answer is %+v, %v", a, err)
			}
			if err := dns.Set(mxtest.Rule{Fault: mxtest.Timeout}); err != nil {
				t.Fatal(err)
			}
			wantFailure(t, mx.Probe(t.Context(), resolver), mx.Timeout)
		})
	})
	t.Run("a resolver of one's own, and a context that ends", func(t *testing.T) {
		dns := &mxtest.DNS{Zone: root}
		if err := mx.Probe(t.Context(), dns); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), -time.Second)
		defer cancel()
		if err := mx.Probe(ctx, dns); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v, want the context's", err)
		}
	})
}
