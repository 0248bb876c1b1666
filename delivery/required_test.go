package delivery_test

import (
	"crypto/tls"
	"fmt"
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

// TestNothingInsideTLS is a host whose handshake ends well and that says nothing in
// the session: it wants a certificate of the client, which TLS 1.3 lets a client
// learn from the first thing it reads.
func TestNothingInsideTLS(t *testing.T) {
	for level, clear := range map[mx.TLSLevel]bool{mx.TLSMay: true, mx.TLSEncrypt: false, mx.TLSVerify: false} {
		t.Run(fmt.Sprintf("TLS-4 at level %v the message goes in clear: %t", level, clear), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca, err := smtptest.NewAuthority()
				if err != nil {
					t.Fatal(err)
				}
				config, err := ca.ServerConfig("mx1.e.test")
				if err != nil {
					t.Fatal(err)
				}
				config.ClientAuth = tls.RequireAnyClientCert
				host := &smtptest.Host{Name: "mx1.e.test", Extensions: []string{"STARTTLS"}, TLS: config, Allow: []smtptest.Rule{smtptest.RuleNoQuit}}
				in := (&smtptest.Internet{Zone: "e.test. MX 10 mx1.e.test.\nmx1.e.test. A 192.0.2.1\n", Hosts: map[string]*smtptest.Host{"mx1.e.test": host}}).Start(t)
				sender := &delivery.Sender{Hello: "from.test", Resolver: in, Dial: in.DialContext, TLS: level, TLSConfig: ca.ClientConfig(), MaxIdle: -1}
				defer sender.Close()
				report, _ := sender.Send(t.Context(), message("u@e.test"))
				rr := &report.Recipients[0]
				if !clear {
					if rr.Outcome != queue.Deferred || slices.ContainsFunc(host.Commands(), func(c string) bool { return strings.HasPrefix(c, "MAIL") }) {
						t.Errorf("%v, said %q", rr.Outcome, host.Commands())
					}
					return
				}
				if rr.Outcome != queue.Delivered || len(rr.Attempts) != 2 || rr.Attempts[0].Next != delivery.InClear || rr.Attempts[0].Doubted != "STARTTLS" ||
					rr.Attempts[1].Without != "STARTTLS" || rr.TLS.Level != mx.TLSNone {
					t.Errorf("%v, %+v", rr.Outcome, rr.Attempts)
				}
				pass(59 * time.Minute) // it is remembered for an hour
				if _, err := sender.Send(t.Context(), message("u@e.test")); err != nil {
					t.Error(err)
				}
				if n := len(in.Network().Dials()); n != 3 {
					t.Errorf("%d connections, want 3: TLS is not tried again yet", n)
				}
				pass(2 * time.Minute)
				if _, err := sender.Send(t.Context(), message("u@e.test")); err != nil {
					t.Error(err)
				}
				if n := len(in.Network().Dials()); n != 5 {
					t.Errorf("%d connections after an hour, want 5: TLS is tried again", n)
				}
			})
		})
	}
}

// TestNeverLess is every form of every inability that would cost security, where
// TLS is required.
func TestNeverLess(t *testing.T) {
	forms := []string{"500", "501", "550", "554", "450", "421", "421-close", "close", "reset", "silence", "nonsense", "two-codes"}
	stages := map[string]smtptest.Cue{
		"EHLO": {At: smtptest.Hello}, "STARTTLS": {At: smtptest.StartTLS}, "the handshake": {At: smtptest.Handshake}, "EHLO inside TLS": {At: smtptest.HelloTLS, Said: "EHLO"},
	}
	for _, required := range []string{"encrypt", "verify", "REQUIRETLS"} {
		for name, when := range stages {
			for _, form := range forms {
				t.Run("TLS-2, TLS-4 "+required+", and "+form+" at "+name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						ca, err := smtptest.NewAuthority()
						if err != nil {
							t.Fatal(err)
						}
						cue := inabilityForm(form)
						cue.At, cue.Said = when.At, when.Said
						host := &smtptest.Host{
							Name: "mx1.e.test", Authority: ca, Extensions: []string{"STARTTLS", "REQUIRETLS"}, Script: []smtptest.Cue{cue},
							Allow: []smtptest.Rule{smtptest.RuleNoQuit},
						}
						in := (&smtptest.Internet{Zone: "mx1.e.test. A 192.0.2.1\n", Hosts: map[string]*smtptest.Host{"mx1.e.test": host}}).Start(t)
						sender := &delivery.Sender{Hello: "from.test", Dial: in.DialContext, TLSConfig: ca.ClientConfig(), Router: onlyHost{}}
						defer sender.Close()
						m := message("u@e.test")
						switch required {
						case "encrypt":
							sender.TLS = mx.TLSEncrypt
						case "verify":
							sender.TLS = mx.TLSVerify
						default:
							m.TLS = queue.TLSRequired
						}
						for range 3 {
							_, _ = sender.Send(t.Context(), m)
							pass(10 * time.Minute)
						}
						for _, c := range host.Connections() {
							for _, l := range c.Lines {
								if l.Client && strings.HasPrefix(l.Text, "MAIL") && c.TLS == nil {
									t.Fatalf("said in clear: %q", host.Commands())
								}
							}
						}
					})
				})
			}
		}
	}
}

