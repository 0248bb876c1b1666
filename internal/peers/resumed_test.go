//go:build linux

package peers_test

import (
	"crypto/tls"
	"fmt"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/queue"
)

// resumes sends to the same servers over a connection for each message: Postfix resumes what
// was made under the same policy, and nothing else is offered. Exim has tickets only where
// that is configured; it makes a whole handshake each time.
func (w *trusting) resumes(t *testing.T) {
	for _, h := range w.hops {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(h.name+" "+tls.VersionName(version), func(t *testing.T) {
				config := w.sender.TLSConfig.Clone()
				config.MaxVersion = version
				sender := &delivery.Sender{
					Hello: w.sender.Hello, Resolver: w.sender.Resolver, Router: w.sender.Router, AllowLoopback: w.sender.AllowLoopback,
					TLS: w.sender.TLS, Policy: w.sender.Policy, TLSConfig: config, MaxIdle: -1,
				}
				defer sender.Close()
				got := ""
				for _, c := range []struct{ name, tls string }{{"key", "dane"}, {"bare", "encrypted"}, {"key", "dane"}, {"bare", "encrypted"}, {"key", "dane"}} {
					word := token(t)
					r, _ := sender.Send(t.Context(), message(text+word+"\r\n", "u@"+h.domain(&trustCase{name: c.name})))
					rr := &r.Recipients[0]
					e, _ := rr.Decision.Evidence.(*trust.Evidence)
					if rr.Outcome != queue.Delivered || rr.TLS.String() != c.tls || e == nil || e.TLS == nil {
						t.Fatalf("%v with TLS %v: %v, %v", rr.Outcome, rr.TLS, rr.Err, rr.Decision)
					}
					arrived(t, h.server, "/var/vmail", word)
					got += fmt.Sprintf("%t ", e.TLS.Resumed)
				}
				t.Logf("resumed: %s", got)
				want := "false false true true true "
				if h.name == "exim" {
					want = "false false false false false "
				}
				if got != want {
					t.Errorf("resumed: %s, want %s", got, want)
				}
			})
		}
	}
}
