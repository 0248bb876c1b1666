package delivery_test

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestTimeouts is that each of a Sender's timeouts is the one that ends its step.
func TestTimeouts(t *testing.T) {
	const d = 7 * time.Second
	for _, c := range []struct {
		name     string
		at       smtptest.Stage
		timeouts delivery.Timeouts
		stage    delivery.Stage
	}{
		{"Greeting", smtptest.Banner, delivery.Timeouts{Greeting: d}, delivery.StageBanner},
		{"Hello", smtptest.Hello, delivery.Timeouts{Hello: d}, delivery.StageHello},
		{"Mail", smtptest.Mail, delivery.Timeouts{Mail: d}, delivery.StageMail},
		{"Rcpt", smtptest.Rcpt, delivery.Timeouts{Rcpt: d}, delivery.StageRcpt},
		{"Data", smtptest.Data, delivery.Timeouts{Data: d}, delivery.StageData},
		{"Final", smtptest.Final, delivery.Timeouts{Final: d}, delivery.StageContent},
		{"Auth", smtptest.Auth, delivery.Timeouts{Auth: d}, delivery.StageAuth},
		{"StartTLS", smtptest.StartTLS, delivery.Timeouts{StartTLS: d}, delivery.StageStartTLS},
	} {
		for how, timeouts := range map[string]delivery.Timeouts{"by its field": c.timeouts, "by AtMost": delivery.Timeouts{}.AtMost(d)} {
			t.Run("SMTP-34, SMTP-41 "+c.name+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					host := &smtptest.Host{Script: []smtptest.Cue{{At: c.at, Then: smtptest.Stall}}, Users: map[string]string{"user": password},
						Allow: []smtptest.Rule{smtptest.RuleNoQuit, smtptest.RuleAuthClear}}
					via := onlyHost{level: mx.TLSNone}
					switch c.name {
					case "Auth":
						host.Extensions, via.login = []string{"AUTH PLAIN"}, user()
					case "StartTLS":
						host.Extensions, via.level = []string{"STARTTLS"}, mx.TLSEncrypt
					}
					in := (&smtptest.Internet{Zone: "mx1.e.test. A 192.0.2.1\n", Hosts: map[string]*smtptest.Host{"mx1.e.test": host}}).Start(t)
					sender := &delivery.Sender{Hello: "from.test", Dial: in.DialContext, Router: via, Timeouts: timeouts, MaxIdle: -1}
					defer sender.Close()
					began := time.Now()
					report, _ := sender.Send(t.Context(), message("u@e.test"))
					rr := &report.Recipients[0]
					if took := time.Since(began).Round(time.Second); took != d || rr.Err.Stage != c.stage {
						t.Errorf("%v after %v", rr.Err, took)
					}
				})
			})
		}
	}
	t.Run("SMTP-35 connecting has a time of its own", func(t *testing.T) {
		for fault, c := range map[smtptest.Fault]struct {
			took   time.Duration
			stage  delivery.Stage
			status string
		}{
			smtptest.BlackHole: {3 * time.Second, delivery.StageConnect, "4.4.1"},
			smtptest.NoFault:   {d, delivery.StageBanner, "4.4.2"},
		} {
			synctest.Test(t, func(t *testing.T) {
				in := (&smtptest.Internet{
					Zone: "mx1.e.test. A 192.0.2.1\n", Links: map[string]smtptest.Link{"192.0.2.1": {Fault: fault}},
					Servers: map[string]smtptest.Server{"192.0.2.1": mute{}},
				}).Start(t)
				sender := &delivery.Sender{
					Hello: "from.test", Dial: in.DialContext, Router: onlyHost{level: mx.TLSNone}, MaxIdle: -1,
					ConnectTimeout: 3 * time.Second, Timeouts: delivery.Timeouts{Greeting: d},
				}
				defer sender.Close()
				began := time.Now()
				report, _ := sender.Send(t.Context(), message("u@e.test"))
				rr := &report.Recipients[0]
				if took := time.Since(began).Round(time.Second); took != c.took || rr.Err.Stage != c.stage || rr.Err.Enhanced != c.status {
					t.Errorf("%v (%s) after %v, want %v", rr.Err, rr.Err.Enhanced, took, c)
				}
			})
		}
	})
	t.Run("SMTP-34 AtMost makes no wait longer", func(t *testing.T) {
		given := delivery.Timeouts{Data: time.Second, Write: time.Hour, Backstop: time.Minute}
		got := given.AtMost(3 * time.Minute)
		if got.Data != time.Second || got.Quit != 10*time.Second || got.Mail != 3*time.Minute || got.Write != time.Hour || got.Backstop != time.Minute {
			t.Errorf("%+v", got)
		}
	})
}

