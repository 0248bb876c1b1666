package delivery_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/dsn/dsntest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// bothZone is the usual world and the sender's domain.
const bothZone = zone + `
$ORIGIN from.test.
@    MX 10 mail
mail A  192.0.2.10
$ORIGIN x.test.
@    MX 10 mx
mx   A  192.0.2.20
$ORIGIN null.test.
@    MX 0 .
`

// correspondence is an agent between the hosts of e.test and x.test, and the
// sender's own.
type correspondence struct {
	*office
	home *smtptest.Host
}

// correspond runs f in virtual time with an agent that is not started yet, and
// hosts that say what the script tells.
func correspond(t *testing.T, script []smtptest.Cue, f func(t *testing.T, c *correspondence)) {
	t.Helper()
	correspondIn(t, &smtptest.Internet{Zone: bothZone}, script, full(), f)
}

// correspondIn does so in the given world, with hosts that offer something else.
func correspondIn(
	t *testing.T, net *smtptest.Internet, script []smtptest.Cue, offers []string, f func(t *testing.T, c *correspondence),
) {
	t.Helper()
	if offers == nil {
		offers = full()
	}
	synctest.Test(t, func(t *testing.T) {
		home := &smtptest.Host{Extensions: full()}
		net.Hosts = map[string]*smtptest.Host{
			"mx1.e.test":     {Extensions: offers, Script: script},
			"mx.x.test":      {Extensions: offers, Script: script},
			"mail.from.test": home,
		}
		f(t, &correspondence{newOffice(t, net), home})
	})
}

// refuse is a host that refuses every recipient.
func refuse(reply string) []smtptest.Cue { return []smtptest.Cue{{At: smtptest.Rcpt, Reply: reply}} }

// reports are those that came home so far, taken apart.
func (c *correspondence) reports() (list []*dsntest.Report) {
	c.t.Helper()
	synctest.Wait()
	for _, m := range c.home.Received() {
		if m.From != "" || len(m.To()) != 1 || m.To()[0] != "a@from.test" {
			c.t.Errorf("a report from <%s> to %q", m.From, m.To())
		}
		r, err := dsntest.Read(m.Content)
		if err != nil {
			c.t.Fatalf("%v in\n%s", err, m.Content)
		}
		list = append(list, r)
	}
	return list
}

// one is the only report.
func (c *correspondence) one() *dsntest.Report {
	c.t.Helper()
	list := c.reports()
	if len(list) != 1 {
		c.t.Fatalf("%d reports, want one", len(list))
	}
	return list[0]
}

