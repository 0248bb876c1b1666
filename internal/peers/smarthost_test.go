//go:build linux

package peers_test

import (
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// TestSmartHosts goes through two submission servers, killed and restarted in turn,
// and falls back to one of them from MX hosts that are down.
func TestSmartHosts(t *testing.T) {
	w := &world{}
	w.newRoot(t)
	servers := make(map[string]*peers.Server)
	for name, ip := range map[string]string{"one.e.test": "127.0.0.6", "two.e.test": "127.0.0.7"} {
		cert, key := w.pem(t, name)
		if name == "one.e.test" {
			servers[name] = peers.PostfixSubmission(ip, name, cert, key, peers.Dovecot, "PLAIN SCRAM-SHA-256")
		} else {
			servers[name] = peers.EximSubmission(ip, name, cert, key, string(w.rootPEM()), "PLAIN")
		}
		servers[name].Start(t)
	}
	login := &smarthost.Login{User: peers.SubmissionUser, Password: peers.SubmissionPassword}
	one := smarthost.Host{Name: "one.e.test", Port: 587, Login: login}
	two := smarthost.Host{Name: "two.e.test", ImplicitTLS: true, Login: login}
	table := &smarthost.Table{Router: &mx.Router{AllowLoopback: true, Resolver: &mxtest.DNS{
		Zone: "one.e.test. A 127.0.0.6\ntwo.e.test. A 127.0.0.7\ne.test. MX 10 mx.e.test.\nmx.e.test. A 127.0.0.99\n",
	}}}
	// send makes one attempt by a Sender that remembers nothing of earlier ones.
	send := func(t *testing.T, word string, rules smarthost.Rules) *delivery.RecipientReport {
		t.Helper()
		if err := table.Set(rules); err != nil {
			t.Fatal(err)
		}
		s := w.newSender(t)
		s.Router = table
		report, _ := s.Send(t.Context(), message(text+word+"\r\n", "u@e.test"))
		return &report.Recipients[0]
	}
	both := smarthost.Rules{Default: []smarthost.Host{one, two}}
	want := func(t *testing.T, rr *delivery.RecipientReport, host, word string, kind mx.Via) {
		t.Helper()
		if rr.Outcome != queue.Delivered || rr.Host != host || rr.Via != kind || rr.TLS.Level != mx.TLSVerify {
			t.Fatalf("%v by %q as %v (%v), want delivered by %s", rr.Outcome, rr.Host, rr.Via, rr.Err, host)
		}
		arrived(t, servers[host], "/var/vmail", word)
	}
	t.Run("both are up", func(t *testing.T) {
		want(t, send(t, "word-both", both), "one.e.test", "word-both", mx.ViaSmartHost)
	})
	t.Run("MX-22 the first is killed", func(t *testing.T) {
		servers["one.e.test"].Stop()
		want(t, send(t, "word-second", both), "two.e.test", "word-second", mx.ViaSmartHost)
	})
	t.Run("both are killed", func(t *testing.T) {
		servers["two.e.test"].Stop()
		if rr := send(t, "word-none", both); rr.Outcome != queue.Deferred || len(rr.Attempts) != 2 || rr.Err.Stage != delivery.StageConnect {
			t.Errorf("%v after %d attempts, %v, want both connections refused", rr.Outcome, len(rr.Attempts), rr.Err)
		}
	})
	t.Run("the first is back, the second is dead", func(t *testing.T) {
		servers["one.e.test"].Restart(t)
		want(t, send(t, "word-first", both), "one.e.test", "word-first", mx.ViaSmartHost)
	})
	t.Run("QUE-14 the MX host is down, the fallback takes it", func(t *testing.T) {
		want(t, send(t, "word-fallback", smarthost.Rules{Fallback: []smarthost.Host{two, one}}), "one.e.test", "word-fallback", mx.ViaFallback)
	})
}
