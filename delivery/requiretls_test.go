package delivery_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// secured is a message that asks for REQUIRETLS.
func secured(from string) *queue.Message {
	m := message("u@e.test")
	m.From, m.TLS = from, queue.TLSRequired
	return m
}

// TestRequireTLS takes away what RFC 8689 section 4.2.1 asks for, a piece at a time.
func TestRequireTLS(t *testing.T) {
	ca := authority(t)
	const one = "$ORIGIN e.test.\n@ MX 10 mx1\nmx1 A 192.0.2.1\n"
	host := func() *smtptest.Host {
		return &smtptest.Host{Name: "mx1.e.test", Extensions: append(full(), "STARTTLS", "REQUIRETLS"), Authority: ca}
	}
	without := func(h *smtptest.Host, keyword string) {
		h.Extensions = slices.DeleteFunc(h.Extensions, func(e string) bool { return e == keyword })
	}
	type change func(*rig, *smtptest.Host)
	for _, c := range []struct {
		name    string
		change  change
		outcome queue.Outcome
		status  string
	}{
		{"TLS-50 all is there", func(*rig, *smtptest.Host) {}, queue.Delivered, ""},
		{"TLS-50 a policy vouches for the host in place of DNSSEC", func(r *rig, _ *smtptest.Host) {
			r.dns.SetSigned("e.test", false)
			r.sender.Policy = policyFunc(func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error) {
				return delivery.TLSPolicy{Level: mx.TLSVerify, Source: "mta-sts", Vouched: true}, nil
			})
		}, queue.Delivered, ""},
		{"TLS-50, TLS-51 nobody vouches for the MX records", func(r *rig, _ *smtptest.Host) {
			r.dns.SetSigned("e.test", false)
		}, queue.Failed, "5.7.10"},
		{"TLS-50, TLS-51 a policy that does not vouch for the host", func(r *rig, _ *smtptest.Host) {
			r.dns.SetSigned("e.test", false)
			r.sender.Policy = policyFunc(func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error) {
				return delivery.TLSPolicy{Level: mx.TLSVerify}, nil
			})
		}, queue.Failed, "5.7.10"},
		{"TLS-50, TLS-51 no STARTTLS", func(_ *rig, h *smtptest.Host) { without(h, "STARTTLS") }, queue.Failed, "5.7.10"},
		{"TLS-50, TLS-51 a certificate nobody knows", func(_ *rig, h *smtptest.Host) { h.Authority = nil }, queue.Failed, "5.7.10"},
		{"TLS-50, TLS-51 a certificate for another", func(_ *rig, h *smtptest.Host) { h.Name = "mx9.e.test" }, queue.Failed, "5.7.10"},
		{"TLS-50, TLS-51 no REQUIRETLS", func(_ *rig, h *smtptest.Host) { without(h, "REQUIRETLS") }, queue.Failed, "5.7.30"},
		{"TLS-51 trouble at the handshake passes", func(_ *rig, h *smtptest.Host) {
			h.Script = []smtptest.Cue{{At: smtptest.Handshake, Then: smtptest.Close}}
			h.Allow = []smtptest.Rule{}
		}, queue.Deferred, "4.7.5"},
		{"TLS-51 a host that does not answer passes", func(r *rig, _ *smtptest.Host) {
			if err := r.net.Cut("192.0.2.1"); err != nil {
				t.Error(err)
			}
		}, queue.Deferred, "4.4.1"},
		{"TLS-51 no answer from DNS passes", func(r *rig, _ *smtptest.Host) {
			if err := r.dns.Set(mxtest.Rule{Name: "mx1.e.test", Fault: mxtest.ServFail}); err != nil {
				t.Error(err)
			}
		}, queue.Deferred, "4.4.3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := host()
			bubble(t, one, servers(h), func(t *testing.T, r *rig) {
				r.sender.TLSConfig = ca.ClientConfig()
				r.dns.SetSigned("e.test", true)
				c.change(r, h)
				rr := &r.send(t, secured("a@from.test")).Recipients[0]
				if rr.Outcome != c.outcome || c.status != "" && rr.Reply.Enhanced != c.status {
					t.Errorf("%v %s (%v), want %v %s", rr.Outcome, rr.Reply.Enhanced, rr.Err, c.outcome, c.status)
				}
				if got := mails(h) == 1; got != (c.outcome == queue.Delivered) {
					t.Errorf("MAIL was sent: %t", got)
				}
				for _, m := range h.Messages() {
					if !slices.Contains(m.Params, "REQUIRETLS") {
						t.Errorf("MAIL had %q", m.Params)
					}
				}
			})
		})
	}
	t.Run("TLS-51 the next host has what the first lacks, and others use the first", func(t *testing.T) {
		first, second := host(), host()
		second.Name = "mx2.e.test"
		without(first, "REQUIRETLS")
		bubble(t, one+"@ MX 20 mx2\nmx2 A 192.0.2.2\n", servers(first, second), func(t *testing.T, r *rig) {
			r.sender.TLSConfig = ca.ClientConfig()
			r.dns.SetSigned("e.test", true)
			want(t, &r.send(t, secured("a@from.test")).Recipients[0], queue.Delivered, "mx2.e.test", "")
			want(t, &r.send(t, message("u@e.test")).Recipients[0], queue.Delivered, "mx1.e.test", "")
		})
	})
	for name, keyword := range map[string]string{"REQUIRETLS": "REQUIRETLS", "TLS": "STARTTLS"} {
		t.Run("TLS-52 a report is delivered to a host without "+name, func(t *testing.T) {
			h := host()
			without(h, keyword)
			bubble(t, one, servers(h), func(t *testing.T, r *rig) {
				r.sender.TLSConfig = ca.ClientConfig()
				want(t, &r.send(t, secured("")).Recipients[0], queue.Delivered, "mx1.e.test", "")
				if c := strings.Join(h.Commands(), " "); strings.Contains(c, "> REQUIRETLS") {
					t.Errorf("REQUIRETLS was sent: %s", c)
				}
			})
		})
	}
	t.Run("TLS was broken a moment ago, and others went on in clear", func(t *testing.T) {
		h := host()
		for conn := range 2 { // in the form of older clients, too
			h.Script = append(h.Script, smtptest.Cue{At: smtptest.Handshake, Conn: conn + 1, Raw: "\x15\x03\x01\x00\x02\x02\x28", Then: smtptest.Close})
		}
		bubble(t, one, servers(h), func(t *testing.T, r *rig) {
			r.sender.TLSConfig = ca.ClientConfig()
			r.dns.SetSigned("e.test", true)
			for i, m := range []*queue.Message{message("u@e.test"), secured("a@from.test")} {
				rr := &r.send(t, m).Recipients[0]
				if tls := [...]string{"none", "verified"}[i]; rr.Outcome != queue.Delivered || rr.TLS.String() != tls {
					t.Errorf("%v, TLS %v (%v), want %s", rr.Outcome, rr.TLS, rr.Err, tls)
				}
			}
		})
	})
}