func TestBounceOfRefusal(t *testing.T) {
	script := refuse("550-5.1.1 no such\n550 5.1.1 user")
	t.Run("DSN-1 DSN-3 DSN-21 DSN-23 DSN-24 a refusal is reported to the envelope's sender", func(t *testing.T) {
		correspond(t, script, func(t *testing.T, c *correspondence) {
			c.start()
			m := message("u@e.test")
			m.From = "@relay.test,@other.test:a@from.test"
			m.Content = queue.String("From: x@elsewhere.test\r\nReply-To: y@elsewhere.test\r\n\r\n")
			id := c.submit(m)
			pass(time.Minute)
			got := c.one().Recipients[0]
			for field, want := range map[string]string{
				"Final-Recipient": "rfc822; u@e.test", "Action": "failed", "Status": "5.1.1", "Remote-MTA": "dns; mx1.e.test",
				"Diagnostic-Code": "smtp; 550-5.1.1 no such 550 5.1.1 user",
			} {
				if got.Get(field) != want {
					t.Errorf("%s: %q, want %q", field, got.Get(field), want)
				}
			}
			if got := c.one().Message.Get("Reporting-MTA"); got != "dns; from.test" {
				t.Errorf("DSN-14 Reporting-MTA %q", got)
			}
			events := c.of(delivery.Bounced)
			if len(events) != 1 || events[0].ID != id || events[0].BounceID == "" || events[0].Err != nil {
				t.Errorf("events %+v, want one that the report was queued", events)
			}
			if len(c.of(delivery.Failed)) != 1 || c.left() != 0 {
				t.Errorf("%d deliveries left, events %+v", c.left(), c.events)
			}
		})
	})
	t.Run("DSN-2 QUE-6 no report about mail without a sender", func(t *testing.T) {
		correspond(t, script, func(t *testing.T, c *correspondence) {
			c.start()
			m := message("u@e.test")
			m.From, m.Content = "", queue.String("From: a@from.test\r\n\r\n")
			c.submit(m)
			pass(time.Minute)
			if len(c.reports()) != 0 || len(c.of(delivery.Failed)) != 1 || len(c.of(delivery.Bounced)) != 0 {
				t.Errorf("%d reports, events %+v", len(c.reports()), c.events)
			}
			if n := c.left(); n != 0 {
				t.Errorf("%d deliveries left", n)
			}
		})
	})
	t.Run("DSN-7 one report about all that failed together, and about nobody else", func(t *testing.T) {
		correspond(t, script, func(t *testing.T, c *correspondence) {
			c.start()
			m := message("u1@e.test", "u2@e.test", "u3@e.test", "never@e.test")
			m.Recipients[3].Notify = queue.NotifyNever
			c.submit(m)
			pass(time.Minute)
			if got := c.one(); len(got.Recipients) != 3 || strings.Contains(got.Text, "never@") {
				t.Errorf("%d groups:\n%s", len(got.Recipients), got.Text)
			}
			if len(c.of(delivery.Failed)) != 4 {
				t.Errorf("%d failures are told", len(c.of(delivery.Failed)))
			}
		})
	})
	for _, n := range []struct {
		name   string
		notify queue.Notify
		want   int
	}{
		{"DSN-1 nothing said", 0, 1},
		{"DSN-4 FAILURE", queue.NotifyFailure, 1},
		{"DSN-4 FAILURE and SUCCESS", queue.NotifyFailure | queue.NotifySuccess, 1},
		{"DSN-4 NEVER", queue.NotifyNever, 0},
		{"DSN-4 SUCCESS", queue.NotifySuccess, 0},
		{"DSN-4 DELAY", queue.NotifyDelay, 0},
	} {
		t.Run(n.name, func(t *testing.T) {
			correspond(t, script, func(t *testing.T, c *correspondence) {
				c.start()
				m := message("u@e.test")
				m.Recipients[0].Notify = n.notify
				c.submit(m)
				pass(time.Minute)
				if got := len(c.reports()); got != n.want {
					t.Errorf("%d reports, want %d", got, n.want)
				}
			})
		})
	}
	t.Run("DSN-4 QUE-21 the application says no", func(t *testing.T) {
		correspond(t, script, func(t *testing.T, c *correspondence) {
			c.agent.Bounce = func(e delivery.Event) bool { return e.Recipient != "spam@e.test" }
			c.start()
			c.submit(message("u@e.test", "spam@e.test"))
			pass(time.Minute)
			if got := c.one(); len(got.Recipients) != 1 || got.Recipients[0].Get("Final-Recipient") != "rfc822; u@e.test" {
				t.Errorf("reported: %q", got.Recipients)
			}
			if len(c.of(delivery.Failed)) != 2 {
				t.Errorf("the audit lacks a failure: %+v", c.events)
			}
		})
	})
}

func TestBounceWithoutHost(t *testing.T) {
	t.Run("DSN-22 DSN-23 DSN-24 no host spoke", func(t *testing.T) {
		correspond(t, nil, func(t *testing.T, c *correspondence) {
			c.start()
			c.submit(message("u@null.test", "u@none.test"))
			pass(time.Minute)
			list := c.reports()
			if len(list) != 2 {
				t.Fatalf("%d reports, want one for each destination", len(list))
			}
			want := map[string]string{"rfc822; u@null.test": "5.1.10", "rfc822; u@none.test": "5.1.2"}
			for _, r := range list {
				f := r.Recipients[0]
				if f.Get("Status") != want[f.Get("Final-Recipient")] || f.Has("Remote-MTA") ||
					!strings.HasPrefix(f.Get("Diagnostic-Code"), "x-nexthop;") {
					t.Errorf("fields %q", f)
				}
			}
		})
	})
}