// TestRequiredParameters is that a refusal never costs a parameter which the message
// needs.
func TestRequiredParameters(t *testing.T) {
	for _, reply := range []string{"555 5.5.4 what is that", "501 no", "504 no", "550 no", "500 what"} {
		t.Run("SMTP-25 REQUIRETLS stays in MAIL after "+reply, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca, err := smtptest.NewAuthority()
				if err != nil {
					t.Fatal(err)
				}
				host := &smtptest.Host{
					Name: "mx1.e.test", Authority: ca, Extensions: []string{"STARTTLS", "REQUIRETLS", "SIZE", "8BITMIME", "SMTPUTF8"},
					Script: []smtptest.Cue{{At: smtptest.Mail, Said: "REQUIRETLS", Reply: reply}},
				}
				in := (&smtptest.Internet{Zone: "mx1.e.test. A 192.0.2.1\n", Hosts: map[string]*smtptest.Host{"mx1.e.test": host}}).Start(t)
				sender := &delivery.Sender{Hello: "from.test", Dial: in.DialContext, TLSConfig: ca.ClientConfig(), Router: onlyHost{}}
				defer sender.Close()
				m := message("u@e.test")
				m.TLS = queue.TLSRequired
				report, _ := sender.Send(t.Context(), m)
				if rr := &report.Recipients[0]; rr.Outcome != queue.Failed || rr.Err.Code == 0 {
					t.Errorf("%v, %v", rr.Outcome, rr.Err)
				}
				mails := 0
				for _, c := range host.Commands() {
					if strings.HasPrefix(c, "MAIL") {
						mails++
						if !strings.Contains(c, " REQUIRETLS") {
							t.Errorf("said %q", c)
						}
					}
				}
				if mails != 2 {
					t.Errorf("MAIL was said %d times", mails)
				}
			})
		})
	}
	for _, need := range []string{"SMTPUTF8", "BODY=8BITMIME"} {
		t.Run("SMTP-25 "+need+" stays in MAIL, and the refusal stands", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Extensions: []string{"SIZE", "8BITMIME", "SMTPUTF8", "PIPELINING"}, Script: []smtptest.Cue{{At: smtptest.Mail, Said: need, Reply: "555 5.5.4 no"}}}
				in := (&smtptest.Internet{Zone: "mx1.e.test. A 192.0.2.1\n", Hosts: map[string]*smtptest.Host{"mx1.e.test": host}}).Start(t)
				sender := &delivery.Sender{Hello: "from.test", Dial: in.DialContext, Router: onlyHost{}}
				defer sender.Close()
				m := message("u@e.test")
				if need == "SMTPUTF8" {
					m.From = "jö@from.test"
				} else {
					m.Content = queue.String("DKIM-Signature: v=1\r\nSubject: s\r\nMIME-Version: 1.0\r\n\r\ncaf\xe9\r\n") // not to be converted
				}
				report, _ := sender.Send(t.Context(), m)
				if rr := &report.Recipients[0]; rr.Outcome != queue.Failed || rr.Reply.Enhanced != "5.5.4" {
					t.Errorf("%v, %v", rr.Outcome, rr.Err)
				}
				for _, c := range host.Commands() {
					if strings.HasPrefix(c, "MAIL") && !strings.Contains(c, " "+need) {
						t.Errorf("said %q", c)
					}
				}
			})
		})
	}
	t.Run("SMTP-25 556 to RCPT fails with its status", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			host := &smtptest.Host{Extensions: []string{"DSN", "PIPELINING"}, Script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: "556 5.1.10 takes no mail"}}}
			in := (&smtptest.Internet{Zone: "mx1.e.test. A 192.0.2.1\n", Hosts: map[string]*smtptest.Host{"mx1.e.test": host}}).Start(t)
			sender := &delivery.Sender{Hello: "from.test", Dial: in.DialContext, Router: onlyHost{}}
			defer sender.Close()
			m := message("u@e.test")
			m.Recipients[0].Notify = queue.NotifyFailure
			report, _ := sender.Send(t.Context(), m)
			rr := &report.Recipients[0]
			if want(t, rr, queue.Failed, "mx1.e.test", "5.1.10"); rr.Reply.Code != 556 {
				t.Errorf("%+v", rr.Reply)
			}
		})
	})
}

