package delivery_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

const oneZone = "$ORIGIN e.test.\n@ MX 10 mx1\nmx1 A 192.0.2.1\n"

// TestOwnNameInAnyForm: a host is this one however either side writes the name.
func TestOwnNameInAnyForm(t *testing.T) {
	for _, c := range []struct {
		self, greeting string
		want           queue.Outcome
	}{
		{"us.test", "us.test", queue.Failed},
		{"us.test.", "us.test", queue.Failed},
		{"us.test", "us.test.", queue.Failed},
		{"us.test.", "US.test.", queue.Failed},
		{"us.test", "mail.us.test", queue.Delivered},
		{"us.test", "us.testing", queue.Delivered},
	} {
		t.Run("QUE-19 we are "+c.self+" and the host says "+c.greeting, func(t *testing.T) {
			bubble(t, oneZone, servers(&smtptest.Host{Name: c.greeting}), func(t *testing.T, r *rig) {
				r.sender.Self = []string{"other.test", c.self}
				want(t, &r.send(t, message("u@e.test")).Recipients[0], c.want, "mx1.e.test", "")
			})
		})
	}
}

// TestPort is the port that is dialled.
func TestPort(t *testing.T) {
	for _, c := range []struct {
		name   string
		sender uint16
		host   mx.Host
		want   uint16
	}{
		{"none is given", 0, mx.Host{}, 25},
		{"the sender's", 2525, mx.Host{}, 2525},
		{"the host's", 2525, mx.Host{Port: 587}, 587},
		{"TLS from the start", 2525, mx.Host{ImplicitTLS: true}, 465},
		{"TLS from the start at a port of its own", 2525, mx.Host{ImplicitTLS: true, Port: 10465}, 10465},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, oneZone, nil, func(t *testing.T, r *rig) {
				c.host.Name, c.host.Addrs = "mx1.e.test", []netip.Addr{netip.MustParseAddr("192.0.2.1")}
				r.sender.Router, r.sender.Port = viaHosts{c.host}, c.sender
				r.send(t, message("u@e.test"))
				if dials := r.net.Dials(); len(dials) != 1 || dials[0].Addr.Port() != c.want {
					t.Errorf("dialled %v, want port %d", dials, c.want)
				}
			})
		})
	}
}

// TestRequiredTLSRefused: where TLS is required, a report says why there is none, and
// nothing is said to the host that TLS would have kept.
func TestRequiredTLSRefused(t *testing.T) {
	ca := authority(t)
	for _, c := range []struct {
		name   string
		host   *smtptest.Host
		change func(*mx.Host)
		text   string // in the report
		status string
	}{
		{
			"STARTTLS is refused",
			&smtptest.Host{Extensions: []string{"STARTTLS"}, Script: []smtptest.Cue{{At: smtptest.StartTLS, Reply: "454 4.7.0 no certificate today"}}},
			func(h *mx.Host) { h.TLS = mx.TLSEncrypt }, "no certificate today", "4.7.0",
		},
		{
			"STARTTLS is not offered", &smtptest.Host{},
			func(h *mx.Host) { h.TLS = mx.TLSEncrypt }, "does not offer STARTTLS", "4.7.4",
		},
		{
			"STARTTLS is not offered and there is a login",
			&smtptest.Host{Extensions: []string{"AUTH PLAIN"}, Users: map[string]string{"user": password}},
			func(h *mx.Host) { h.TLS, h.Login = mx.TLSEncrypt, user() }, "does not offer STARTTLS", "4.7.4",
		},
		{
			"TLS from the start, with a certificate that nobody trusts",
			&smtptest.Host{Name: "mx1.e.test", ImplicitTLS: true, Allow: []smtptest.Rule{smtptest.RuleNoQuit}},
			func(h *mx.Host) { h.ImplicitTLS, h.Port, h.TLS = true, 25, mx.TLSVerify }, "certificate", "4.7.5",
		},
	} {
		t.Run("TLS-5 "+c.name, func(t *testing.T) {
			bubble(t, oneZone, servers(c.host), func(t *testing.T, r *rig) {
				via := mx.Host{Name: "mx1.e.test", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
				c.change(&via)
				r.sender.Router, r.sender.TLSConfig = viaHosts{via}, ca.ClientConfig()
				rr := &r.send(t, message("u@e.test")).Recipients[0]
				want(t, rr, queue.Deferred, "mx1.e.test", c.status)
				if !strings.Contains(rr.Reply.Text, c.text) || rr.Err.Stage != delivery.StageStartTLS {
					t.Errorf("the report says %q at %v, want %q", rr.Reply.Text, rr.Err.Stage, c.text)
				}
				for _, command := range c.host.Commands() {
					if verb, _, _ := strings.Cut(command, " "); verb == "AUTH" || verb == "MAIL" {
						t.Errorf("the host was told %s", command)
					}
				}
			})
		})
	}
}

// TestOursIsNotRemembered: an address that could not be dialled for want of something
// on this machine is dialled for the next message; one that failed by itself is left
// alone where there is another.
func TestOursIsNotRemembered(t *testing.T) {
	for _, c := range []struct {
		err  error
		ours bool
	}{
		{syscall.EMFILE, true}, {syscall.ENFILE, true}, {syscall.ENOBUFS, true}, {syscall.ENOMEM, true},
		{syscall.EADDRNOTAVAIL, true}, {syscall.EADDRINUSE, true}, {syscall.EACCES, true}, {syscall.EPERM, true},
		{syscall.ENETUNREACH, true}, {syscall.ENETDOWN, true},
		{syscall.ECONNREFUSED, false}, {syscall.EHOSTUNREACH, false}, {syscall.ETIMEDOUT, false},
	} {
		t.Run("MX-23 "+c.err.Error(), func(t *testing.T) {
			bubble(t, zone, servers(script(), script()), func(t *testing.T, r *rig) {
				fails, dial := true, r.net.DialContext
				r.sender.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					if fails && strings.HasPrefix(address, "192.0.2.1:") {
						return nil, &net.OpError{Op: "dial", Net: network, Err: c.err}
					}
					return dial(ctx, network, address)
				}
				want(t, &r.send(t, message("u@e.test")).Recipients[0], queue.Delivered, "mx2.e.test", "")
				fails = false
				pass(time.Second)
				next := "mx2.e.test"
				if c.ours {
					next = "mx1.e.test"
				}
				want(t, &r.send(t, message("u@e.test")).Recipients[0], queue.Delivered, next, "")
			})
		})
	}
}

