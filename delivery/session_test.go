package delivery_test

import (
	"context"
	"crypto/tls"
	"errors"
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

// authority makes certificates for a test.
func authority(t *testing.T) *smtptest.Authority {
	t.Helper()
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// TestLevels is every TLS level against every kind of host.
func TestLevels(t *testing.T) {
	ca := authority(t)
	hosts := map[string]func() *smtptest.Host{
		"good": func() *smtptest.Host {
			return &smtptest.Host{Name: "mx1.e.test", Extensions: append(full(), "STARTTLS"), Authority: ca}
		},
		"untrusted": func() *smtptest.Host {
			return &smtptest.Host{Name: "mx1.e.test", Extensions: append(full(), "STARTTLS")}
		},
		"wrong name": func() *smtptest.Host {
			return &smtptest.Host{Name: "other.test", Extensions: append(full(), "STARTTLS"), Authority: ca}
		},
		"no STARTTLS": func() *smtptest.Host { return script() },
		"refuses": func() *smtptest.Host {
			return &smtptest.Host{Extensions: append(full(), "STARTTLS"),
				Script: []smtptest.Cue{{At: smtptest.StartTLS, Reply: "454 4.7.0 not now"}}}
		},
		"broken": func() *smtptest.Host {
			return &smtptest.Host{Extensions: append(full(), "STARTTLS"), Allow: []smtptest.Rule{},
				Script: []smtptest.Cue{{At: smtptest.Handshake, Raw: "\x15\x03\x01\x00\x02\x02\x28", Then: smtptest.Close}}}
		},
	}
	type expect struct {
		tls   string // "" is not delivered
		conns int
	}
	cases := []struct {
		name  string
		level mx.TLSLevel
		want  map[string]expect
	}{
		{"TLS-4, TLS-6 may", mx.TLSMay, map[string]expect{
			"good": {"encrypted", 1}, "untrusted": {"encrypted", 1}, "wrong name": {"encrypted", 1},
			"no STARTTLS": {"none", 1}, "refuses": {"none", 1}, "broken": {"none", 3}, // with a second handshake
		}},
		{"TLS-4, TLS-5 encrypt", mx.TLSEncrypt, map[string]expect{
			"good": {"encrypted", 1}, "untrusted": {"encrypted", 1}, "wrong name": {"encrypted", 1},
			"no STARTTLS": {"", 1}, "refuses": {"", 1}, "broken": {"", 2},
		}},
		{"TLS-5 verify", mx.TLSVerify, map[string]expect{
			"good": {"verified", 1}, "untrusted": {"", 1}, "wrong name": {"", 1},
			"no STARTTLS": {"", 1}, "refuses": {"", 1}, "broken": {"", 2},
		}},
		{"none", mx.TLSNone, map[string]expect{
			"good": {"none", 1}, "untrusted": {"none", 1}, "wrong name": {"none", 1},
			"no STARTTLS": {"none", 1}, "refuses": {"none", 1}, "broken": {"none", 1},
		}},
	}
	const one = "$ORIGIN e.test.\n@ MX 10 mx1\nmx1 A 192.0.2.1\n"
	for _, c := range cases {
		for kind, want := range c.want {
			t.Run(c.name+", "+kind, func(t *testing.T) {
				host := hosts[kind]()
				bubble(t, one, servers(host), func(t *testing.T, r *rig) {
					r.sender.TLS = c.level
					r.sender.TLSConfig = ca.ClientConfig()
					report := r.send(t, message("u@e.test"))
					synctest.Wait()
					checkTLS(t, &report.Recipients[0], host, want.tls)
					if n := len(host.Connections()); n != want.conns {
						t.Errorf("%d connections, want %d", n, want.conns)
					}
				})
			})
		}
	}
}

// checkTLS checks the protection a message travelled under; none at all means
// that no MAIL was ever seen.
func checkTLS(t *testing.T, r *delivery.RecipientReport, host *smtptest.Host, level string) {
	t.Helper()
	if level == "" {
		if r.Outcome != queue.Deferred || r.Err.Stage != delivery.StageStartTLS || !strings.HasPrefix(r.Err.Enhanced, "4.7.") {
			t.Errorf("%v, %v %s: %v", r.Outcome, r.Err.Stage, r.Err.Enhanced, r.Err)
		}
		for _, cmd := range host.Commands() {
			if strings.HasPrefix(strings.ToUpper(cmd), "MAIL") {
				t.Errorf("the host saw %q", cmd)
			}
		}
		return
	}
	if r.Outcome != queue.Delivered || r.TLS.String() != level {
		t.Errorf("%v, TLS %v (%v), want %s", r.Outcome, r.TLS, r.Err, level)
	}
	if m := host.Messages(); len(m) != 1 || m[0].TLS != (level != "none") {
		t.Errorf("messages %+v", m)
	}
}

// TestLiteralName is TLS with an address literal: no name is sent, and the
// certificate is for the address (RFC 6066 section 3).
func TestLiteralName(t *testing.T) {
	ca := authority(t)
	for to, name := range map[string]string{"u@[192.0.2.1]": "192.0.2.1", "u@[IPv6:2001:db8::1]": "2001:db8::1"} {
		t.Run(to, func(t *testing.T) {
			host := &smtptest.Host{Extensions: append(full(), "STARTTLS")}
			var sent []string
			host.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				sent = append(sent, hello.ServerName)
				cert, err := ca.Certificate(name)
				return &cert, err
			}}
			bubble(t, "", map[string]smtptest.Server{name: host}, func(t *testing.T, r *rig) {
				r.sender.TLS, r.sender.TLSConfig = mx.TLSVerify, ca.ClientConfig()
				checkTLS(t, &r.send(t, message(to)).Recipients[0], host, "verified")
				if !slices.Equal(sent, []string{""}) {
					t.Errorf("names sent: %q, want none", sent)
				}
			})
		})
	}
}