// TestSlowRecipients is a message whose every command is answered in time, and that
// takes longer as a whole than any limit on one would be.
func TestSlowRecipients(t *testing.T) {
	for _, extensions := range [][]string{nil, {"PIPELINING"}, {"PIPELINING", "CHUNKING"}} {
		host := func() *smtptest.Host {
			return &smtptest.Host{Extensions: extensions, Script: []smtptest.Cue{{At: smtptest.Rcpt, Delay: 4*time.Minute + 50*time.Second}}}
		}
		var to []string
		for i := range 100 {
			to = append(to, fmt.Sprintf("u%d@e.test", i))
		}
		zone := "e.test. MX 10 mx1.e.test.\nmx1.e.test. A 192.0.2.1\nfrom.test. A 192.0.2.9\n"
		t.Run(fmt.Sprintf("SMTP-34, SMTP-37 a hundred recipients of 4 min 50 s each, by a Sender, %v", extensions), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := (&smtptest.Internet{Zone: zone, Hosts: map[string]*smtptest.Host{"mx1.e.test": host()}}).Start(t)
				sender := &delivery.Sender{Hello: "from.test", Resolver: in, Dial: in.DialContext}
				defer sender.Close()
				if _, err := sender.Send(t.Context(), message(to...)); err != nil {
					t.Error(err)
				}
			})
		})
		t.Run(fmt.Sprintf("SMTP-34, SMTP-37 by an Agent, %v", extensions), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := host()
				o := newOffice(t, &smtptest.Internet{Zone: zone, Hosts: map[string]*smtptest.Host{"mx1.e.test": h}})
				o.start().submit(message(to...))
				pass(12 * time.Hour)
				if d, f := len(o.of(delivery.Delivered)), len(o.of(delivery.Deferred)); d != 100 || f != 0 || len(h.Messages()) != 1 {
					t.Errorf("%d delivered, %d deferred, %d messages", d, f, len(h.Messages()))
				}
			})
		})
	}
}

// TestSecondCopy is that what is sent again after a lost reply is the same message.
func TestSecondCopy(t *testing.T) {
	t.Run("SMTP-21 the second copy is the first, octet for octet", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			host := &smtptest.Host{
				Script: []smtptest.Cue{{At: smtptest.Final, Times: 1, Reply: "250 taken", When: smtptest.AfterClosed}},
				Allow:  []smtptest.Rule{smtptest.RuleNoQuit},
			}
			o := newOffice(t, &smtptest.Internet{
				Zone: "e.test. MX 10 mx1.e.test.\nmx1.e.test. A 192.0.2.1\nfrom.test. A 192.0.2.9\n", Hosts: map[string]*smtptest.Host{"mx1.e.test": host},
			})
			m := message("u@e.test")
			m.Content = queue.String("Message-ID: <one@from.test>\r\nDate: Sat, 01 Jan 2000 00:00:00 +0000\r\nFrom: a@from.test\r\n\r\nbody\r\n")
			o.start().submit(m)
			pass(time.Hour)
			got := host.Messages()
			if len(got) != 2 || string(got[0].Content) != string(got[1].Content) || !strings.Contains(string(got[0].Content), "Message-ID: <one@from.test>\r\n") {
				t.Errorf("%d messages: %+v", len(got), got)
			}
			if n := len(o.of(delivery.UnknownOutcome)); n != 1 {
				t.Errorf("%d unknown outcomes were told", n)
			}
		})
	})
}

// TestSameVersions: a handshake that failed is made again once, with the same versions of TLS.
func TestSameVersions(t *testing.T) {
	for _, level := range []mx.TLSLevel{mx.TLSMay, mx.TLSEncrypt, mx.TLSVerify} {
		t.Run(fmt.Sprintf("TLS-7 every handshake offers the same, at level %v", level), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca, err := smtptest.NewAuthority()
				if err != nil {
					t.Fatal(err)
				}
				config, err := ca.ServerConfig("mx1.e.test")
				if err != nil {
					t.Fatal(err)
				}
				var mu sync.Mutex
				var offers [][]uint16
				config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
					mu.Lock()
					defer mu.Unlock()
					offers = append(offers, slices.Clone(hello.SupportedVersions))
					return nil, fmt.Errorf("not today")
				}
				host := &smtptest.Host{Name: "mx1.e.test", Extensions: []string{"STARTTLS"}, TLS: config, Allow: []smtptest.Rule{smtptest.RuleNoQuit}}
				in := (&smtptest.Internet{Zone: "mx1.e.test. A 192.0.2.1\n", Hosts: map[string]*smtptest.Host{"mx1.e.test": host}}).Start(t)
				sender := &delivery.Sender{Hello: "from.test", Dial: in.DialContext, Router: onlyHost{level: level}, TLSConfig: ca.ClientConfig(), MaxIdle: -1}
				defer sender.Close()
				for range 3 {
					_, _ = sender.Send(t.Context(), message("u@e.test"))
					pass(2 * time.Hour)
				}
				mu.Lock()
				defer mu.Unlock()
				if len(offers) != 6 {
					t.Errorf("%d handshakes, want 6: two an attempt", len(offers))
				}
				for _, o := range offers {
					if !slices.Equal(o, offers[0]) || slices.Min(o) < tls.VersionTLS12 || slices.Max(o) != tls.VersionTLS13 {
						t.Errorf("offered %x, and first %x", o, offers[0])
					}
				}
			})
		})
	}
}