func TestBounceParameters(t *testing.T) {
	t.Run("DSN-13 DSN-15 DSN-17 DSN-25 what came with the message is told, not passed on", func(t *testing.T) {
		correspond(t, refuse("550 no"), func(t *testing.T, c *correspondence) {
			c.start()
			m := message("u@e.test")
			m.EnvelopeID, m.Return, m.Tenant, m.Key = "QQ+1", queue.ReturnFull, "t", "failure"
			m.Recipients[0].OriginalType, m.Recipients[0].Original = "rfc822", "Old@e.test"
			c.submit(m)
			pass(time.Minute)
			wire := c.home.Received()[0]
			params := strings.Join(append(wire.Params, wire.Recipients[0].Params...), " ")
			for _, no := range []string{"RET=", "ENVID=", "NOTIFY=SUCCESS", "NOTIFY=FAILURE"} {
				if strings.Contains(params, no) {
					t.Errorf("%s in %q", no, params)
				}
			}
			for _, e := range c.of(delivery.Delivered) {
				if e.From == "" && e.Tenant != "t" {
					t.Errorf("the report's tenant is %q", e.Tenant)
				}
			}
			got := c.one()
			if got.Message.Get("Original-Envelope-Id") != "QQ+1" || got.Recipients[0].Get("Original-Recipient") != "rfc822; Old@e.test" {
				t.Errorf("%q, %q", got.Message, got.Recipients[0])
			}
			if got.Type != "message/rfc822" || got.Returned != text {
				t.Errorf("returned as %s: %q", got.Type, got.Returned)
			}
		})
	})
	t.Run("DSN-13 a report needs TLS where the message did, and has no body", func(t *testing.T) {
		correspond(t, refuse("550 no"), func(t *testing.T, c *correspondence) {
			var report bytes.Buffer
			q := &faultyQueue{Queue: &memory.Queue{}}
			q.settle = func(batch []queue.Settlement) error {
				for _, created := range batch[0].Create {
					_, err := queue.CopyContent(context.Background(), &report, created.Content)
					return err
				}
				return nil
			}
			c.agent.Queue = q
			m := message("u@null.test")
			m.TLS, m.Priority, m.Return = queue.TLSRequired, -4, queue.ReturnFull
			c.start()
			c.submit(m)
			synctest.Wait()
			if len(q.created) != 1 {
				t.Fatalf("%d reports", len(q.created))
			}
			if got := q.created[0]; got.TLS != queue.TLSRequired || got.Priority != -4 {
				t.Errorf("TLS %v, priority %d", got.TLS, got.Priority)
			}
			r, err := dsntest.Read(report.Bytes())
			if err != nil || r.Type != "text/rfc822-headers" {
				t.Errorf("%v, %v", r, err)
			}
		})
	})
}

func TestBounceExpired(t *testing.T) {
	t.Run("QUE-8 DSN-16 DSN-20 given up after five days, with what was said last", func(t *testing.T) {
		correspond(t, refuse("450 4.2.1 busy"), func(t *testing.T, c *correspondence) {
			c.agent.Settings.Warn = -1
			c.start()
			c.submit(message("u@e.test"))
			pass(5*24*time.Hour - time.Hour)
			if n := len(c.reports()); n != 0 || c.left() != 1 {
				t.Fatalf("%d reports and %d deliveries after 4 days and 23 hours", n, c.left())
			}
			pass(time.Hour + time.Minute)
			tried := c.of(delivery.Deferred)
			last := tried[len(tried)-1].Time
			got := c.one().Recipients[0]
			for field, want := range map[string]string{
				"Action": "failed", "Status": "4.2.1", "Remote-MTA": "dns; mx1.e.test",
				"Diagnostic-Code":   "smtp; 450 4.2.1 busy",
				"Last-Attempt-Date": last.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"),
			} {
				if got.Get(field) != want {
					t.Errorf("%s: %q, want %q", field, got.Get(field), want)
				}
			}
			if len(c.of(delivery.Expired)) != 1 || c.left() != 0 {
				t.Errorf("%d deliveries left", c.left())
			}
		})
	})
	t.Run("QUE-6 QUE-8 DSN-8 a report that cannot be delivered ends earlier, and causes none", func(t *testing.T) {
		correspond(t, refuse("550 no"), func(t *testing.T, c *correspondence) {
			c.home.Script = refuse("450 later")
			c.agent.Settings.ExpireReport = 24 * time.Hour
			c.start()
			c.submit(message("u@e.test"))
			pass(25 * time.Hour)
			expired := c.of(delivery.Expired)
			if len(expired) != 1 || expired[0].From != "" || c.left() != 0 || len(c.of(delivery.Bounced)) != 1 {
				t.Errorf("%d left, events %+v", c.left(), c.events)
			}
		})
	})
}