// TestBothChecks: a policy's check of the certificate and the application's own must
// both pass, whichever of them fails, and one of them alone counts, too.
func TestBothChecks(t *testing.T) {
	ca := authority(t)
	refused := errors.New("not the one we know")
	check := func(err error) func(tls.ConnectionState) error { return func(tls.ConnectionState) error { return err } }
	for _, c := range []struct {
		name        string
		own, policy func(tls.ConnectionState) error
		want        queue.Outcome
	}{
		{"both pass", check(nil), check(nil), queue.Delivered},
		{"the policy's fails", check(nil), check(refused), queue.Deferred},
		{"our own fails", check(refused), check(nil), queue.Deferred},
		{"there is the policy's alone, and it passes", nil, check(nil), queue.Delivered},
		{"there is the policy's alone, and it fails", nil, check(refused), queue.Deferred},
		{"there is our own alone, and it passes", check(nil), nil, queue.Delivered},
		{"there is our own alone, and it fails", check(refused), nil, queue.Deferred},
	} {
		t.Run("TLS-5 "+c.name, func(t *testing.T) {
			host := &smtptest.Host{Name: "mx1.e.test", Extensions: append(full(), "STARTTLS"), Authority: ca}
			bubble(t, oneZone, servers(host), func(t *testing.T, r *rig) {
				r.sender.TLSConfig = ca.ClientConfig()
				r.sender.TLSConfig.VerifyConnection = c.own
				r.sender.Policy = policyFunc(func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error) {
					return delivery.TLSPolicy{Level: mx.TLSVerify, Verify: c.policy}, nil
				})
				rr := &r.send(t, message("u@e.test")).Recipients[0]
				if rr.Outcome != c.want || c.want == queue.Deferred && !errors.Is(rr.Err, refused) {
					t.Errorf("%v (%v), want %v", rr.Outcome, rr.Err, c.want)
				}
			})
		})
	}
}

// TestTLSFromTheStartOffersSTARTTLS: a host that has TLS from the start and offers
// STARTTLS inside all the same is not asked for it.
func TestTLSFromTheStartOffersSTARTTLS(t *testing.T) {
	host := &smtptest.Host{ImplicitTLS: true, Script: []smtptest.Cue{{At: smtptest.Hello, Raw: "250-mx1.e.test\r\n250 STARTTLS\r\n"}}}
	bubble(t, oneZone, servers(host), func(t *testing.T, r *rig) {
		r.sender.Router = viaHosts{{Name: "mx1.e.test", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Port: 25, ImplicitTLS: true, TLS: mx.TLSEncrypt}}
		want(t, &r.send(t, message("u@e.test")).Recipients[0], queue.Delivered, "mx1.e.test", "")
	})
}