// TestPolicy is the seam where DANE and MTA-STS plug in.
func TestPolicy(t *testing.T) {
	ca := authority(t)
	host := func(name string) *smtptest.Host {
		return &smtptest.Host{Name: name, Extensions: append(full(), "STARTTLS"), Authority: ca}
	}
	const shared = "$ORIGIN a.test.\n@ MX 10 mx.m.test.\n$ORIGIN b.test.\n@ MX 10 mx.m.test.\n$ORIGIN m.test.\nmx A 192.0.2.1\n"
	t.Run("SMTP-43 a policy's session serves nobody else, and the other way round", func(t *testing.T) {
		h := host("mx.m.test")
		bubble(t, shared, servers(h), func(t *testing.T, r *rig) {
			r.sender.TLSConfig = ca.ClientConfig()
			r.sender.Policy = policyFunc(func(route *mx.Route, _ *mx.Host) (delivery.TLSPolicy, error) {
				if route.Domain == "b.test" {
					return delivery.TLSPolicy{Level: mx.TLSVerify, Source: "mta-sts", Key: "b"}, nil
				}
				return delivery.TLSPolicy{}, nil
			})
			for i, c := range []struct{ to, tls string }{
				{"u@a.test", "encrypted"}, {"u@b.test", "mta-sts"}, {"u@a.test", "encrypted"}, {"u@b.test", "mta-sts"},
			} {
				report := r.send(t, message(c.to))
				if got := report.Recipients[0].TLS.String(); got != c.tls {
					t.Errorf("%s: TLS %s, want %s", c.to, got, c.tls)
				}
				if got := report.Recipients[0].Attempts[0].Reused; got != (i >= 2) {
					t.Errorf("%s: reused %t", c.to, got)
				}
			}
			if n := len(h.Connections()); n != 2 {
				t.Errorf("%d connections, want 2", n)
			}
		})
	})
	t.Run("SMTP-43 a session that satisfies one policy serves no other", func(t *testing.T) {
		h := host("mx.m.test")
		bubble(t, shared, servers(h), func(t *testing.T, r *rig) {
			r.sender.TLSConfig = ca.ClientConfig()
			r.sender.Policy = policyFunc(func(route *mx.Route, _ *mx.Host) (delivery.TLSPolicy, error) {
				return delivery.TLSPolicy{Level: mx.TLSVerify, Source: "mta-sts", Key: route.Domain}, nil
			})
			for i, to := range []string{"u@a.test", "u@b.test", "v@a.test", "v@b.test"} {
				report := r.send(t, message(to))
				if got := report.Recipients[0].Attempts[0].Reused; got != (i >= 2) {
					t.Errorf("%s: reused %t", to, got)
				}
			}
			if n := len(h.Connections()); n != 2 {
				t.Errorf("%d connections, want one for each policy", n)
			}
		})
	})
	t.Run("a policy nobody knows for now leaves the host out", func(t *testing.T) {
		first, second := host("mx1.e.test"), host("mx2.e.test")
		bubble(t, zone, servers(first, second), func(t *testing.T, r *rig) {
			r.sender.Policy = policyFunc(func(_ *mx.Route, h *mx.Host) (delivery.TLSPolicy, error) {
				if h.Name == "mx1.e.test" {
					return delivery.TLSPolicy{}, errors.New("no TLSA answer")
				}
				return delivery.TLSPolicy{}, nil
			})
			report := r.send(t, message("u@e.test"))
			want(t, &report.Recipients[0], queue.Delivered, "mx2.e.test", "")
			if slices.Contains(r.dialled(), "192.0.2.1") {
				t.Error("the first host was dialled")
			}
		})
	})
	t.Run("TLS-4 a policy's check does not lead to sending in clear", func(t *testing.T) {
		for _, level := range []mx.TLSLevel{mx.TLSMay, mx.TLSEncrypt} {
			h := host("mx.m.test")
			bubble(t, shared, servers(h), func(t *testing.T, r *rig) {
				r.sender.TLSConfig = ca.ClientConfig()
				r.sender.Policy = policyFunc(func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error) {
					return delivery.TLSPolicy{Level: level, Verify: func(tls.ConnectionState) error {
						return errors.New("not the one")
					}}, nil
				})
				checkTLS(t, &r.send(t, message("u@a.test")).Recipients[0], h, "encrypted")
			})
		}
	})
	t.Run("a policy's own check decides", func(t *testing.T) {
		h := host("mx.m.test")
		bubble(t, shared, servers(h), func(t *testing.T, r *rig) {
			r.sender.Policy = policyFunc(func(route *mx.Route, _ *mx.Host) (delivery.TLSPolicy, error) {
				p := delivery.TLSPolicy{Level: mx.TLSVerify, Source: "dane", Key: route.Domain}
				p.Verify = func(tls.ConnectionState) error {
					if route.Domain == "b.test" {
						return errors.New("no TLSA record matches")
					}
					return nil
				}
				return p, nil
			})
			report := r.send(t, message("u@a.test", "u@b.test"))
			if rr := &report.Recipients[0]; rr.Outcome != queue.Delivered || rr.TLS.String() != "dane" {
				t.Errorf("%v, TLS %v: %v", rr.Outcome, rr.TLS, rr.Err)
			}
			if rr := &report.Recipients[1]; rr.Outcome != queue.Deferred || rr.Err.Stage != delivery.StageStartTLS {
				t.Errorf("%v: %v", rr.Outcome, rr.Err)
			}
		})
	})
}