func TestDelayReport(t *testing.T) {
	for _, n := range []struct {
		name   string
		notify queue.Notify
		warn   time.Duration
		want   int
	}{
		{"DSN-5 once", 0, 0, 1},
		{"DSN-5 asked for", queue.NotifyDelay, 0, 1},
		{"DSN-5 not asked for", queue.NotifyFailure, 0, 0},
		{"DSN-5 switched off", queue.NotifyDelay, -1, 0},
	} {
		t.Run(n.name, func(t *testing.T) {
			correspond(t, refuse("450 4.2.1 busy"), func(t *testing.T, c *correspondence) {
				c.agent.Settings.Warn = n.warn
				c.start()
				m := message("u@e.test", "v@x.test")
				m.Recipients[0].Notify, m.Recipients[1].Notify = n.notify, n.notify
				c.submit(m)
				pass(3*time.Hour + 59*time.Minute)
				if len(c.reports()) != 0 {
					t.Error("a report before four hours")
				}
				pass(24 * time.Hour)
				if got := len(c.reports()); got != n.want {
					t.Fatalf("%d reports, want %d", got, n.want)
				}
				for _, r := range c.reports() {
					f := r.Recipients[0]
					until := c.began.Add(5 * 24 * time.Hour).UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700")
					if f.Get("Action") != "delayed" || f.Get("Status") != "4.2.1" || f.Get("Will-Retry-Until") != until {
						t.Errorf("DSN-19 %q", f)
					}
				}
			})
		})
	}
}

func TestBounceSigned(t *testing.T) {
	for _, n := range []struct {
		name   string
		sign   func(context.Context, *queue.Message) (queue.Content, error)
		signed bool
	}{
		{"by the hook", func(_ context.Context, m *queue.Message) (queue.Content, error) {
			if m.From != "" {
				return m.Content, nil
			}
			return prefixed{m.Content}, nil
		}, true},
		{"unsigned where it fails", func(_ context.Context, m *queue.Message) (queue.Content, error) {
			if m.From != "" {
				return m.Content, nil
			}
			return nil, errors.New("no key")
		}, false},
		{"unsigned where it panics", func(_ context.Context, m *queue.Message) (queue.Content, error) {
			if m.From != "" {
				return m.Content, nil
			}
			panic("sign")
		}, false},
		{"unsigned where what it answers cannot be read", func(_ context.Context, m *queue.Message) (queue.Content, error) {
			if m.From != "" {
				return m.Content, nil
			}
			return broken{}, nil
		}, false},
		{"unsigned where reading what it answers panics", func(_ context.Context, m *queue.Message) (queue.Content, error) {
			if m.From != "" {
				return m.Content, nil
			}
			return explosive{}, nil
		}, false},
	} {
		t.Run(n.name, func(t *testing.T) {
			correspond(t, refuse("550 no"), func(t *testing.T, c *correspondence) {
				c.agent.Sign, c.agent.Panic = n.sign, func(any) {}
				c.start()
				c.submit(message("u@e.test"))
				pass(time.Minute)
				if got := c.one().Header.Has("X-Signed"); got != n.signed {
					t.Errorf("signed: %t", got)
				}
				if e := c.of(delivery.Bounced); len(e) != 1 || (e[0].Err == nil) != n.signed {
					t.Errorf("events %+v", e)
				}
			})
		})
	}
}
