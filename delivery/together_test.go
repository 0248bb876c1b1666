package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// provider is zone text for six domains with the hosts of one provider, each with
// numbers and an order of its own, and one domain elsewhere.
const provider = `
$TTL 300
d0.test. MX 10 p1.test.
d0.test. MX 10 p2.test.
d1.test. MX 10 p2.test.
d1.test. MX 10 p1.test.
d2.test. MX 5 p1.test.
d2.test. MX 5 p2.test.
d3.test. MX 0 P1.test.
d3.test. MX 0 p2.test.
d4.test. MX 10 p1.test.
d4.test. MX 10 p2.test.
d5.test. MX 20 p1.test.
d5.test. MX 20 p2.test.
e.test. MX 10 q.test.
p1.test. A 192.0.2.1
p2.test. A 192.0.2.2
q.test. A 192.0.2.3
`

func provided(host func() *smtptest.Host) map[string]*smtptest.Host {
	return map[string]*smtptest.Host{"p1.test": host(), "p2.test": host(), "q.test": host()}
}

// allSix is a message to the six domains, and one elsewhere.
func allSix() *queue.Message {
	return message("u@d0.test", "u@d1.test", "u@d2.test", "u@e.test", "u@d3.test", "u@d4.test", "u@d5.test")
}

// inZone runs f in virtual time with a Sender in a world of its own.
func inZone(t *testing.T, net *smtptest.Internet, f func(t *testing.T, s *delivery.Sender)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		net.Start(t)
		s := &delivery.Sender{Hello: "from.test", Resolver: net, Dial: net.DialContext}
		defer s.Close()
		f(t, s)
	})
}

