package delivery_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestUnableHostIsNamed: one host cannot take the message at all, and another one fails
// for now. The error says both: that host will never help, and the mail depends on the
// other.
func TestUnableHostIsNamed(t *testing.T) {
	wide := "From: a@from.test\r\nSubject: j\u00f6\r\n\r\nbody\r\n"
	lacksUTF8 := func() *smtptest.Host { return &smtptest.Host{Extensions: []string{"8BITMIME"}} }
	header := func(m *queue.Message) { m.Content, m.UTF8 = queue.String(wide), true }
	for _, c := range []struct {
		name   string
		zone   string
		host   func() *smtptest.Host
		change func(*queue.Message)
		says   string
	}{
		{"I18N-8 a header that needs SMTPUTF8", "@ MX 10 able\n@ MX 20 down\n", lacksUTF8, header, "lacks SMTPUTF8"},
		{"I18N-8 the other host is preferred", "@ MX 10 down\n@ MX 20 able\n", lacksUTF8, header, "lacks SMTPUTF8"},
		{"I18N-8 an address that needs SMTPUTF8", "@ MX 10 able\n@ MX 20 down\n", lacksUTF8, func(m *queue.Message) {
			m.Recipients[0].Address = "j\u00f6@e.test"
		}, "needs SMTPUTF8"},
		{"a message that is larger than it takes", "@ MX 10 able\n@ MX 20 down\n", func() *smtptest.Host { return &smtptest.Host{Extensions: []string{"SIZE 10"}} },
			func(*queue.Message) {}, "larger than the server takes"},
		{"it takes mail from nobody", "@ MX 10 able\n@ MX 20 down\n", func() *smtptest.Host {
			return &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Reply: "554 5.3.2 not here"}}}
		}, func(*queue.Message) {}, "554 5.3.2 not here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			zone := "$ORIGIN e.test.\n" + c.zone + "able A 192.0.2.1\ndown A 192.0.2.2\n"
			servers := map[string]smtptest.Server{"192.0.2.1": c.host()}
			bubble(t, zone, servers, func(t *testing.T, r *rig) {
				m := message("u@e.test", "v@e.test")
				c.change(m)
				got := r.send(t, m)
				want(t, &got.Recipients[0], queue.Deferred, "down.e.test", "4.4.1")
				err := got.Recipients[0].Err
				for _, text := range []string{"able.e.test", c.says, "no route"} {
					if !strings.Contains(err.Error(), text) || !strings.Contains(got.Recipients[0].Reply.Text, text) {
						t.Errorf("%v (%q) does not say %q", err, got.Recipients[0].Reply.Text, text)
					}
				}
				if !errors.Is(err, syscall.EHOSTUNREACH) {
					t.Errorf("the cause of %v is lost", err)
				}
			})
		})
	}
}

// TestUnableHostIsNamedBesideAReply: the other host has replied that it fails for now. The
// error has both; the reply is the host's own, as reports quote it.
func TestUnableHostIsNamedBesideAReply(t *testing.T) {
	for name, script := range map[string]smtptest.Cue{
		"greylisted": {At: smtptest.Rcpt, Reply: "451 4.7.1 later"},
		"busy":       {At: smtptest.Banner, Reply: "421 4.3.2 later"},
		"no room":    {At: smtptest.Mail, Reply: "452 4.7.1 later"},
	} {
		t.Run("I18N-8 "+name, func(t *testing.T) {
			zone := "$ORIGIN e.test.\n@ MX 10 unable\n@ MX 20 later\nunable A 192.0.2.1\nlater A 192.0.2.2\n"
			servers := map[string]smtptest.Server{
				"192.0.2.1": &smtptest.Host{Extensions: []string{"8BITMIME"}},
				"192.0.2.2": &smtptest.Host{Extensions: []string{"8BITMIME", "SMTPUTF8"}, Script: []smtptest.Cue{script}},
			}
			bubble(t, zone, servers, func(t *testing.T, r *rig) {
				m := message("u@e.test", "v@e.test")
				m.Content, m.UTF8 = queue.String("From: a@from.test\r\nSubject: j\u00f6\r\n\r\nbody\r\n"), true
				got := r.send(t, m)
				want(t, &got.Recipients[0], queue.Deferred, "later.e.test", script.Reply[4:9])
				rr := &got.Recipients[0]
				event := delivery.Event{Kind: delivery.Deferred, Reply: rr.Reply.Text, Err: rr.Err}
				encoded, err := event.MarshalJSON()
				if err != nil {
					t.Fatal(err)
				}
				for where, text := range map[string]string{
					"error": rr.Err.Error(), "reason": rr.Err.Reason(), "log": event.LogValue().String(),
					"error's log": rr.Err.LogValue().String(), "event": string(encoded),
				} {
					if strings.Count(text, "unable.e.test does not take it: ") != 1 || !strings.Contains(text, "lacks SMTPUTF8") || !strings.Contains(text, "later") {
						t.Errorf("the %s is %s", where, text)
					}
				}
				if text := rr.Reply.Text; text != script.Reply[4:] {
					t.Errorf("the reply is %q, want the host's own", text)
				}
			})
		})
	}
	t.Run("no host but the one that replies", func(t *testing.T) {
		zone := "$ORIGIN e.test.\n@ MX 10 later\nlater A 192.0.2.1\n"
		bubble(t, zone, servers(script(smtptest.Cue{At: smtptest.Rcpt, Reply: "451 4.7.1 later"})), func(t *testing.T, r *rig) {
			if e := r.send(t, message("u@e.test")).Recipients[0].Err; e.Elsewhere != "" || e.Reason() != "451 4.7.1 later" {
				t.Errorf("%q, %q", e.Reason(), e.Elsewhere)
			}
		})
	})
}

// TestUnableHostIsReported: the report to the sender says both as well (I18N-8).
func TestUnableHostIsReported(t *testing.T) {
	zone := bothZone + "$ORIGIN two.test.\n@ MX 10 mx.x.test.\n@ MX 20 gone\ngone A 192.0.2.99\n"
	correspondIn(t, &smtptest.Internet{Zone: zone}, nil, []string{"8BITMIME"}, func(t *testing.T, o *correspondence) {
		o.agent.Settings = delivery.Settings{Warn: -1, Expire: time.Hour, Jitter: -1}
		o.start()
		m := message("u@two.test")
		m.Content, m.UTF8 = queue.String("From: a@from.test\r\nSubject: j\u00f6\r\n\r\nbody\r\n"), true
		o.submit(m)
		pass(2 * time.Hour)
		got := o.one().Recipients[0]
		if text := got.Get("Diagnostic-Code"); !strings.Contains(text, "mx.x.test") || !strings.Contains(text, "lacks SMTPUTF8") {
			t.Errorf("%q does not say what the first host lacks", got)
		}
	})
}