type policyFunc func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error)

func (f policyFunc) TLSPolicy(_ context.Context, r *mx.Route, h *mx.Host) (delivery.TLSPolicy, error) {
	return f(r, h)
}

// TestReuse is what becomes of sessions between messages.
func TestReuse(t *testing.T) {
	sendTwo := func(t *testing.T, host *smtptest.Host, between time.Duration, conns int) {
		t.Helper()
		bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
			for range 2 {
				report := r.send(t, message("u@e.test"))
				want(t, &report.Recipients[0], queue.Delivered, "mx1.e.test", "")
				pass(between)
			}
			if n := len(host.Connections()); n != conns {
				t.Errorf("%d connections, want %d", n, conns)
			}
			if n := len(host.Messages()); n != 2 {
				t.Errorf("%d messages, want 2", n)
			}
		})
	}
	t.Run("SMTP-42 many messages, one connection", func(t *testing.T) {
		host := script()
		bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
			for range 5 {
				r.send(t, message("u@e.test"))
			}
			if n, m := len(host.Connections()), len(host.Messages()); n != 1 || m != 5 {
				t.Errorf("%d connections, %d messages", n, m)
			}
			// Greeting, EHLO, the first message with its content apart, and then
			// one flight a message.
			if n := host.RoundTrips(); n != 8 {
				t.Errorf("%d round trips, want 8: %v", n, host.Connections()[0].Lines)
			}
		})
	})
	t.Run("an idle session is ended politely", func(t *testing.T) { sendTwo(t, script(), 31*time.Second, 2) })
	t.Run("FAULTS reuse: the host closed it meanwhile", func(t *testing.T) {
		sendTwo(t, script(smtptest.Cue{At: smtptest.Final, Nth: 1, Conn: 1, Reply: "250 ok", Then: smtptest.Close}), time.Second, 2)
	})
	t.Run("FAULTS reuse: a 421 waits there", func(t *testing.T) {
		sendTwo(t, script(smtptest.Cue{At: smtptest.Final, Nth: 1, Conn: 1, Raw: "250 ok\r\n421 idle\r\n"}), time.Second, 2)
	})
	t.Run("FAULTS reuse: the host closes just as we use it", func(t *testing.T) {
		sendTwo(t, script(smtptest.Cue{At: smtptest.Mail, Nth: 2, Conn: 1, Then: smtptest.Close}), time.Second, 2)
	})
	t.Run("SMTP-9 what fails at QUIT changes nothing", func(t *testing.T) {
		for _, cue := range []smtptest.Cue{
			{At: smtptest.Quit, Then: smtptest.Close}, {At: smtptest.Quit, Reply: "500 what"}, {At: smtptest.Quit, Then: smtptest.Stall},
		} {
			host := script(cue)
			bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
				report := r.send(t, message("u@e.test"))
				want(t, &report.Recipients[0], queue.Delivered, "mx1.e.test", "")
				start := time.Now()
				if err := r.sender.Close(); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took > 15*time.Second {
					t.Errorf("Close took %v", took)
				}
				if n := len(host.Messages()); n != 1 {
					t.Errorf("%d messages, want 1", n)
				}
			})
		}
	})
	t.Run("a Sender that keeps nothing", func(t *testing.T) {
		host := script()
		bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
			r.sender.MaxIdle = -1
			for range 2 {
				r.send(t, message("u@e.test"))
			}
			pass(time.Second)
			if n := r.net.Open(); n != 0 {
				t.Errorf("%d connections open", n)
			}
		})
	})
}

