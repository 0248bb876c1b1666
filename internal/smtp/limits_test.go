package smtp_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// greeted is a session that has read a reply to EHLO made of these lines.
func greeted(t *testing.T, name, ehlo string, f func(*testing.T, *smtp.Extensions)) {
	t.Helper()
	with(t, name, scripted([]smtptest.Cue{{At: smtptest.Hello, Raw: ehlo}}), func(r *rig) {
		r.open()
		f(r.t, r.s.Extensions())
	})
}

func TestExtensions(t *testing.T) {
	greeted(t, "SMTP-6 keywords in any case", "250-h\r\n250-starttls\r\n250 PipeLining\r\n", func(t *testing.T, x *smtp.Extensions) {
		if !x.StartTLS || !x.Pipelining {
			t.Errorf("%+v", x)
		}
	})
	greeted(t, "SMTP-6 the first line is no keyword", "250-SIZE greets you\r\n250 HELP\r\n", func(t *testing.T, x *smtp.Extensions) {
		if x.Size || x.Greeting != "SIZE" {
			t.Errorf("%+v", x)
		}
	})
	greeted(t, "SMTP-6 what is no keyword is passed over", "250-h\r\n250-X-FOO bar\r\n250-AUTH=LOGIN PLAIN\r\n250-\r\n250- SIZE 5\r\n250-\xff\r\n250-DSN \r\n250 SIZE 7\r\n", func(t *testing.T, x *smtp.Extensions) {
		if x.MaxSize != 7 || !x.DSN || x.AuthParameter {
			t.Errorf("%+v", x)
		}
	})
	greeted(t, "SMTP-6 of a keyword that comes twice the first counts", "250-h\r\n250-SIZE 5\r\n250-size 7\r\n250 AUTH plain LOGIN PLAIN\r\n", func(t *testing.T, x *smtp.Extensions) {
		if x.MaxSize != 5 || !slices.Equal(x.Auth, []string{"PLAIN", "LOGIN"}) {
			t.Errorf("%+v", x)
		}
	})
	greeted(t, "SMTP-6 every extension", "250-h\r\n250-"+strings.Join([]string{
		"PIPELINING", "CHUNKING", "BINARYMIME", "8BITMIME", "SMTPUTF8", "STARTTLS", "ENHANCEDSTATUSCODES", "DSN",
		"REQUIRETLS", "DELIVERBY 240", "MT-PRIORITY MIXER", "AUTH PLAIN", "LIMITS MAILMAX=3",
	}, "\r\n250-")+"\r\n250 SIZE\r\n", func(t *testing.T, x *smtp.Extensions) {
		v := reflect.ValueOf(*x)
		for i := range v.NumField() {
			if f := v.Field(i); f.Kind() == reflect.Bool && !f.Bool() {
				t.Errorf("%s is not known", v.Type().Field(i).Name)
			}
		}
	})
	var many strings.Builder
	many.WriteString("250-h\r\n")
	for i := range 100 {
		fmt.Fprintf(&many, "250-X%d\r\n", i)
	}
	many.WriteString("250 SIZE\r\n")
	greeted(t, "SMTP-6 no more than 64 keywords", many.String(), func(t *testing.T, x *smtp.Extensions) {
		if x.Size {
			t.Errorf("the hundred and first was looked at: %+v", x)
		}
	})
}

func TestServerLimits(t *testing.T) {
	for _, c := range []struct {
		params string
		want   smtp.ServerLimits
	}{
		{"RCPTMAX=2", smtp.ServerLimits{RcptMax: 2}},
		{"rcptmax=2 MailMax=30 RCPTDOMAINMAX=999999", smtp.ServerLimits{RcptMax: 2, MailMax: 30, RcptDomainMax: 999999}},
		{"RCPTMAX=0", smtp.ServerLimits{}},
		{"RCPTMAX=x MAILMAX=3", smtp.ServerLimits{MailMax: 3}},
		{"RCPTMAX=1000000 MAILMAX=3", smtp.ServerLimits{MailMax: 3}},
		{"RCPTMAX=02 MAILMAX=3", smtp.ServerLimits{MailMax: 3}},
		{"RCPTMAX=-2 MAILMAX=3", smtp.ServerLimits{MailMax: 3}},
		{"RCPTMAX MAILMAX=3", smtp.ServerLimits{MailMax: 3}},
		{"SOMETHING=new MAILMAX=3 FLAG", smtp.ServerLimits{MailMax: 3}},
		{"RCPTMAX=2;3 MAILMAX=3", smtp.ServerLimits{}},
		{"RCPTMAX= MAILMAX=3", smtp.ServerLimits{}},
		{"=2 MAILMAX=3", smtp.ServerLimits{}},
		{"MAILMAX=3  RCPTMAX=2", smtp.ServerLimits{}},
		{"MAILMAX=3 MAILMAX=2", smtp.ServerLimits{}},
		{"MAIL.MAX=3 RCPTMAX=2", smtp.ServerLimits{}},
		{"", smtp.ServerLimits{}},
	} {
		greeted(t, "EXT-27 LIMITS "+c.params, "250-h\r\n250 LIMITS "+c.params+"\r\n", func(t *testing.T, x *smtp.Extensions) {
			if x.Limits != c.want {
				t.Errorf("%+v, wanted %+v", x.Limits, c.want)
			}
		})
	}
	for name, ext := range modes() {
		with(t, "EXT-27 RCPTMAX=2 makes three transactions of five recipients, "+name, offering(append(ext, "LIMITS RCPTMAX=2")...), func(r *rig) {
			r.open()
			tx := message(recipients(5)...)
			r.wantStates(r.send(tx), "delivered", "delivered", "not tried", "not tried", "not tried")
			tx.To = tx.To[2:]
			r.wantRcpts(r.sendAll(tx), "delivered", "delivered", "delivered")
			if n := len(r.host.Messages()); n != 3 {
				r.t.Errorf("%d messages", n)
			}
		})
		with(t, "EXT-27 RCPTDOMAINMAX=2, three domains, "+name, offering(append(ext, "LIMITS RCPTDOMAINMAX=2")...), func(r *rig) {
			r.open()
			all := r.sendAll(message("u@a.test", "u@b.test", "u@c.test", "v@a.test"))
			r.wantRcpts(all, "delivered", "delivered", "delivered", "delivered")
			if n := len(r.host.Connections()); n != 2 {
				r.t.Errorf("%d connections", n)
			}
		})
	}
	with(t, "EXT-27 a session at its limit of domains asks for a new one", offering("LIMITS RCPTDOMAINMAX=1"), func(r *rig) {
		r.warm()
		res := r.send(message("u@other.test"))
		r.wantStates(res, "not tried")
		wantErr(r.t, res.Rcpts[0].Err, smtp.StageMail, smtp.Exhausted)
		if !res.Stale || r.s.Reusable() {
			r.t.Errorf("result %+v", res)
		}
	})
	low := offering("LIMITS RCPTMAX=3")
	low.MaxRecipients = 1
	with(t, "EXT-27 a limit lower than the one stated is obeyed at once", low, func(r *rig) {
		r.open()
		r.wantStates(r.send(message(recipients(3)...)), "delivered", "not tried", "not tried")
		r.wantStates(r.send(message(recipients(3)...)), "delivered", "not tried", "not tried")
		if n := strings.Count(strings.Join(r.commands(), "\n"), "RCPT"); n != 4 {
			r.t.Errorf("said %q", r.commands())
		}
	})
}
