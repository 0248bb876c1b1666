package delivery_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestBounceOfNullSender: whatever becomes of mail with a null sender, nobody is told
// but the application.
func TestBounceOfNullSender(t *testing.T) {
	for _, c := range []struct {
		name    string
		script  []smtptest.Cue
		to      string
		expired int
	}{
		{"refused", refuse("550 5.1.1 no"), "u@e.test", 0},
		{"late, and given up", refuse("450 4.2.1 busy"), "u@e.test", 1},
		{"unreachable, and given up", []smtptest.Cue{{At: smtptest.Banner, Then: smtptest.Reset}}, "u@e.test", 1},
		{"without a host", nil, "u@null.test", 0},
	} {
		t.Run("DSN-2 QUE-6 "+c.name, func(t *testing.T) {
			correspond(t, c.script, func(t *testing.T, o *correspondence) {
				o.start()
				m := message(c.to)
				m.From, m.Content = "", queue.String("From: a@from.test\r\nReturn-Path: <a@from.test>\r\nErrors-To: a@from.test\r\n\r\n")
				m.Recipients[0].Notify = queue.NotifyFailure | queue.NotifyDelay
				o.submit(m)
				pass(6 * 24 * time.Hour)
				if len(o.home.Received()) != 0 || len(o.of(delivery.Bounced)) != 0 || len(o.of(delivery.Delayed)) != 0 {
					t.Errorf("%d messages to the header's sender, events %+v", len(o.home.Received()), o.events)
				}
				if got := len(o.of(delivery.Expired)); got != c.expired || o.left() != 0 {
					t.Errorf("%d expired, %d left; want %d and 0", got, o.left(), c.expired)
				}
			})
		})
	}
}

// TestNotify: who is told is NOTIFY's to say, for mail that is refused and for mail
// that is given up alike, and for each recipient alone.
func TestNotify(t *testing.T) {
	kinds := []struct {
		name   string
		notify queue.Notify
		told   bool
	}{
		{"nothing", 0, true},
		{"never", queue.NotifyNever, false},
		{"success", queue.NotifySuccess, false},
		{"delay", queue.NotifyDelay, false},
		{"success-delay", queue.NotifySuccess | queue.NotifyDelay, false},
		{"failure", queue.NotifyFailure, true},
		{"failure-delay", queue.NotifyFailure | queue.NotifyDelay, true},
		{"success-failure-delay", queue.NotifySuccess | queue.NotifyFailure | queue.NotifyDelay, true},
	}
	for _, ends := range []struct{ name, reply string }{{"refused", "550 5.1.1 no"}, {"given up", "450 4.2.1 busy"}} {
		run := func(name string, m *queue.Message, want []string) {
			t.Run(name, func(t *testing.T) {
				correspond(t, refuse(ends.reply), func(t *testing.T, c *correspondence) {
					c.agent.Settings = delivery.Settings{Expire: 12 * time.Hour, Warn: -1, Jitter: -1}
					c.start()
					c.submit(m)
					pass(24 * time.Hour)
					var got []string
					for _, r := range c.reports() {
						for _, f := range r.Recipients {
							if f.Get("Action") == "failed" {
								got = append(got, strings.TrimPrefix(f.Get("Final-Recipient"), "rfc822; "))
							}
						}
					}
					slices.Sort(got)
					if !slices.Equal(got, want) || c.left() != 0 {
						t.Errorf("reported %q, want %q; %d left", got, want, c.left())
					}
					if failed := len(c.of(delivery.Failed)) + len(c.of(delivery.Expired)); failed != len(m.Recipients) {
						t.Errorf("%d failures are told, want %d", failed, len(m.Recipients))
					}
				})
			})
		}
		var all []string
		everybody := message()
		for _, k := range kinds {
			one := message(k.name + "@e.test")
			one.Recipients[0].Notify = k.notify
			everybody.Recipients = append(everybody.Recipients, one.Recipients[0])
			var want []string
			if k.told {
				want = []string{k.name + "@e.test"}
				all = append(all, want...)
			}
			run("DSN-4 "+ends.name+", NOTIFY "+k.name, one, want)
		}
		slices.Sort(all)
		run("DSN-4 DSN-7 "+ends.name+", one message with every NOTIFY", everybody, all)
	}
}

