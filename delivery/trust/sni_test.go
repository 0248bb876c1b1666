package trust_test

import (
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// TestNamesInHandshakes: which name a host is asked for, and that it is one that DNS has.
func TestNamesInHandshakes(t *testing.T) {
	for _, c := range []struct {
		name  string
		host  string // its name after all aliases
		zone  []string
		sts   []string // hosts of a policy
		smart string   // a smart host, if any
		to    string
		want  string
		tls   string
	}{
		{"DANE, the name with the records", "real.test", []string{"e.test. MX 10 mx1.e.test.\nmx1.e.test. CNAME real.test.", "_25._tcp.real.test. RIGHT"}, nil, "", "u@e.test", "real.test", "dane"},
		{"DANE, the alias that has the records", "real.test", []string{"e.test. MX 10 mx1.e.test.\nmx1.e.test. CNAME real.test.", "_25._tcp.mx1.e.test. RIGHT"}, nil, "", "u@e.test", "mx1.e.test", "dane"},
		{"MTA-STS, the name in the MX record", "real.test", []string{"e.test. MX 10 mx1.e.test.\nmx1.e.test. CNAME real.test."}, []string{"mx1.e.test"}, "", "u@e.test", "mx1.e.test", "mta-sts"},
		{"no policy", "mx1.e.test", []string{"e.test. MX 10 mx1.e.test."}, nil, "", "u@e.test", "mx1.e.test", "encrypted"},
		{"capitals in the MX record", "mx1.e.test", []string{"e.test. MX 10 MX1.E.Test."}, []string{"mx1.e.test"}, "", "u@e.test", "mx1.e.test", "mta-sts"},
		{"a domain beyond ASCII", "xn--mller-kva.test", []string{"xn--mller-kva.test. MX 10 xn--mller-kva.test."}, nil, "", "u@MÜLLER.test", "xn--mller-kva.test", "encrypted"},
		{"no MX record", "e.test", nil, nil, "", "u@e.test", "e.test", "encrypted"},
		{"a smart host", "smart.test", nil, nil, "smtp://smart.test", "u@e.test", "smart.test", "encrypted"},
		{"a smart host with DANE", "smart.test", []string{"_25._tcp.smart.test. RIGHT"}, nil, "smtp://smart.test", "u@e.test", "smart.test", "dane"},
		{"a smart host by its address", "smart.test", nil, nil, "smtp://[192.0.2.1]", "u@e.test", "", "encrypted"},
		{"an address", "real.test", nil, nil, "", "u@[192.0.2.1]", "", "encrypted"},
	} {
		t.Run("TLS-8 "+c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				certificate := w.certificate("mx1.e.test", c.host)
				h := w.host(c.host, certificate)
				lines := []string{c.host + ". A 192.0.2.1"}
				for _, line := range c.zone {
					lines = append(lines, strings.Replace(line, "RIGHT", tlsa(certificate), 1))
				}
				if c.sts != nil {
					w.web.set("e.test", "enforce", c.sts...)
					lines = append(lines, sts("e.test", "1"))
				}
				w.start(lines...)
				if c.smart != "" {
					host, err := smarthost.Parse(c.smart)
					if err != nil {
						t.Fatal(err)
					}
					table := &smarthost.Table{Router: &mx.Router{Resolver: w.net, HostLookup: &mx.HostLookup{DNSOnly: true}}}
					if err := table.Set(smarthost.Rules{Default: []smarthost.Host{host}}); err != nil {
						t.Fatal(err)
					}
					w.sender.Router = table
				}
				r := w.send(c.to).Recipients[0]
				if r.Outcome != queue.Delivered || r.TLS.String() != c.tls {
					t.Fatalf("%v, TLS %v: %v, %v", r.Outcome, r.TLS, r.Err, r.Decision)
				}
				if got := h.Connections()[0].TLS.ServerName; got != c.want {
					t.Errorf("the name in the handshake is %q, want %q", got, c.want)
				}
			})
		})
	}
}