// TestSelfAnswers is a host that turns out to be this one.
func TestSelfAnswers(t *testing.T) {
	t.Run("QUE-19 a host that answers with our name is a loop", func(t *testing.T) {
		host := &smtptest.Host{Name: "US.from.test", Extensions: full()}
		bubble(t, "$ORIGIN e.test.\n@ MX 10 mx1\nmx1 A 192.0.2.1\n", servers(host), func(t *testing.T, r *rig) {
			r.sender.Self = []string{"us.from.test"}
			report := r.send(t, message("u@e.test"))
			want(t, &report.Recipients[0], queue.Failed, "mx1.e.test", "5.4.6")
			if len(host.Messages()) != 0 {
				t.Error("a message arrived")
			}
		})
	})
}

// TestExplain is the route without a connection.
func TestExplain(t *testing.T) {
	bubble(t, zone, servers(script()), func(t *testing.T, r *rig) {
		r.sender.Self = []string{"mx2.e.test"}
		e, err := r.sender.Explain(t.Context(), "a@from.test", "E.test.")
		if err != nil {
			t.Fatal(err)
		}
		const text = "E.test.: mail goes by MX records\n" +
			"   1. 10    mx1.e.test 192.0.2.1; TLS if offered, any certificate (configuration)\n" +
			"  --  20    mx2.e.test: it is this host\n" +
			"  --  30    mx3.e.test: it is no better than this host\n"
		if got := e.String(); got != text {
			t.Errorf("got\n%swant\n%s", got, text)
		}
		if len(r.net.Dials()) != 0 {
			t.Error("somebody was dialled")
		}
		e, err = r.sender.Explain(t.Context(), "a@from.test", "nowhere.test")
		if err == nil || !strings.Contains(e.String(), "5.1.2") {
			t.Errorf("%v, %s", err, e)
		}
	})
	t.Run("the router is told who sends, as it is for a message", func(t *testing.T) {
		asked := &bySender{}
		sender := &delivery.Sender{Router: asked}
		defer sender.Close()
		_, _ = sender.Explain(t.Context(), "a@from.test", "e.test")
		_, _ = sender.Send(t.Context(), message("u@e.test"))
		if !slices.Equal(asked.from, []string{"a@from.test", "a@from.test"}) {
			t.Errorf("asked about mail from %q", asked.from)
		}
	})
}

// bySender is a router that notes whose mail it is asked about, and has no
// route for any.
type bySender struct{ from []string }

func (r *bySender) Route(_ context.Context, from, _ string) (mx.Route, error) {
	r.from = append(r.from, from)
	return mx.Route{}, errors.New("no route for now")
}
