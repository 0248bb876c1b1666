package delivery_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestCodesAnywhere is a code that means the same whatever command it answers: the
// mail is deferred, and where it is about the login the operator is told.
func TestCodesAnywhere(t *testing.T) {
	stages := []smtptest.Stage{smtptest.Banner, smtptest.Hello, smtptest.Mail, smtptest.Rcpt, smtptest.Data, smtptest.Final}
	for reply, login := range map[string]bool{
		"530 SMTP authentication is required.":          true,
		"530 5.7.0 Must issue a STARTTLS command first": true,
		"534 5.7.9 too weak":                            true,
		"535 5.7.8 who are you":                         true,
		"538 5.7.11 not in clear":                       true,
		"550 5.7.8 log in":                              true,
		"554 5.7.11 not in clear":                       true,
		"454 4.7.0 later":                               false,
		"421 4.3.2 closing":                             false,
		"432 4.7.12 a new password":                     false,
	} {
		for _, at := range stages {
			if (at == smtptest.Banner || at == smtptest.Hello) && reply[:2] == "55" {
				continue // no status there (RFC 2034 section 4)
			}
			t.Run("EXT-20, QUE-15, SMTP-19 "+reply+" at "+at.String(), func(t *testing.T) {
				host := func() *smtptest.Host { return &smtptest.Host{Script: []smtptest.Cue{{At: at, Reply: reply}}} }
				zone := "$ORIGIN e.test.\n@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 192.0.2.1\nmx2 A 192.0.2.2\nfrom.test. A 192.0.2.9\n"
				synctest.Test(t, func(t *testing.T) {
					in := (&smtptest.Internet{Zone: zone, Hosts: map[string]*smtptest.Host{"mx1.e.test": host(), "mx2.e.test": host()}}).Start(t)
					sender := &delivery.Sender{Hello: "from.test", Resolver: in, Dial: in.DialContext}
					defer sender.Close()
					report, _ := sender.Send(t.Context(), message("u@e.test"))
					rr := &report.Recipients[0]
					if rr.Outcome != queue.Deferred || rr.Err.LoginRefused() != login {
						t.Errorf("%v, about the login: %t (%v)", rr.Outcome, rr.Err.LoginRefused(), rr.Err)
					}
				})
				synctest.Test(t, func(t *testing.T) {
					o := newOffice(t, &smtptest.Internet{Zone: zone, Hosts: map[string]*smtptest.Host{"mx1.e.test": host(), "mx2.e.test": host()}})
					o.start().submit(message("u@e.test"))
					pass(time.Hour)
					if n := len(o.of(delivery.Failed)); n != 0 {
						t.Errorf("%d recipients failed for good", n)
					}
					if n := len(o.of(delivery.LoginRefused)); (n == 1) != login {
						t.Errorf("the operator was told %d times of the login, want it told: %t", n, login)
					}
				})
			})
		}
	}
}

// TestLoginAskedOfOne is a host that asks for a login for one recipient, and takes
// mail without for others: these are not held up.
func TestLoginAskedOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Rcpt, Address: "guarded@e.test", Reply: "530 5.7.0 log in"}}}
		o := newOffice(t, &smtptest.Internet{
			Zone: "e.test. MX 10 mx1.e.test.\nmx1.e.test. A 192.0.2.1\nfrom.test. A 192.0.2.9\n", Hosts: map[string]*smtptest.Host{"mx1.e.test": host},
		})
		o.start().submit(message("u@e.test"))
		pass(time.Minute)
		o.submit(message("guarded@e.test"))
		pass(10 * time.Second)
		o.submit(message("v@e.test"))
		pass(10 * time.Second)
		if n := len(o.of(delivery.Delivered)); n != 2 {
			t.Errorf("%d of 2 delivered: one recipient holds up the others", n)
		}
		if d := o.of(delivery.Deferred); len(d) != 1 || !d[0].Err.LoginRefused() || len(o.of(delivery.LoginRefused)) != 0 {
			t.Errorf("%+v", d)
		}
	})
}

// TestJudgeOfOwn is a table of the application's own that says yes to everything.
func TestJudgeOfOwn(t *testing.T) {
	for _, verdict := range []delivery.Verdict{delivery.Taken, delivery.MaybeTaken, delivery.Verdict(99)} {
		for _, at := range []smtptest.Stage{smtptest.Banner, smtptest.Hello, smtptest.Mail, smtptest.Rcpt, smtptest.Data, smtptest.Final} {
			t.Run(fmt.Sprintf("a refusal at %v is no delivery, though the Judge says %d", at, verdict), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					host := &smtptest.Host{Script: []smtptest.Cue{{At: at, Reply: "550 5.7.1 no"}}}
					in := (&smtptest.Internet{Zone: "mx1.e.test. A 192.0.2.1\n", Hosts: map[string]*smtptest.Host{"mx1.e.test": host}}).Start(t)
					sender := &delivery.Sender{
						Hello: "from.test", Dial: in.DialContext, Router: onlyHost{}, Judge: func(delivery.Stage, int, string) delivery.Verdict { return verdict },
					}
					defer sender.Close()
					report, err := sender.Send(t.Context(), message("u@e.test"))
					rr := &report.Recipients[0]
					if err == nil || rr.Outcome != queue.Deferred || rr.Attempts[0].Verdict != delivery.NotNow {
						t.Errorf("%v, %v", rr.Outcome, err)
					}
				})
			})
		}
	}
}

