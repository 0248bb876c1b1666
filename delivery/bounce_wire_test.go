package delivery_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestBounceIDs: reports are told apart by their Message-IDs, and what they are
// about is found by the sender's.
func TestBounceIDs(t *testing.T) {
	const n = 1000
	t.Run("DSN-11 no two Message-IDs of a thousand reports are alike", func(t *testing.T) {
		correspond(t, nil, func(t *testing.T, c *correspondence) {
			c.start()
			for i := range n {
				m := message("u@null.test")
				m.Content = queue.String(fmt.Sprintf("Message-ID: <%d@from.test>\r\n\r\n", i))
				c.submit(m)
			}
			pass(time.Hour)
			ids, about := make(map[string]bool), make(map[string]bool)
			for _, r := range c.reports() {
				id := r.Header.Get("Message-ID")
				if !strings.HasPrefix(id, "<") || !strings.HasSuffix(id, "@from.test>") {
					t.Errorf("Message-ID %q, want one of from.test", id)
				}
				if got := r.Header.Get("From"); got != "Mail delivery system <postmaster@from.test>" {
					t.Errorf("From %q", got)
				}
				ids[id], about[r.Header.Get("In-Reply-To")] = true, true
			}
			if len(ids) != n || len(about) != n {
				t.Errorf("%d Message-IDs and %d messages they are about, want %d of each", len(ids), len(about), n)
			}
		})
	})
}

// TestBounceSecured: a report of a message with REQUIRETLS has it too on the wire,
// where the host knows it, and arrives all the same where not.
func TestBounceSecured(t *testing.T) {
	ca := authority(t)
	for _, c := range []struct {
		name  string
		offer []string
		says  bool
	}{
		{"DSN-13, TLS-52 a report says REQUIRETLS where the message did", []string{"STARTTLS", "REQUIRETLS"}, true},
		{"DSN-13, TLS-52 a report goes to a host without REQUIRETLS all the same", []string{"STARTTLS"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			correspond(t, nil, func(t *testing.T, o *correspondence) {
				o.home.Name, o.home.Authority = "mail.from.test", ca
				o.home.Extensions = slices.Concat(full(), c.offer)
				o.agent.Sender.TLSConfig = ca.ClientConfig()
				o.agent.Sender.Policy = policyFunc(func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error) {
					return delivery.TLSPolicy{Level: mx.TLSVerify, Vouched: true}, nil
				})
				o.start()
				m := message("u@null.test")
				m.TLS = queue.TLSRequired
				o.submit(m)
				pass(time.Hour)
				got := o.home.Received()
				if len(got) != 1 || got[0].From != "" || !got[0].TLS {
					t.Fatalf("%+v arrived, want one report, over TLS", got)
				}
				if slices.Contains(got[0].Params, "REQUIRETLS") != c.says {
					t.Errorf("MAIL FROM:<> %q, want REQUIRETLS there: %t", got[0].Params, c.says)
				}
			})
		})
	}
}

// TestReportsOfOthers: complaints and receipts are mail like any other.
func TestReportsOfOthers(t *testing.T) {
	kind := func(report, part string) string {
		return "From: <abuse@from.test>\r\nTo: <u@e.test>\r\nMIME-Version: 1.0\r\n" +
			"Content-Type: multipart/report; report-type=" + report + "; boundary=\"b\"\r\n\r\n" +
			"--b\r\n\r\nabout your message\r\n--b\r\nContent-Type: message/" + part + "\r\n\r\n" +
			"Feedback-Type: abuse\r\nFinal-Recipient: rfc822; u@e.test\r\n\r\n--b--\r\n"
	}
	for name, content := range map[string]string{
		"a complaint": kind("feedback-report", "feedback-report"),
		"a receipt":   kind("disposition-notification", "disposition-notification"),
	} {
		t.Run("DSN-29 "+name+" arrives as it is", func(t *testing.T) {
			correspond(t, nil, func(t *testing.T, c *correspondence) {
				m := message("a@from.test")
				m.From, m.Content = "", queue.String(content)
				c.start()
				c.submit(m)
				pass(time.Minute)
				got := c.home.Received()
				if len(got) != 1 || string(got[0].Content) != content || got[0].From != "" {
					t.Errorf("%d messages, want one as it was submitted: %+v", len(got), got)
				}
			})
		})
		t.Run("DSN-29 "+name+" that is refused is not reported", func(t *testing.T) {
			correspond(t, refuse("550 5.1.1 no"), func(t *testing.T, c *correspondence) {
				m := message("u@e.test")
				m.From, m.Content = "", queue.String(content)
				c.start()
				c.submit(m)
				pass(time.Hour)
				if got := c.reports(); len(got) != 0 || len(c.of(delivery.Bounced)) != 0 || len(c.of(delivery.Failed)) != 1 || c.left() != 0 {
					t.Errorf("%d reports, %d left, events %+v, want a failure and no report", len(got), c.left(), c.events)
				}
			})
		})
	}
}
