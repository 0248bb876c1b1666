package delivery_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// noted is a Trace that notes the name of each hook and what it is told.
func noted(list *[]string) *delivery.Trace {
	note := func(format string, args ...any) { *list = append(*list, fmt.Sprintf(format, args...)) }
	outcome := func(err error) string {
		if err != nil {
			return "fails"
		}
		return "works"
	}
	return &delivery.Trace{
		Route: func(domain string, r mx.Route, err error) {
			note("route of %s: %d hosts, %s", domain, len(r.Hosts), outcome(err))
		},
		Connect: func(host string, addr netip.AddrPort) { note("connect to %s at %s", host, addr) },
		Connected: func(host string, addr netip.AddrPort, err error) {
			note("connecting to %s at %s %s", host, addr, outcome(err))
		},
		Secured: func(host string, addr netip.AddrPort, p delivery.Protection) {
			note("%s at %s is ready, %v", host, addr, p)
		},
		Reused: func(host string, addr netip.AddrPort) { note("%s at %s again", host, addr) },
		Attempt: func(domain string, recipients []string, a delivery.Attempt) {
			note("%s at %s: %v for %s of %s, then %v", a.Host, a.Addr, a.Verdict, strings.Join(recipients, ", "), domain, a.Next)
		},
	}
}

// TestTrace is the hooks in the order in which they are called.
func TestTrace(t *testing.T) {
	ca := authority(t)
	host := &smtptest.Host{Name: "mx2.e.test", Extensions: append(full(), "STARTTLS"), Authority: ca}
	const two = "$ORIGIN e.test.\n@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 192.0.2.1\nmx2 A 192.0.2.2\n"
	bubble(t, two, map[string]smtptest.Server{"192.0.2.2": host}, func(t *testing.T, r *rig) {
		var got []string
		r.sender.Trace, r.sender.TLS, r.sender.TLSConfig = noted(&got), mx.TLSVerify, ca.ClientConfig()
		for range 2 {
			want(t, &r.send(t, message("u@e.test", "v@e.test")).Recipients[0], queue.Delivered, "mx2.e.test", "")
		}
		want := []string{
			"route of e.test: 2 hosts, works",
			"connect to mx1.e.test at 192.0.2.1:25",
			"connecting to mx1.e.test at 192.0.2.1:25 fails",
			"mx1.e.test at 192.0.2.1:25: not now for u@e.test, v@e.test of e.test, then next address",
			"connect to mx2.e.test at 192.0.2.2:25",
			"connecting to mx2.e.test at 192.0.2.2:25 works",
			"mx2.e.test at 192.0.2.2:25 is ready, verified",
			"mx2.e.test at 192.0.2.2:25: taken for u@e.test of e.test, then settled",
			"mx2.e.test at 192.0.2.2:25: taken for v@e.test of e.test, then settled",
			"route of e.test: 2 hosts, works",
			"mx1.e.test at 192.0.2.1:25: not now for u@e.test, v@e.test of e.test, then next address",
			"mx2.e.test at 192.0.2.2:25 again",
			"mx2.e.test at 192.0.2.2:25: taken for u@e.test of e.test, then settled",
			"mx2.e.test at 192.0.2.2:25: taken for v@e.test of e.test, then settled",
		}
		if !slices.Equal(got, want) {
			t.Errorf("the hooks were told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// TestPanicWhileConnecting: where a hook of the application's panics once the
// connection is made, the connection is closed all the same.
func TestPanicWhileConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &smtptest.Network{Servers: servers(&smtptest.Host{Allow: []smtptest.Rule{smtptest.RuleNoQuit}})}
		defer net.Close()
		sender := &delivery.Sender{Hello: "from.test", Router: oneHost{}, Dial: net.DialContext, Trace: &delivery.Trace{
			Connected: func(string, netip.AddrPort, error) { panic("Connected") },
		}}
		defer sender.Close()
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is lost")
				}
			}()
			_, _ = sender.Send(t.Context(), message("u@e.test"))
		}()
		pass(time.Second)
		if n := len(net.Dials()); n != 1 || net.Open() != 0 {
			t.Errorf("%d connections, %d of them open; want 1, closed", n, net.Open())
		}
	})
}

// TestNoHello: without a name for EHLO and an address in its place there is no
// session. That is our own configuration, and no mail is lost for it.
func TestNoHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		sender := &delivery.Sender{Router: oneHost{}, Dial: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
		defer sender.Close()
		report, _ := sender.Send(t.Context(), message("u@e.test"))
		want(t, &report.Recipients[0], queue.Deferred, "mx1.e.test", "4.3.5")
		if _, err := client.Write([]byte("x")); err == nil {
			t.Error("the connection is still open")
		}
	})
}