// TestStatusOfOtherClass is that the code has the class, whatever the status says.
func TestStatusOfOtherClass(t *testing.T) {
	for reply, want := range map[string]queue.Outcome{
		"550 4.2.2 full": queue.Failed, "550 2.1.5 ok": queue.Failed, "450 5.1.1 who": queue.Deferred, "250 5.1.1 who": queue.Delivered,
		"451 5.7.1 later": queue.Deferred, "554 4.7.1 no": queue.Failed,
	} {
		t.Run("EXT-16, SMTP-16 "+reply, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: reply}}}
				in := (&smtptest.Internet{Zone: "mx1.e.test. A 192.0.2.1\n", Hosts: map[string]*smtptest.Host{"mx1.e.test": host}}).Start(t)
				sender := &delivery.Sender{Hello: "from.test", Dial: in.DialContext, Router: onlyHost{}}
				defer sender.Close()
				report, _ := sender.Send(t.Context(), message("u@e.test"))
				if rr := &report.Recipients[0]; rr.Outcome != want {
					t.Errorf("%v, want %v", rr.Outcome, want)
				}
			})
		})
	}
}

// TestLoginOffered is a host that offers its mechanisms in ways of its own, and one
// that chokes on the parameter of MAIL.
func TestLoginOffered(t *testing.T) {
	for _, lines := range []string{"AUTH=PLAIN LOGIN|SIZE", "AUTH|AUTH=PLAIN LOGIN|SIZE", "AUTH GSSAPI NTLM|AUTH PLAIN LOGIN", "auth=login|AUTH=PLAIN"} {
		t.Run("EXT-18 "+lines, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := append([]string{"mx1.e.test"}, strings.Split(lines, "|")...)
				host := &smtptest.Host{
					Extensions: []string{"AUTH PLAIN LOGIN", "SIZE"}, Users: map[string]string{"user": password},
					Script: []smtptest.Cue{{At: smtptest.Hello, Reply: "250-" + strings.Join(all[:len(all)-1], "\n250-") + "\n250 " + all[len(all)-1]}},
					Allow:  []smtptest.Rule{smtptest.RuleAuthClear},
				}
				in := (&smtptest.Internet{Zone: "mx1.e.test. A 192.0.2.1\n", Hosts: map[string]*smtptest.Host{"mx1.e.test": host}}).Start(t)
				sender := &delivery.Sender{Hello: "from.test", Dial: in.DialContext, Router: onlyHost{user(), mx.TLSNone}}
				defer sender.Close()
				if _, err := sender.Send(t.Context(), message("u@e.test")); err != nil {
					t.Error(err)
				}
				if m := host.Messages(); len(m) != 1 || m[0].User != "user" {
					t.Errorf("%+v", m)
				}
			})
		})
	}
}

// TestSubmitter is whom a next hop is told to have submitted a message.
func TestSubmitter(t *testing.T) {
	for name, c := range map[string]struct {
		submitter string
		login     bool
		want      string
	}{
		"EXT-21 known":                          {"e=mc2@e.test", true, "MAIL FROM:<a@from.test> AUTH=e+3Dmc2@e.test"},
		"EXT-21 unknown":                        {"", true, "MAIL FROM:<a@from.test> AUTH=<>"},
		"EXT-21 a host we did not log in to":    {"e=mc2@e.test", false, "MAIL FROM:<a@from.test>"},
		"EXT-21, SMTP-10 octets that end lines": {"a\r\nRCPT TO:<b@e.test>", true, "MAIL FROM:<a@from.test> AUTH=a+0D+0ARCPT+20TO:<b@e.test>"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Extensions: []string{"AUTH PLAIN"}, Users: map[string]string{"user": password}, Allow: []smtptest.Rule{smtptest.RuleAuthClear}}
				o := newOffice(t, &smtptest.Internet{Zone: "mx1.e.test. A 192.0.2.1\nfrom.test. A 192.0.2.9\n", Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
				via := onlyHost{level: mx.TLSNone}
				if c.login {
					via.login = user()
				}
				o.agent.Sender.Router = via
				m := message("u@e.test")
				m.Submitter = c.submitter
				o.start().submit(m)
				pass(time.Minute)
				var mail string
				for _, said := range host.Commands() {
					if strings.HasPrefix(said, "MAIL") {
						mail = said
					}
				}
				if mail != c.want {
					t.Errorf("said %q, want %q", mail, c.want)
				}
			})
		})
	}
}