// TestSendTogether: mail of one call to domains with the same hosts goes in one
// transaction, and what becomes of one domain's is what would have become of it alone.
func TestSendTogether(t *testing.T) {
	t.Run("QUE-12 six domains at one provider: one connection and one transaction", func(t *testing.T) {
		net := &smtptest.Internet{Zone: provider, Hosts: provided(func() *smtptest.Host { return &smtptest.Host{Extensions: full()} })}
		inZone(t, net, func(t *testing.T, s *delivery.Sender) {
			if report, err := s.Send(t.Context(), allSix()); err != nil {
				t.Fatalf("%v: %+v", err, report)
			}
			if n := len(net.Network().Dials()); n != 2 {
				t.Errorf("%d connections, want one to the provider and one elsewhere", n)
			}
			got := append(net.Hosts["p1.test"].Messages(), net.Hosts["p2.test"].Messages()...)
			if len(got) != 1 || fmt.Sprint(got[0].To()) != "[u@d0.test u@d1.test u@d2.test u@d3.test u@d4.test u@d5.test]" {
				t.Errorf("the provider has %d messages, the first to %v", len(got), got[0].To())
			}
		})
	})
	t.Run("QUE-12 a refusal is that recipient's", func(t *testing.T) {
		net := &smtptest.Internet{Zone: provider, Hosts: provided(func() *smtptest.Host {
			return &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{
				{At: smtptest.Rcpt, Address: "u@d2.test", Reply: "550 5.1.1 who"},
				{At: smtptest.Rcpt, Address: "u@d4.test", Reply: "451 4.3.0 later"},
			}}
		})}
		inZone(t, net, func(t *testing.T, s *delivery.Sender) {
			report, _ := s.Send(t.Context(), allSix())
			for i := range report.Recipients {
				want, odd := map[string]queue.Outcome{"u@d2.test": queue.Failed, "u@d4.test": queue.Deferred}[report.Recipients[i].Address]
				if !odd {
					want = queue.Delivered
				}
				if got := report.Recipients[i].Outcome; got != want {
					t.Errorf("%s: %v, want %v", report.Recipients[i].Address, got, want)
				}
			}
		})
	})
	t.Run("MX-11 a host that cannot be looked up keeps its own domain's mail from failing, and no other's", func(t *testing.T) {
		for _, to := range [][]string{{"a@a.test", "b@b.test"}, {"b@b.test", "a@a.test"}} {
			net := &smtptest.Internet{
				Zone:  "a.test. MX 10 x.test.\na.test. MX 20 y.test.\nb.test. MX 10 x.test.\nx.test. A 192.0.2.1\n",
				Hosts: map[string]*smtptest.Host{"x.test": {Script: []smtptest.Cue{{At: smtptest.Banner, Reply: "554 no", Then: smtptest.Close}}}},
				Rules: []mxtest.Rule{{Name: "y.test", Fault: mxtest.ServFail}},
			}
			inZone(t, net, func(t *testing.T, s *delivery.Sender) {
				report, _ := s.Send(t.Context(), message(to...))
				for i := range report.Recipients {
					rr := &report.Recipients[i]
					if want := map[string]queue.Outcome{"a@a.test": queue.Deferred, "b@b.test": queue.Failed}[rr.Address]; rr.Outcome != want {
						t.Errorf("%s: %v, want %v", rr.Address, rr.Outcome, want)
					}
				}
			})
		}
	})
	t.Run("QUE-14 a fallback gets its own domain's mail only", func(t *testing.T) {
		ofA, ofB := &smtptest.Host{Extensions: full()}, &smtptest.Host{Extensions: full()}
		x := &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Reply: "421 no", Then: smtptest.Close}}}
		net := &smtptest.Internet{
			Zone:  "a.test. MX 10 x.test.\nb.test. MX 10 x.test.\nx.test. A 192.0.2.1\nfa.test. A 192.0.2.2\nfb.test. A 192.0.2.3\n",
			Hosts: map[string]*smtptest.Host{"x.test": x, "fa.test": ofA, "fb.test": ofB},
		}
		inZone(t, net, func(t *testing.T, s *delivery.Sender) {
			s.Router, s.Resolver = eachFallback{&mx.Router{Resolver: net}}, nil
			_, _ = s.Send(t.Context(), message("a@a.test", "b@b.test"))
			for name, h := range map[string]*smtptest.Host{"a@a.test": ofA, "b@b.test": ofB} {
				if list := h.Messages(); len(list) != 1 || fmt.Sprint(list[0].To()) != "["+name+"]" {
					t.Errorf("the fallback for %s has %v", name, list)
				}
			}
		})
	})
	t.Run("SMTP-43 domains whose policies differ share no transaction", func(t *testing.T) {
		net := &smtptest.Internet{Zone: provider, Hosts: provided(func() *smtptest.Host {
			return &smtptest.Host{Extensions: append(full(), "STARTTLS")}
		})}
		inZone(t, net, func(t *testing.T, s *delivery.Sender) {
			s.Policy = policyFunc(func(route *mx.Route, _ *mx.Host) (delivery.TLSPolicy, error) {
				if route.Domain == "d3.test" {
					return delivery.TLSPolicy{Level: mx.TLSVerify, Source: "test"}, nil
				}
				return delivery.TLSPolicy{}, nil
			})
			if _, err := s.Send(t.Context(), allSix()); err == nil {
				t.Error("d3.test was delivered to without a valid certificate")
			}
			got := append(net.Hosts["p1.test"].Messages(), net.Hosts["p2.test"].Messages()...)
			if len(got) != 1 || slices.Contains(got[0].To(), "u@d3.test") || len(got[0].To()) != 5 {
				t.Errorf("the provider has %d messages, the first to %v", len(got), got[0].To())
			}
		})
	})
	t.Run("QUE-13 a domain whose DNS is slow holds up the others for a second at most", func(t *testing.T) {
		net := &smtptest.Internet{Zone: provider, Hosts: provided(func() *smtptest.Host { return &smtptest.Host{Extensions: full()} })}
		inZone(t, net, func(t *testing.T, s *delivery.Sender) {
			s.Resolver = slowDNS{net, "d5.test", time.Minute}
			began := time.Now()
			done := make(chan error)
			go func() { _, err := s.Send(t.Context(), allSix()); done <- err }()
			for len(net.Hosts["p1.test"].Messages())+len(net.Hosts["p2.test"].Messages()) == 0 {
				time.Sleep(10 * time.Millisecond)
			}
			if took := time.Since(began); took > 1100*time.Millisecond {
				t.Errorf("the others waited for %v", took)
			}
			if err := <-done; err != nil || time.Since(began) < time.Minute {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			if n := len(net.Network().Dials()); n > 3 {
				t.Errorf("%d connections", n)
			}
		})
	})
	t.Run("a hundred domains without a route each", func(t *testing.T) {
		net := &smtptest.Internet{Zone: provider, Hosts: provided(func() *smtptest.Host { return &smtptest.Host{Extensions: full()} })}
		inZone(t, net, func(t *testing.T, s *delivery.Sender) {
			m := allSix()
			for i := range 100 {
				m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("u@gone%d.test", i)})
			}
			report, _ := s.Send(t.Context(), m)
			for i := range report.Recipients {
				rr := &report.Recipients[i]
				if gone := strings.Contains(rr.Address, "gone"); gone != (rr.Outcome == queue.Failed) || gone == (rr.Outcome == queue.Delivered) {
					t.Errorf("%s: %v", rr.Address, rr.Outcome)
				}
			}
		})
	})
}

// slowDNS takes its time for one name.
type slowDNS struct {
	mx.Resolver
	name string
	wait time.Duration
}

func (r slowDNS) Resolve(ctx context.Context, name string, t mx.Type) (mx.Answer, error) {
	if strings.TrimSuffix(name, ".") == r.name {
		time.Sleep(r.wait)
	}
	return r.Resolver.Resolve(ctx, name, t)
}
