package delivery_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestBounceStatus: what a report says where no host's own status is there to say
// it.
func TestBounceStatus(t *testing.T) {
	const moreZone = bothZone + `
$ORIGIN empty.test.
@    MX 10 nowhere
$ORIGIN loop.test.
@    MX 10 from.test.
$ORIGIN down.test.
@    MX 10 mx
mx   A  192.0.2.30
$ORIGIN broken.test.
@    MX 10 mx
`
	wide := "From: a@from.test\r\nSubject: j\u00f6\r\n\r\nbody\r\n"
	for _, c := range []struct {
		name, to  string
		status    string
		remote    bool // a host spoke
		script    []smtptest.Cue
		offers    []string
		configure func(o *correspondence)
		change    func(m *queue.Message)
	}{
		{name: "no such domain", to: "u@none.test", status: "5.1.2"},
		{name: "a domain that takes no mail", to: "u@null.test", status: "5.1.10"},
		{name: "no usable host", to: "u@empty.test", status: "5.4.4"},
		{name: "a loop", to: "u@loop.test", status: "5.4.6", configure: func(o *correspondence) { o.agent.Sender.Self = []string{"from.test"} }},
		{name: "no connection", to: "u@down.test", status: "4.4.1"},
		{name: "the connection is lost", to: "u@e.test", status: "4.4.2", script: []smtptest.Cue{{At: smtptest.Rcpt, Then: smtptest.Reset}}},
		{name: "no answer from DNS", to: "u@broken.test", status: "4.4.3"},
		{name: "too large for the host", to: "u@x.test", status: "5.3.4", offers: []string{"SIZE 10"}},
		{name: "an address that needs SMTPUTF8", to: "j\u00f6@x.test", status: "5.6.7", offers: []string{"8BITMIME"}},
		{name: "a header that needs SMTPUTF8", to: "u@x.test", status: "5.6.9", offers: []string{"8BITMIME"}, change: func(m *queue.Message) {
			m.Content, m.UTF8 = queue.String(wide), true
		}},
		{name: "a body that would have to be converted, and is signed", to: "u@x.test", status: "5.6.3", offers: []string{"PIPELINING"}, change: func(m *queue.Message) {
			m.Content = queue.String("DKIM-Signature: v=1\r\nMIME-Version: 1.0\r\n\r\nj\u00f6\r\n")
		}},
		{name: "no TLS where it is required", to: "u@e.test", status: "4.7.", configure: func(o *correspondence) {
			o.agent.Sender.TLS = mx.TLSEncrypt
			o.home.Extensions = append(full(), "STARTTLS")
		}},
		{name: "refused, without a status", to: "u@e.test", status: "5.1.1", remote: true, script: refuse("550 no such user")},
		{name: "refused, with one that contradicts", to: "u@e.test", status: "5.1.1", remote: true, script: refuse("550 4.2.2 no such user")},
	} {
		t.Run("DSN-22 DSN-23 "+c.name, func(t *testing.T) {
			correspondIn(t, &smtptest.Internet{
				Zone: moreZone, Rules: []mxtest.Rule{{Name: "mx.broken.test", Fault: mxtest.ServFail}, {Name: "broken.test", Fault: mxtest.ServFail}},
			}, c.script, c.offers, func(t *testing.T, o *correspondence) {
				o.agent.Settings = delivery.Settings{Warn: -1, Expire: time.Hour, Jitter: -1}
				if c.configure != nil {
					c.configure(o)
				}
				m := message(c.to)
				if c.change != nil {
					c.change(m)
				}
				o.start()
				o.submit(m)
				pass(2 * time.Hour)
				got := o.one().Recipients[0]
				if !strings.HasPrefix(got.Get("Status"), c.status) || got.Get("Action") != "failed" || got.Has("Remote-MTA") != c.remote {
					t.Errorf("%q, want status %s, Remote-MTA: %t", got, c.status, c.remote)
				}
			})
		})
	}
}

func TestBounceUntried(t *testing.T) {
	t.Run("DSN-16 DSN-22 expired while its site was left alone", func(t *testing.T) {
		busy := []smtptest.Cue{{At: smtptest.Banner, Reply: "421 4.3.2 busy", Then: smtptest.Close}}
		correspond(t, busy, func(t *testing.T, c *correspondence) {
			c.start()
			c.submit(message("first@e.test"))
			pass(time.Minute)
			m := message("u@e.test")
			m.Expires = time.Now().Add(2 * time.Minute)
			c.submit(m)
			pass(3 * time.Minute)
			got := c.one().Recipients[0]
			if got.Get("Status") != "4.4.7" || got.Get("Action") != "failed" || got.Has("Last-Attempt-Date") || got.Has("Remote-MTA") {
				t.Errorf("%q", got)
			}
		})
	})
	t.Run("MX-30 QUE-6 a report to a domain that takes no mail ends at once", func(t *testing.T) {
		correspond(t, refuse("550 no"), func(t *testing.T, c *correspondence) {
			c.start()
			m := message("u@e.test")
			m.From = "x@null.test"
			var e *delivery.Error
			if err := c.agent.Sender.Routable(t.Context(), "", m.From); !errors.As(err, &e) || e.Code != 556 {
				t.Errorf("nobody is warned of the sender: %v", err)
			}
			c.submit(m)
			pass(time.Minute)
			failed := c.of(delivery.Failed)
			if len(failed) != 2 || failed[1].From != "" || failed[1].Enhanced != "5.1.10" || c.left() != 0 || len(c.of(delivery.Bounced)) != 1 {
				t.Errorf("%d left, events %+v", c.left(), c.events)
			}
		})
	})
}