// TestReportedStatus: the status in a report is the host's, if it fits its code; else
// one that code and stage tell.
func TestReportedStatus(t *testing.T) {
	for _, c := range []struct {
		stage smtptest.Stage
		reply string
		want  string
	}{
		{smtptest.Rcpt, "550 5.1.10 x", "5.1.10"},
		{smtptest.Rcpt, "550 5.7.1 x", "5.7.1"},
		{smtptest.Rcpt, "550 4.2.2 x", "5.1.1"},
		{smtptest.Rcpt, "550 2.1.5 x", "5.1.1"},
		{smtptest.Rcpt, "550 5.1 x", "5.1.1"},
		{smtptest.Rcpt, "550 5.1.1000 x", "5.1.1"},
		{smtptest.Rcpt, "550 no such", "5.1.1"},
		{smtptest.Rcpt, "552 full", "5.2.2"},
		{smtptest.Rcpt, "553 what", "5.1.3"},
		{smtptest.Rcpt, "551 moved", "5.1.6"},
		{smtptest.Mail, "552 too big", "5.3.4"},
		{smtptest.Mail, "550 no", "5.7.1"},
		{smtptest.Mail, "553 what", "5.1.7"},
		{smtptest.Final, "552 too big", "5.3.4"},
		{smtptest.Final, "552 5.2.2 full", "5.2.2"},
		{smtptest.Final, "554 no", "5.6.0"},
		{smtptest.Final, "554 4.6.0 no", "5.6.0"},
		{smtptest.Data, "554 no", "5.0.0"},
	} {
		t.Run(fmt.Sprintf("DSN-21 %s to %v", c.reply, c.stage), func(t *testing.T) {
			offers := full()
			if c.stage == smtptest.Data {
				offers = []string{"PIPELINING"}
			}
			correspondIn(t, &smtptest.Internet{Zone: bothZone}, []smtptest.Cue{{At: c.stage, Reply: c.reply}}, offers, func(t *testing.T, o *correspondence) {
				o.start()
				o.submit(message("u@e.test"))
				pass(time.Minute)
				if got := o.one().Recipients[0].Get("Status"); got != c.want {
					t.Errorf("Status: %s, want %s", got, c.want)
				}
			})
		})
	}
}

func TestReportFields(t *testing.T) {
	t.Run("DSN-15 no envelope id came in, and none is made up", func(t *testing.T) {
		correspond(t, refuse("550 no"), func(t *testing.T, c *correspondence) {
			c.start()
			c.submit(message("u@e.test"))
			pass(time.Minute)
			if got := c.one().Message; got.Has("Original-Envelope-Id") {
				t.Errorf("Original-Envelope-Id: %s", got.Get("Original-Envelope-Id"))
			}
		})
	})
	t.Run("TLS-52 the message that needed TLS is returned by its header alone, whatever RET says", func(t *testing.T) {
		correspond(t, nil, func(t *testing.T, c *correspondence) {
			c.home.Script = refuse("450 later") // so that it is there to be read
			c.start()
			m := message("u@null.test")
			m.TLS, m.Return = queue.TLSRequired, queue.ReturnFull
			c.submit(m)
			pass(time.Minute)
			var got []string
			for _, e := range c.of(delivery.Bounced) {
				got = append(got, e.BounceID)
			}
			if len(got) != 1 {
				t.Fatalf("%d reports were queued, want one", len(got))
			}
			content, err := c.queue.Open(t.Context(), got[0])
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			if _, err := queue.CopyContent(t.Context(), &text, content); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text.String(), "\r\nbody\r\n") || !strings.Contains(text.String(), "Subject: s\r\n") {
				t.Errorf("the report has\n%s", text.String())
			}
		})
	})
}