// TestInjectedIntoTLS: octets in clear behind the reply to STARTTLS are somebody else's.
// They are not used, and no mail goes to that address, in clear neither; another host
// may have it.
func TestInjectedIntoTLS(t *testing.T) {
	ca := authority(t)
	for _, level := range []mx.TLSLevel{mx.TLSMay, mx.TLSEncrypt, mx.TLSVerify} {
		t.Run(fmt.Sprintf("TLS-2 level %d", level), func(t *testing.T) {
			injected := &smtptest.Host{
				Name: "mx1.e.test", Extensions: append(full(), "STARTTLS"), Authority: ca,
				Script: []smtptest.Cue{{At: smtptest.StartTLS, Raw: "220 go ahead\r\n250-mx1.e.test\r\n250 AUTH PLAIN\r\n"}},
				Allow:  []smtptest.Rule{smtptest.RuleNoQuit},
			}
			second := &smtptest.Host{Name: "mx2.e.test", Extensions: append(full(), "STARTTLS"), Authority: ca}
			bubble(t, zone, servers(injected, second), func(t *testing.T, r *rig) {
				r.sender.TLS, r.sender.TLSConfig = level, ca.ClientConfig()
				for range 2 { // nor is it remembered as broken TLS
					want(t, &r.send(t, message("u@e.test")).Recipients[0], queue.Delivered, "mx2.e.test", "")
					pass(2 * time.Hour)
				}
				for _, c := range injected.Connections() {
					for _, l := range c.Lines {
						if l.Client && strings.HasPrefix(l.Text, "MAIL") {
							t.Errorf("said %q", l.Text)
						}
					}
				}
				if n := len(injected.Connections()); n != 2 {
					t.Errorf("%d connections to the first host, want one for each message", n)
				}
			})
		})
	}
}

// TestLostAtMailInsideTLS: TLS in which a host has answered EHLO works. What it hangs up
// on after that is no reason to send in clear, though nobody requires TLS.
func TestLostAtMailInsideTLS(t *testing.T) {
	for _, form := range []string{"421-close", "close", "reset", "silence", "nonsense"} {
		t.Run("TLS-4 "+form, func(t *testing.T) {
			cue := inabilityForm(form)
			cue.At = smtptest.Mail
			host := &smtptest.Host{
				Name: "mx1.e.test", Extensions: append(full(), "STARTTLS"), Authority: authority(t), Script: []smtptest.Cue{cue},
				Allow: []smtptest.Rule{smtptest.RuleNoQuit, smtptest.RuleQuitWait},
			}
			bubble(t, single, servers(host), func(t *testing.T, r *rig) {
				for range 5 {
					if rr := r.send(t, message("u@e.test")).Recipients[0]; rr.Outcome != queue.Deferred {
						t.Errorf("%v: %v", rr.Outcome, rr.Err)
					}
					pass(time.Hour)
				}
				said := 0
				for _, c := range host.Connections() {
					for _, l := range c.Lines {
						if !l.Client || !strings.HasPrefix(l.Text, "MAIL") {
							continue
						}
						if said++; c.TLS == nil {
							t.Errorf("said in clear: %q", l.Text)
						}
					}
				}
				if said < 5 {
					t.Errorf("MAIL was said %d times, want it at each attempt", said)
				}
			})
		})
	}
}
