package mx_test

import (
	"context"
	"errors"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// netResolver is a net.Resolver that asks a server on loopback.
func netResolver(t *testing.T, d *mxtest.DNS) *net.Resolver {
	t.Helper()
	server := &mxtest.Server{DNS: d}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return resolverAt(server.Addr())
}

func resolverAt(addr string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}}
}

func TestFromNet(t *testing.T) {
	d := &mxtest.DNS{Zone: everything + `
	both.test.  A    192.0.2.1
	both.test.  AAAA 2001:db8::1
	text.test.  TXT  "a" "b"
	_s.test.    SRV  1 2 3 m.test.
	`, Rules: faults}
	r := mx.FromNet(netResolver(t, d))
	tests := []struct {
		name string
		ask  string
		t    mx.Type
		want mx.Answer
	}{
		{"MX", "ok.test", mx.TypeMX, mx.Answer{Status: mx.Success, Name: "ok.test", MX: []mx.MX{{Preference: 10, Host: "m.test"}}}},
		{"null MX", "null.test", mx.TypeMX, mx.Answer{Status: mx.Success, Name: "null.test", MX: []mx.MX{{}}}},
		{"A", "both.test", mx.TypeA, mx.Answer{Status: mx.Success, Name: "both.test", Addrs: addrs("192.0.2.1")}},
		{"AAAA", "both.test", mx.TypeAAAA, mx.Answer{Status: mx.Success, Name: "both.test", Addrs: addrs("2001:db8::1")}},
		{"TXT", "text.test", mx.TypeTXT, mx.Answer{Status: mx.Success, Name: "text.test", TXT: []string{"ab"}}},
		{"SRV", "_s.test", mx.TypeSRV, mx.Answer{Status: mx.Success, Name: "_s.test", SRV: []mx.SRV{{Priority: 1, Weight: 2, Port: 3, Target: "m.test"}}}},
		{"no such name", "gone.test", mx.TypeMX, mx.Answer{Status: mx.NotFound, Name: "gone.test"}},
		{"no such record", "nodata.test", mx.TypeMX, mx.Answer{Status: mx.NotFound, Name: "nodata.test"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := r.Resolve(t.Context(), test.ask, test.t)
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("answer is %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
	for domain, want := range map[string]string{
		"ok.test":       "mx: 10 m.test 192.0.2.25",
		"null.test":     "556 5.1.10 domain takes no mail",
		"implicit.test": "implicit: 0 implicit.test 192.0.2.1",
		"gone.test":     "550 5.1.2 domain has neither a mail exchanger nor an address",
		"nodata.test":   "550 5.1.2 domain has neither a mail exchanger nor an address",
		"servfail.test": later,
		"refused.test":  later,
		"half.test":     later + "; out: 10 gone.test (it has no address), 20 dead.test (no answer about its address for now)",
	} {
		t.Run("MX-37 route of "+domain, func(t *testing.T) {
			route, err := mx.Lookup(t.Context(), r, domain)
			if got := describe(route, err); got != want {
				t.Errorf("route is %s, want %s", got, want)
			}
			if route.Secure || len(route.Hosts) > 0 && route.Hosts[0].Secure != mx.Insecure {
				t.Error("secure")
			}
		})
	}
	t.Run("MX-1 no search list is applied", func(t *testing.T) {
		d.Forget()
		if _, err := mx.Lookup(t.Context(), r, "gone"); err == nil {
			t.Error("a partial name has a route")
		}
		for _, q := range d.Queries() {
			if q.Name != "gone" {
				t.Errorf("asked for %q", q.Name)
			}
		}
		// What the system's search list holds is not ours to say: an absolute
		// name is what keeps it out.
		_, err := r.Resolve(t.Context(), "refused.test", mx.TypeMX)
		if de, ok := errors.AsType[*net.DNSError](err); !ok || de.Name != "refused.test." {
			t.Errorf("error is %v, want one about an absolute name", err)
		}
	})
	t.Run("a type it does not know", func(t *testing.T) {
		if _, err := r.Resolve(t.Context(), "ok.test", mx.TypeTLSA); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("a context that has ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := r.Resolve(ctx, "ok.test", mx.TypeMX)
		wantFailure(t, err, mx.Canceled)
	})
	t.Run("the default resolver is there", func(t *testing.T) {
		if mx.FromNet(nil) == nil {
			t.Error("no resolver")
		}
	})
}

func TestFromNetTimeout(t *testing.T) {
	t.Run("MX-5 a silent server", func(t *testing.T) {
		d := &mxtest.DNS{Zone: everything, Rules: faults}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := mx.FromNet(netResolver(t, d)).Resolve(ctx, "timeout.test", mx.TypeMX)
		wantFailure(t, err, mx.Canceled)
	})
}

func TestFromNetToleratesMalformedRecords(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		records := []string{`e.test. 60 IN MX 5 a\000b.test.`, "e.test. 60 IN MX 10 m.test."}
		if q.Question[0].Name != "e.test." {
			records = []string{q.Question[0].Name + ` 60 IN MX 5 a\000b.test.`}
		}
		x := exchange{query: q}
		_ = w.WriteMsg(x.reply(t, 0, records...))
	})}
	served := make(chan error, 1)
	go func() { served <- server.ActivateAndServe() }()
	defer func() {
		conn.Close()
		<-served
	}()
	r := mx.FromNet(resolverAt(conn.LocalAddr().String()))
	t.Run("MX-5 the good records are used", func(t *testing.T) {
		a, err := r.Resolve(t.Context(), "e.test", mx.TypeMX)
		if err != nil || !reflect.DeepEqual(a.MX, []mx.MX{{Preference: 10, Host: "m.test"}}) {
			t.Errorf("answer is %+v, %v; want the one good record", a, err)
		}
	})
	t.Run("MX-5 nothing but bad records is no absence", func(t *testing.T) {
		a, err := r.Resolve(t.Context(), "f.test", mx.TypeMX)
		if err == nil {
			t.Errorf("answer is %+v, want an error", a)
		}
	})
}
